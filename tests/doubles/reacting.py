"""A relay that reacts: well-mannered, but for the rules of a visit (see `drains`).

It answers line by line and reads no further than it has answered, so that a rule says what the relay does whether a client
sends its commands one by one or in a flight, a letter by DATA or by BDAT. More steps than `scripted` has:

    TAKEN     it has taken the letter, whatever it says of it (a 2xx reply behind the letter's end means so by itself)
    DROP      what has come behind this line is thrown away, as a relay does that can't do what it offers
    DEFAULT   what good manners would answer
"""

import contextlib
import re
import socket
import ssl
import threading
from collections import Counter
from types import TracebackType
from typing import Final, Self

from tests.doubles.drains import Drains, Rule, Visit
from tests.doubles.scripted import PATIENCE_SECONDS, Scripted, server_context

_CODE: Final = re.compile(rb"(\d\d\d)[ \r]")
_SUBJECT: Final = re.compile(rb"^Subject: (\w+)\r$", re.MULTILINE)
_ADDRESS: Final = re.compile(rb"<([^>]*)>")
_ENDS: Final = frozenset({"CLOSE", "RESET", "HANG", "S-forever:"})


class _Ended(Exception):
    """A rule has ended the connection."""


class _Client(Scripted):
    """One connection; of `Scripted` only the steps."""

    def __init__(self, connection: socket.socket, relay: "Reacting") -> None:
        self._connection = connection
        self._relay = relay
        self._buffer, self._split, self.heard, self.bodies = b"", 0, [], []
        self._said = self._content = b""
        self._recipients: list[str] | None = None  # None: no MAIL yet
        connection.settimeout(PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Serve until the end; a client that goes away in the middle is what many rules are about."""
        with contextlib.suppress(OSError, AssertionError, ValueError, _Ended):
            if self._relay.implicit_tls is not None:
                self._shake_hands(self._relay.implicit_tls)
            self._react("CONNECT", "220 relay.example ESMTP")
            while True:
                self._command(self._line())
        self.hang_up()

    def do(self, steps: list[str]) -> None:
        """Do this unasked, from another thread."""
        for step in steps:
            self._play(step)

    def hang_up(self) -> None:
        """Close, from whatever thread."""
        assert self._connection is not None
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    # --- commands ---------------------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> None:  # noqa: PLR0912 -- a case for each verb
        verb = line.split(b" ")[0].upper().decode("latin-1")
        if self._buffer and verb != "BDAT" and not self._relay.offers_pipelining:
            self._relay.violations.append(f"pipelined behind {line!r}")
        shown = line.decode("latin-1")
        match verb:
            case "EHLO":
                self._recipients = None
                offers = [o for o in self._relay.offers if o != "STARTTLS" or not self._is_encrypted]
                lines = ["relay.example", *offers]
                self._react(shown, *(f"250-{one}" for one in lines[:-1]), f"250 {lines[-1]}")
            case "HELO" | "RSET":
                self._react(shown, "250 2.0.0 ok")
                self._recipients = None
            case "STARTTLS":
                self._react(shown, "220 2.0.0 begin", "STARTTLS")
            case "MAIL":
                nested = self._recipients is not None
                self._content = b""
                if self._react(shown, "503 5.5.1 one letter at a time" if nested else "250 2.1.0 ok") == 2:
                    self._recipients = []
            case "RCPT":
                self._rcpt(line, shown)
            case "DATA":
                refused = "503 5.5.1 MAIL first" if self._recipients is None else "554 5.5.1 no valid recipients"
                if self._react(shown, "354 go on" if self._recipients else refused) == 3:
                    self._letter()
            case "BDAT":
                self._chunk(line, shown)
            case "QUIT":
                self._react(shown, "221 2.0.0 bye", "CLOSE")
            case "NOOP":
                self._react(shown, "250 2.0.0 ok")
            case "AUTH":
                self._react(shown, "235 2.7.0 welcome")
            case _:
                self._react(shown, "500 5.5.2 what?")

    def _rcpt(self, line: bytes, shown: str) -> None:
        found = _ADDRESS.search(line)
        assert found
        said = self._react(shown, "503 5.5.1 MAIL first" if self._recipients is None else "250 2.1.5 ok")
        if said == 2 and self._recipients is not None:
            self._recipients.append(found[1].decode())

    def _letter(self) -> None:
        if not self._buffer:
            self._receive()
        self._react("CONTENT")
        lines = []
        while (line := self._line()) != b".":
            lines.append(line + b"\r\n")
        self._content = b"".join(lines)
        self._end_of_letter()

    def _chunk(self, line: bytes, shown: str) -> None:
        words = line.upper().split()
        octets = int(words[1])
        if octets and self._recipients:
            self._react("CONTENT")
        while len(self._buffer) < octets:
            self._receive()
        self._content += self._buffer[:octets]
        self._buffer = self._buffer[octets:]
        # What was begun stays begun when a chunk is refused, as with Exim: only RSET ends it.
        if (steps := self._relay.steps(shown)) is not None:
            self._react(shown, steps=steps)
        elif not self._recipients:
            self._play("S: 503 5.5.1 no valid recipients")
        elif words[-1] == b"LAST":
            self._end_of_letter()
        else:
            self._react(shown, "250 2.0.0 go on")

    def _end_of_letter(self) -> None:
        recipients, self._recipients = self._recipients or [], None
        is_taken = self._react(
            ".", "250 2.0.0 taken" if recipients else "554 5.5.1 no valid recipients", for_=recipients
        )
        if is_taken == 2:
            self._relay.take(recipients, self._content)

    def _receive(self) -> None:
        assert self._connection is not None
        octets = self._connection.recv(65536)
        assert octets, "the client is gone"
        self._buffer += octets

    @property
    def _is_encrypted(self) -> bool:
        return isinstance(self._connection, ssl.SSLSocket)

    # --- reactions --------------------------------------------------------------------------------------------------

    def _react(self, heard: str, *manners: str, for_: list[str] | None = None, steps: list[str] | None = None) -> int:
        """Do what a rule says, or what good manners say; return the class of the last reply, 0 without one.

        for_: recipients of the letter that this is the end of.  steps: of a rule that is known already.
        """
        self._said = b""
        steps = self._relay.steps(heard) if steps is None else steps
        default = [one if one in {"CLOSE", "STARTTLS"} else f"S: {one}" for one in manners]
        for step in default if steps is None else steps:
            match step:
                case "DEFAULT":
                    for one in default:
                        self._play(one)
                case "TAKEN":
                    assert for_
                    self._relay.take(for_, self._content)
                case "DROP":
                    self._buffer = b""
                case _:
                    self._play(step)
            if step.split(" ")[0] in _ENDS:
                if for_ and self._last_class == 2:
                    self._relay.take(for_, self._content)
                raise _Ended
        return self._last_class

    @property
    def _last_class(self) -> int:
        codes = _CODE.findall(self._said)
        return int(codes[0]) // 100 if codes else 0

    def _say(self, octets: bytes) -> None:
        self._said += octets
        super()._say(octets)

    def _play(self, step: str) -> None:
        if step.startswith("S-dribble:"):
            self._said += step.split(" ", 2)[2].encode() + b"\r\n"
        super()._play(step)


class Reacting:
    """The relay; `port` is where it listens on 127.0.0.1. taken: recipients that it has a letter for, with repetitions."""

    def __init__(self, drains: Drains) -> None:
        """Nothing listens before `with`."""
        self.implicit_tls = server_context(*drains.names) if (drains.serves or drains.security) == "tls" else None
        self.taken: Counter[str] = Counter()
        self._rows = drains.rows
        self.violations: list[str] = []
        self.connections = 0
        self._visit = Visit()
        self._heard: Counter[int] = Counter()
        self.offers = list(drains.offers)  # lines of the reply to EHLO
        self._lock = threading.Lock()
        self._clients: list[tuple[_Client, threading.Thread]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE_SECONDS)
        self._listener.close()
        for client, thread in self._clients:
            client.hang_up()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a connection of the reacting relay did not end"

    def play(self, visit: Visit) -> None:
        """React by these rules from now on."""
        self._visit = visit
        self._heard = Counter()

    def do_between(self, visit: Visit) -> None:
        """Do on every open connection what comes behind a visit."""
        for client, _thread in self._clients:
            with contextlib.suppress(OSError):
                client.do(visit.between)

    def behave(self, drains: Drains) -> None:
        """React in good manners from now on, and offer what the settings need."""
        self.play(Visit())
        self.offers = ["STARTTLS"] * (drains.security == "starttls") + ["AUTH PLAIN"] * drains.logs_in

    def unheard(self) -> list[str]:
        """Return the rules of this visit that had to come into play and did not."""
        return [one.heard for one in self._visit.rules if one.must and self._heard[id(one)] < max(one.nth, 1)]

    @property
    def offers_pipelining(self) -> bool:
        """Whether a client may send in flights."""
        return "PIPELINING" in self.offers

    def steps(self, heard: str) -> list[str] | None:
        """Return what is done when this is heard; None: what good manners say."""
        with self._lock:
            rule = self._rule(heard)
        return None if rule is None else rule.steps

    def take(self, recipients: list[str], content: bytes) -> None:
        """Note that the relay has a letter for them; its subject says for whom it was meant."""
        subject = _SUBJECT.search(content)
        meant = self._rows[subject[1].decode()] if subject else ""
        with self._lock:
            self.taken.update(recipients)
            self.violations += [f"{to} got a letter for {meant}" for to in recipients if to not in meant.split(", ")]

    def _rule(self, heard: str) -> Rule | None:
        fitting = [one for one in self._visit.rules if heard.startswith(one.heard)]
        for one in fitting:
            self._heard[id(one)] += 1
        fitting = [one for one in fitting if one.nth in {0, self._heard[id(one)]}]
        return max(fitting, key=lambda one: (len(one.heard), one.nth), default=None)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                self.connections += 1
                client = _Client(connection, self)
                thread = threading.Thread(target=client.serve, daemon=True)
                self._clients.append((client, thread))
                thread.start()
