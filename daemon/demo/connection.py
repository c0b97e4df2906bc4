"""One client of a demo server: lines in, octets out, TLS, and orderly or disorderly ends.

Owns one socket, used by one thread; only `abort` may be called from another. Ended when there is nothing more to read.
"""

import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

RECEIVE_OCTETS: Final = 262_144  # one recv takes a whole window of pipelined commands
FLUSH_OCTETS: Final = 1_048_576  # replies are gathered up to here, then written, read or not
MAX_LINE_OCTETS: Final = 65_536  # a command line longer than this ends the connection
LINGER_SECONDS: Final = 1.0  # how long the peer's last octets are read after ours, so that no RST eats our last reply


class Ended(Exception):
    """The connection is over: the peer left, the server stops, or a hook cut it."""


class Then(Enum):
    """What happens to the connection after an answer."""

    GO_ON = auto()
    CLOSE = auto()  # FIN
    RESET = auto()  # RST: what was written may be lost on the way
    STALL = auto()  # silence until the peer leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A command as it came.

    connection: counted from 1.  verb: in capitals.  argument: the rest, passwords and SASL responses as `***`.
    nth: how often this verb came on this connection, from 1.
    """

    connection: int
    user: str | None
    verb: str
    argument: str
    nth: int

    @property
    def line(self) -> str:
        """The command as it would be typed."""
        return f"{self.verb} {self.argument}".rstrip()


class Connection:
    """One client: lines in, octets out, both gathered so that a pipelined window costs one recv and one send."""

    def __init__(self, number: int, sock: socket.socket, stopping: threading.Event) -> None:
        self.number = number
        self.is_encrypted = False
        self.octets_left: int | None = None  # writing more than this ends the connection
        self.allowed_octets: int | None = None  # writing more than this is dropped unsaid
        self.user: str | None = None
        self._sock = sock
        self._stopping = stopping
        self._lock = threading.Lock()
        self._in = bytearray()
        self._out = bytearray()
        self._counts: dict[str, int] = {}
        self._reset = False

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many octets have come and were not yet read."""
        return len(self._in)

    def starts_with(self, octets: bytes) -> bool:
        """Tell whether the next octets are these."""
        return self._in.startswith(octets)

    def read_line(self) -> bytes:
        """Return the next line without its CRLF (or LF); what was written goes out before we wait."""
        start = 0
        while (end := self._in.find(b"\n", start)) < 0:
            start = len(self._in)
            if start > MAX_LINE_OCTETS:
                raise Ended
            self.receive()
        line = bytes(self._in[: end - 1 if self._in[end - 1 : end] == b"\r" else end])
        del self._in[: end + 1]
        return line

    def take(self, octets: int) -> bytes:
        """Remove and return that many octets that have come."""
        taken = bytes(self._in[:octets])
        del self._in[:octets]
        return taken

    def find(self, needle: bytes, start: int = 0) -> int:
        """Where the needle is among the octets that have come; -1 if it is not."""
        return self._in.find(needle, start)

    def receive(self) -> None:
        """Write what waits, then wait for octets."""
        self.flush()
        octets = self._sock.recv(RECEIVE_OCTETS)
        if not octets:
            raise Ended
        self._in += octets

    def seen(self, verb: str, argument: str = "") -> Seen:
        """Count the command."""
        nth = self._counts[verb] = self._counts.get(verb, 0) + 1
        return Seen(connection=self.number, user=self.user, verb=verb, argument=argument, nth=nth)

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Gather octets for the next flush."""
        if self.allowed_octets is not None:
            octets = octets[: self.allowed_octets]
            self.allowed_octets -= len(octets)
        if self.octets_left is not None:
            octets = octets[: self.octets_left]
            self.octets_left -= len(octets)
        self._out += octets
        if self.octets_left == 0:
            self.end(Then.CLOSE)
        if len(self._out) >= FLUSH_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._out:
            gathered, self._out = self._out, bytearray()
            self._sock.sendall(gathered)

    def end(self, then: Then) -> None:
        """Do as told; does not return unless told to go on."""
        if then is Then.GO_ON:
            return
        self.flush()
        if then is Then.STALL:
            while True:
                self._in.clear()
                self.receive()
        self._reset = then is Then.RESET
        raise Ended

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Encrypt from here on; plaintext that came behind the command is dropped (CVE-2011-0411)."""
        self.flush()
        self._in.clear()
        with self._lock:
            self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._sock.do_handshake()
        self.is_encrypted = True

    # --- ending -------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Wake the connection's thread from whatever it waits for; from any thread."""
        with self._lock, suppress(OSError):
            # Not SSLSocket.shutdown, which takes its TLS object away under the feet of the thread that reads.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Say what waits, then close; only from the connection's own thread."""
        try:
            with suppress(OSError, ValueError):
                if self._reset:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif not self._stopping.is_set():
                    self._take_leave()
        finally:
            with self._lock:
                self._sock.close()

    def _take_leave(self) -> None:
        self.flush()
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.setblocking(False)
            with suppress(ssl.SSLError):  # our close_notify goes out, the peer's is not waited for
                self._sock.unwrap()
        socket.socket.shutdown(self._sock, socket.SHUT_WR)
        self._sock.settimeout(LINGER_SECONDS)
        while socket.socket.recv(self._sock, RECEIVE_OCTETS):
            pass
