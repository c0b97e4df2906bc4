"""TLS on a connected socket, many records a read.

`ssl.SSLSocket` reads one record a call, in two system calls; a server that puts each letter into a record of its own makes
that the cost of a letter. Here the socket is read as far as there is something, and its records are decrypted from memory.

Raises what `ssl` and `socket` raise. Before each wait `allow` is called, which sets the socket's patience, or raises; None on a
socket that never waits, which raises BlockingIOError.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

RECORD_OCTETS: Final = 16 * 1024  # the most that one record holds (RFC 8446 section 5.1)

Allow = Callable[[], None]
Done = TypeVar("Done")


class Records:
    """The TLS side of a socket, as a client. The socket stays its owner's, to abort and to close."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, host: str, buffer: bytearray) -> None:
        """`host`: for SNI (RFC 6066), and the name that the certificate must have; an IP literal is no SNI, but checked.

        buffer: what one read of the socket, and one `receive`, brings at most.
        """
        self._socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._read: Any = self._tls.read  # typeshed knows the form only that returns octets
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._failure: ssl.SSLError | None = None
        self._unsent = b""  # encrypted, and not taken by the socket yet
        self._offered = 0  # octets that are in it
        self.has_more = False  # more may have been received than the last `receive` gave out

    def shake_hands(self, allow: Allow) -> None:
        """Do the handshake; a server that is not trusted is told so."""
        try:
            self._until_done(self._tls.do_handshake, allow)
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self._flush(allow)
            raise
        self._flush(allow)

    @property
    def version(self) -> str | None:
        """`TLSv1.3`."""
        return self._tls.version()

    @property
    def certificate(self) -> bytes:
        """The server's certificate, DER."""
        return self._tls.getpeercert(binary_form=True) or b""

    def channel_binding(self, kind: str) -> bytes | None:
        """Return the octets that tie a login to this connection."""
        return self._tls.get_channel_binding(kind)

    def send(self, octets: memoryview, allow: Allow) -> int:
        """Send octets; return how many."""
        sent = self._until_done(lambda: self._tls.write(octets), allow)
        self._flush(allow)
        return sent

    def offer(self, octets: bytes) -> int:
        """Send octets without waiting; return how many. A record at most: cut, it tells the server nothing. After 0: the same again."""
        if not self._offered:
            self._offered = self._tls.write(octets[:RECORD_OCTETS])
        if not self._drain():
            return 0
        sent, self._offered = self._offered, 0
        return sent

    def receive(self, allow: Allow | None) -> int:
        """Decrypt what is there into the buffer, waiting for something at least; return how many octets, 0 at the end."""
        if self._failure is not None:
            raise self._failure
        self.has_more = False
        most = len(self._buffer)
        count: int = self._until_done(lambda: self._read(most, self._buffer), allow)
        try:
            more = count
            while more and count < most and self._incoming.pending:
                more = self._read(most - count, self._view[count:])
                count += more
        except ssl.SSLWantReadError:
            pass  # the last record is not whole yet
        except ssl.SSLError as error:
            self._failure = error  # behind octets that are good
        if self._outgoing.pending:  # new keys are answered (RFC 8446 section 4.6.3)
            self._flush(allow)
        self.has_more = count == most
        return count

    def _until_done(self, step: Callable[[], Done], allow: Allow | None) -> Done:
        """Do what may need more from the server first."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush(allow)
                if allow is not None:
                    allow()
                count = self._socket.recv_into(self._buffer)
                if count:
                    self._incoming.write(self._view[:count])
                else:
                    self._incoming.write_eof()

    def _flush(self, allow: Allow | None) -> None:
        if allow is None:
            self._drain()
        elif self._outgoing.pending:
            allow()
            self._socket.sendall(self._outgoing.read())

    def _drain(self) -> bool:
        """Let the socket take what it takes at once; False when something stays."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                return False
        return True
