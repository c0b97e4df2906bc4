"""An open connection: TLS, send, receive, deadlines, and the transcript's lines. `dial` makes it, `tls` says what is trusted.

Every wait ends: after `timeout_seconds` without an octet, at the session's deadline, or when another thread calls `abort`.

Raises WireError kinds, each message one line that begins with host:port and says what to do; Stopped after `abort`.
Never interprets what goes through, never logs: lines go to the Transcript that the caller gave.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from daemon import errors
from daemon.wire import dial, tls
from daemon.wire.endpoint import Endpoint, Security, is_loopback
from daemon.wire.records import Records
from daemon.wire.transcript import Transcript

__all__ = ["Endpoint", "Security", "Stream"]

RECEIVE_OCTETS: Final = 256 * 1024  # octets a receive at most: few calls for large mail, small beside a batch
SEND_OCTETS: Final = 256 * 1024  # octets a send: each has the whole timeout, so that a slow line is no dead one
QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux has it


class Stream:
    """An open connection; used by one thread, except for `abort`."""

    def __init__(
        self,
        connected: socket.socket,
        endpoint: Endpoint,
        *,
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
    ) -> None:
        """Take over a connected socket, without TLS as yet.  deadline: a value of time.monotonic."""
        self.endpoint = endpoint
        self.transcript = transcript
        self.deadline = deadline
        self._socket = connected
        self._tls: Records | None = None
        self._progress = progress or (lambda: None)
        self._buffer = bytearray(RECEIVE_OCTETS)
        self._view = memoryview(self._buffer)
        self._aborted = False
        self._poll: select.poll | None = None
        self._address = connected.getpeername()[:2]
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        *,
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: "Callable[[Stream], None] | None" = None,
    ) -> Self:
        """Try every address of the host, or go through its proxy; with Security.TLS shake hands at once.

        deadline: a value of time.monotonic that no wait of this stream outlives.  progress: called whenever octets moved.
        opened: given the stream before its first wait, so that another thread can `abort` it also during the handshake.
        """
        connected = dial.connected(endpoint, deadline)
        try:
            stream = cls(connected, endpoint, transcript=transcript, deadline=deadline, progress=progress)
        except OSError as error:  # reset between connect and here
            connected.close()
            raise errors.ConnectionLost(f"{endpoint}: the connection was lost at once ({tls.reason(error)})") from error
        way = "through the proxy " if endpoint.proxy is not None else ""
        transcript.noted(f"connected to {endpoint.host} ({way}{stream.peer})")
        try:
            if opened is not None:
                opened(stream)
            if endpoint.security is Security.TLS:
                stream.start_tls()
        except BaseException:
            stream.close()
            raise
        return stream

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """The server's address, `ip:port`; the proxy's where there is one."""
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_encrypted(self) -> bool:
        """True once TLS is up."""
        return self.tls_version is not None

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3`, or None without TLS."""
        return self._tls.version if self._tls is not None else None

    @property
    def is_loopback(self) -> bool:
        """True when nobody is between us and the server; a proxy is somebody, wherever it is."""
        if self.endpoint.proxy is not None:
            return False
        return is_loopback(self._address[0].partition("%")[0])

    def channel_binding(self, kind: str) -> bytes | None:
        """Return the octets that tie a login to this TLS connection (RFC 5056), None where there are none.

        kind: `tls-unique` (RFC 5929) for TLS 1.2. TLS 1.3 has `tls-exporter` (RFC 9266) instead, which Python's ssl lacks.
        """
        if self._tls is not None and kind == "tls-unique" and self.tls_version == "TLSv1.2":
            return self._tls.channel_binding(kind)
        return None

    # --- TLS --------------------------------------------------------------------------------------------------------

    def start_tls(self) -> None:
        """Shake hands and verify; whoever calls this has seen to it that nothing received is left unread."""
        endpoint = self.endpoint
        context = tls.context(endpoint)
        until = time.monotonic() + endpoint.timeout_seconds
        try:
            records = Records(self._socket, context, endpoint.host, self._buffer)
            records.shake_hands(lambda: self._allow(until))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise self._translated(error, "during the TLS handshake") from error
        except ssl.SSLError as error:
            raise self._stopped() if self._aborted else tls.failed(endpoint, error) from error
        except (OSError, ValueError) as error:
            raise self._translated(error, "during the TLS handshake") from error
        tls.check_pin(endpoint, records.certificate)
        self._tls = records
        self.transcript.noted(f"{self.tls_version} is on")
        self._progress()

    # --- octets -----------------------------------------------------------------------------------------------------

    def send(self, octets: bytes, shown: Sequence[str]) -> None:
        """Send everything; `shown`: a line for the transcript each, without secrets and content."""
        sizes = [len(octets)]
        if len(shown) > 1:
            lines = octets.split(b"\r\n")
            same = len(lines) == len(shown) + 1
            sizes = [len(line) + 2 for line in lines[:-1]] if same else [*sizes, *([0] * (len(shown) - 1))]
        for text, size in zip(shown, sizes, strict=False):
            self.transcript.said(text, size)
        rest = memoryview(octets)
        while rest:
            try:
                sent = self._sent(rest[:SEND_OCTETS])
            except (OSError, ValueError) as error:
                raise self._translated(error, "while we were sending") from error
            rest = rest[sent:]
            self._progress()

    def _sent(self, piece: memoryview) -> int:
        """Send what the line takes; return how many octets that was."""
        if self._tls is not None:
            self._allow(None)
            return self._tls.send(piece, lambda: self._allow(None))
        self._patience(None)
        try:
            return self._impatient().send(piece)
        except BlockingIOError:
            self._wait_for(select.POLLOUT, None)
            return 0

    def receive(self, until: float | None = None) -> bytes:
        """Return the next octets, at least one, at most RECEIVE_OCTETS.

        until: a value of time.monotonic by which a whole reply is due, so that a dribble of octets is no progress.
        Raises ConnectionLost at the end, TimedOut, Stopped.
        """
        try:
            if until is not None and QUICK_ACK is not None:
                # The kernel forgets it. A server that writes two replies one after the other may hold the second back until
                # the first is acknowledged (Nagle), which takes 40 ms unasked.
                self._socket.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
            count = self._received_plain(until) if self._tls is None else self._received(self._tls, until)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            count = 0  # the server closed the connection, without saying so first
        except (OSError, ValueError) as error:
            raise self._translated(error, "while we were waiting for a reply") from error
        if not count:
            raise self._ended()
        self._progress()
        return bytes(self._view[:count])

    def _received_plain(self, until: float | None) -> int:
        """Receive. A reply is waited for; of a body, the next octets are mostly here."""
        sock = self._impatient()
        is_here = until is None
        while True:
            if is_here:
                self._patience(until)
            else:
                self._wait_for(select.POLLIN, until)
            try:
                return sock.recv_into(self._buffer)
            except BlockingIOError:
                is_here = False

    def _received(self, records: Records, until: float | None) -> int:
        """Receive within the patience for one wait, into how many parts a record may be cut."""
        self._allow(until)
        patience = time.monotonic() + self.endpoint.timeout_seconds
        until = patience if until is None else min(until, patience)
        return records.receive(lambda: self._allow(until))

    # --- octets, where nothing is waited for ------------------------------------------------------------------------

    def offer(self, octets: bytes) -> int:
        """Give the socket what it takes at once; return how many octets that was. After 0, offer the same again, or more."""
        try:
            sock = self._impatient()
            sent = sock.send(octets) if self._tls is None else self._tls.offer(octets)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except (OSError, ValueError) as error:
            raise self._translated(error, "while we were sending") from error
        self._progress()
        return sent

    def look(self) -> bytes:
        """Return what has come, at most RECEIVE_OCTETS, b"" where nothing has; ConnectionLost at the end."""
        try:
            sock = self._impatient()
            count = sock.recv_into(self._buffer) if self._tls is None else self._tls.receive(None)
        except BlockingIOError:
            return b""
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            count = 0
        except (OSError, ValueError) as error:
            raise self._translated(error, "while we were waiting for a reply") from error
        if not count:
            raise self._ended()
        self._progress()
        return bytes(self._view[:count])

    def wait(self, until: float, *, for_room: bool = False) -> bool:
        """Wait until octets have come, or with `for_room` until the socket takes some; False where neither happened.

        until: a value of time.monotonic.  Raises TimedOut only at the session's deadline, and Stopped.
        """
        sock, now = self._impatient(), time.monotonic()
        if self.deadline is not None:
            until = min(until, self.deadline)
            if now >= self.deadline:
                raise self.timed_out()
        if self._tls is not None and self._tls.has_more:
            return True
        try:
            if QUICK_ACK is not None:  # see `receive`
                sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
            return self._is_ready(select.POLLIN | (select.POLLOUT if for_room else 0), max(0.0, until - now))
        except (OSError, ValueError) as error:
            raise self._translated(error, "while we were waiting for a reply") from error

    def _impatient(self) -> socket.socket:
        """Return the socket, set so that it never waits."""
        if self._aborted:
            raise self._stopped()
        if self._socket.gettimeout() != 0:
            self._socket.setblocking(False)
        return self._socket

    def heard(self, shown: str, octets: int) -> None:
        """Put a line that was received into the transcript; only the protocol's session knows what is one."""
        self.transcript.heard(shown, octets)

    def _wait_for(self, events: int, until: float | None) -> None:
        """Wait for a socket that never waits by itself: with a timeout of its own, each call of it is three of the system."""
        if not self._is_ready(events, self._patience(until)):
            raise self.timed_out()

    def _is_ready(self, events: int, wait_seconds: float) -> bool:
        if self._poll is None:
            self._poll = select.poll()
        self._poll.register(self._socket, events)
        return bool(self._poll.poll(wait_seconds * 1000))

    def _allow(self, until: float | None) -> None:
        """Set the socket's patience for the next wait; raise when there is none left."""
        wait_seconds = self._patience(until)
        try:
            self._socket.settimeout(wait_seconds)
        except OSError as error:
            raise self._translated(error, "before the next line") from error

    def _patience(self, until: float | None) -> float:
        """Return how many seconds may be waited now; raise when there are none left."""
        if self._aborted:
            raise self._stopped()
        wait_seconds = self.endpoint.timeout_seconds
        ends = [moment for moment in (self.deadline, until) if moment is not None]
        if ends:
            wait_seconds = min(wait_seconds, min(ends) - time.monotonic())
        if wait_seconds <= 0:
            raise self.timed_out()
        return wait_seconds

    # --- endings ----------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End the session from another thread: whatever it waits for ends with Stopped. The socket is closed by its owner."""
        self._aborted = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already, or not connected any more: nobody waits on it

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._socket.close()

    def _ended(self) -> errors.PostroomError:
        if self._aborted:
            return self._stopped()
        return errors.ConnectionLost(f"{self.endpoint}: the server closed the connection")

    def _stopped(self) -> errors.Stopped:
        return errors.Stopped(f"{self.endpoint}: the session was ended from outside; work goes on at the next visit")

    def timed_out(self) -> errors.TimedOut:
        """Return the error of a peer that was silent for too long."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return errors.TimedOut(f"{self.endpoint}: the session used up its time; it goes on at the next visit")
        seconds = self.endpoint.timeout_seconds
        return errors.TimedOut(
            f"{self.endpoint}: no reply for {seconds:g} s; is the server overloaded, or TIMEOUT too short?"
        )

    def _translated(self, error: Exception, moment: str) -> errors.PostroomError:
        if self._aborted:
            return self._stopped()
        if isinstance(error, TimeoutError):
            return self.timed_out()
        if isinstance(error, ssl.SSLError) and tls.is_about_us(error):  # TLS 1.3 says so after the handshake
            return tls.failed(self.endpoint, error)
        return errors.ConnectionLost(f"{self.endpoint}: the connection was lost {moment} ({tls.reason(error)})")
