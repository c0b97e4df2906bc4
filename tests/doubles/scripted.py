r"""A server that plays a dialogue, for POP3 and SMTP: what it says and what it expects is data.

A dialogue is text, one step a line (empty lines and `#` comments are nothing):

    S: +OK ready            say a line; CRLF is added
    S-raw: +OK a\nb\x00     say octets, with Python's escapes, nothing added
    S-split: 3              from here on, say things in pieces of 3 octets (0: whole again)
    S-dribble: 0.05 +OK     say a line octet by octet, so many seconds between two
    S-times: 100 x\r\n      say octets so many times
    S-forever: x            say octets until the client goes away
    C: USER anna            expect this line
    C-any:                  expect a line, whatever it is
    C-body:                 expect lines up to a lone dot (SMTP's DATA); kept in `bodies`
    C-chunk: 25 LAST        expect a BDAT with these words, and its octets (without words: whatever it is); kept in `bodies`
    C-end:                  expect that the client closes the connection
    PAUSE 0.2               wait so many seconds
    HANG                    say nothing until the client goes away
    STARTTLS                shake hands
    CLOSE                   close in an orderly way
    RESET                   close with a RST
    C-quiet: 0.1            expect that for so many seconds the client says nothing
    NEXT                    close, and take the client's next connection

`dialogue` has the verbs that are short for several of these, and what comes of a dialogue.
Leaving the `with` block joins the thread and fails the test with what was expected and what came instead.
"""

import contextlib
import functools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

from tests.doubles.dialogue import Dialogue, escaped

PATIENCE_SECONDS: Final = 10.0  # for a client that never says what is expected


@functools.cache
def authority() -> trustme.CA:
    """The CA of this test run."""
    return trustme.CA()


@functools.cache
def server_context(*names: str) -> ssl.SSLContext:
    """A context with a certificate for these names (`localhost` and 127.0.0.1 if there are none)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context


def ca_file(folder: Path) -> Path:
    """Write the CA's certificate into a folder."""
    path = folder / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return path


class Scripted:
    """The server; `port` is where it listens on 127.0.0.1."""

    def __init__(self, dialogue: str | Path | Sequence[str] | Dialogue, *, tls: ssl.SSLContext | None = None) -> None:
        """`dialogue`: text, lines, or the name of a file in tests/dialogues. tls: a context; then TLS is on from the start."""
        if isinstance(dialogue, Path):
            dialogue = Dialogue.read(str(dialogue))
        elif not isinstance(dialogue, Dialogue):
            dialogue = Dialogue.of(dialogue.splitlines() if isinstance(dialogue, str) else list(dialogue))
        self._steps = dialogue.steps
        self._mail: Mapping[str, bytes] = dialogue.mail
        self._tls = tls
        self._split = 0
        self._buffer = b""
        self.heard: list[bytes] = []
        self.bodies: list[bytes] = []
        self.mismatch: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(PATIENCE_SECONDS * 2)
        self._listener.close()
        assert not self._thread.is_alive(), "the scripted server did not end"
        if self.mismatch is not None and kind is None:
            raise AssertionError(self.mismatch)
        if self.mismatch is not None and error is not None:
            error.add_note(f"the scripted server: {self.mismatch}")

    def _serve(self) -> None:
        step = "the beginning"
        try:
            self._accept()
        except OSError as error:
            self.mismatch = f"nobody connected: {error}"
            return
        try:
            if self._tls is not None:
                self._shake_hands(self._tls)
            for step in self._steps:
                self._play(step)
        except (OSError, AssertionError) as error:
            # A client that gives up while it is being talked to is what many dialogues are about.
            if not step.startswith(("S", "HANG", "PAUSE", "the beginning")):
                self.mismatch = f"at {step!r}: {error}"
        finally:
            if self._connection is not None:
                self._connection.close()

    def _accept(self) -> None:
        self._connection, _address = self._listener.accept()
        self._connection.settimeout(PATIENCE_SECONDS)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def _play(self, step: str) -> None:  # noqa: PLR0912 -- a case for each verb of the language
        assert self._connection is not None
        verb, _, rest = step.partition(" ")
        match verb:
            case "S:":
                self._say(rest.encode() + b"\r\n")
            case "S-raw:":
                self._say(escaped(rest))
            case "S-mail:":
                octets = self._mail[rest]
                stuffed = (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:]
                self._say(stuffed + (b".\r\n" if octets.endswith(b"\r\n") or not octets else b"\r\n.\r\n"))
            case "S-split:":
                self._split = int(rest)
            case "S-dribble:":
                pause, _, text = rest.partition(" ")
                for one in text.encode() + b"\r\n":
                    self._connection.sendall(bytes([one]))
                    time.sleep(float(pause))
            case "S-times:":
                count, _, text = rest.partition(" ")
                self._say(escaped(text) * int(count))
            case "S-forever:":
                piece = escaped(rest) * 4096
                while True:
                    self._connection.sendall(piece)
            case "C:":
                line = self._line()
                assert rest.encode() == line, f"expected {rest!r}, heard {line!r}"
            case "C-any:":
                self._line()
            case "C-body:":
                self._body()
            case "C-chunk:":
                self._expect_chunk(rest)
            case "HANG":
                while self._connection.recv(65536):
                    pass
            case "C-end:":
                rest_heard = self._buffer + self._connection.recv(4096)
                assert rest_heard == b"", f"expected the end, heard {rest_heard!r}"
            case "C-quiet:":
                self._connection.settimeout(float(rest))
                with contextlib.suppress(TimeoutError):
                    self._buffer += self._connection.recv(4096)
                self._connection.settimeout(PATIENCE_SECONDS)
                assert self._buffer == b"", f"expected silence, heard {self._buffer!r}"
            case "NEXT":
                self._connection.close()
                self._accept()
            case "PAUSE":
                time.sleep(float(rest))
            case "STARTTLS":
                self._shake_hands(server_context())
            case "CLOSE":
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_WR)
            case "RESET":
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._connection.close()
            case _:
                raise ValueError(f"no such step: {step}")

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        assert self._connection is not None
        self._connection = context.wrap_socket(self._connection, server_side=True)

    def _say(self, octets: bytes) -> None:
        assert self._connection is not None
        size = self._split or len(octets)
        for start in range(0, len(octets), size or 1):
            self._connection.sendall(octets[start : start + size])

    def _line(self) -> bytes:
        assert self._connection is not None
        while b"\n" not in self._buffer:
            octets = self._connection.recv(65536)
            assert octets, f"the client is gone; it said {self._buffer!r} last"
            self._buffer += octets
        line, _, self._buffer = self._buffer.partition(b"\n")
        assert line.endswith(b"\r"), f"a bare LF behind {line!r}"
        self.heard.append(line[:-1])
        return line[:-1]

    def _body(self) -> None:
        lines: list[bytes] = []
        while (line := self._line()) != b".":
            lines.append(line + b"\r\n")
        self.bodies.append(b"".join(lines))

    def _expect_chunk(self, words: str) -> None:
        assert self._connection is not None
        line = self._line().decode()
        assert line.startswith(f"BDAT {words}"), f"expected BDAT {words}, heard {line!r}"
        count = int(line.split()[1])
        while len(self._buffer) < count:
            octets = self._connection.recv(65536)
            assert octets, "the client is gone in the middle of a chunk"
            self._buffer += octets
        self.bodies.append(self._buffer[:count])
        self._buffer = self._buffer[count:]
