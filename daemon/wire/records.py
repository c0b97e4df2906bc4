"""TLS on a connected socket, many records a read.

`ssl.SSLSocket` reads one record a call, in two system calls; a server that puts each letter into a record of its own makes
that the cost of a letter. Here the socket is read as far as there is something, and its records are decrypted from memory.

Raises what `ssl` and `socket` raise. Before each wait `allow` is called, which sets the socket's patience, or raises.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

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

    def receive(self, allow: Allow) -> int:
        """Decrypt what is there into the buffer, waiting for something at least; return how many octets, 0 at the end."""
        if self._failure is not None:
            raise self._failure
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
        return count

    def _until_done(self, step: Callable[[], Done], allow: Allow) -> Done:
        """Do what may need more from the server first."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush(allow)
                allow()
                count = self._socket.recv_into(self._buffer)
                if count:
                    self._incoming.write(self._view[:count])
                else:
                    self._incoming.write_eof()

    def _flush(self, allow: Allow) -> None:
        if self._outgoing.pending:
            allow()
            self._socket.sendall(self._outgoing.read())
