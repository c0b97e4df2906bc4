"""SMTP relays that misbehave below the level of commands, where the demo server can't: raw octets on a socket, one client.

`RawRelay(play)` listens on loopback and gives the accepted socket to `play` on a thread; what `play` raises fails the test.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from daemon import errors
from daemon.mail.envelope import Envelope, Parcel
from daemon.smtp.relay import Relay
from daemon.smtp.replies import Outcome
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from tests.secrets_used import PASSWORD

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))
Connect = Callable[..., Relay]  # the fixture `connect` of tests/smtp


class Tls(NamedTuple):
    """For a server and for its clients."""

    context: ssl.SSLContext
    ca_file: Path


def send(
    relay: Relay,
    envelope: Envelope,
    content: bytes,
    *,
    before_final_dot: Callable[[], None] = lambda: None,
    **options: Any,
) -> dict[str, Outcome]:
    """Carry one letter; what became of the line afterwards shows in `usable`. options: of Parcel."""
    parcel = Parcel(key=0, envelope=envelope, content=content, **options)
    carried = relay.carry(iter([parcel]), before_end=lambda _key: before_final_dot(), window=lambda: 1)
    for _, outcomes in carried:
        with suppress(errors.PostroomError):
            next(carried, None)
        return outcomes
    raise AssertionError("the relay ended the session before the letter")


class Line:
    """A client's connection, read line by line."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._lines = connected.makefile("rb")

    def say(self, *octets: bytes) -> None:
        """Send, each piece in a packet of its own."""
        for one in octets:
            self.socket.sendall(one)

    def hear(self) -> bytes:
        """Return the next line, b"" at the end."""
        return self._lines.readline()

    def hear_until(self, last: bytes) -> list[bytes]:
        """Return lines up to this one."""
        heard = [self.hear()]
        while heard[-1] not in (last, b""):
            heard.append(self.hear())
        return heard

    def answer(self, *replies: bytes) -> list[bytes]:
        """Answer one line with each reply; return the lines."""
        heard = []
        for reply in replies:
            heard.append(self.hear())
            self.say(reply)
        return heard

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


class RawRelay:
    """The listener; `with RawRelay(play) as relay:` and then `relay.port`."""

    def __init__(self, play: Callable[[Line], None]) -> None:
        self._play = play
        self._fault: BaseException | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, name="RawRelay", daemon=True)
        self._line: Line | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        if self._line is not None:
            with suppress(OSError):
                self._line.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            connected, _ = self._listening.accept()
        except OSError:
            return
        line = self._line = Line(connected)
        try:
            self._play(line)
        except OSError:
            pass  # the client hung up, which is what most of these plays are about
        except BaseException as fault:  # noqa: BLE001 -- handed to the test's thread
            self._fault = fault
        finally:
            line.close()
