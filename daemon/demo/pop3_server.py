"""A POP3 server on loopback with its maildrops in memory (RFC 1939, 2449, 2595, 3206, 5034, 6856 UTF8 logins).

Well-behaved by default, and quick: a pipelined window is one recv and one send. Deletes are real only at QUIT. Switches and
`answers` (see listener.py) make it misbehave. Raises nothing at clients; never imports the house's own protocol code.
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from daemon.demo import logins
from daemon.demo.connection import Connection, Then
from daemon.demo.listener import Listener

ALL_FEATURES: Final = frozenset(
    {"CAPA", "USER", "SASL", "STLS", "TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"}
)
LOCK_PATIENCE_SECONDS: Final = 0.5  # a client that just dropped its line may not have been noticed yet


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """One message in a maildrop. listed_octets: what STAT and LIST say; None: the truth."""

    uidl: str | bytes
    content: bytes
    listed_octets: int | None = None

    @property
    def octets(self) -> int:
        """The size that the server tells."""
        return len(self.content) if self.listed_octets is None else self.listed_octets

    @property
    def uidl_octets(self) -> bytes:
        """The unique id on the wire."""
        return self.uidl.encode() if isinstance(self.uidl, str) else self.uidl


@dataclass(slots=True)
class Maildrop:
    """The mail of one user. Sessions see what was there when they logged in."""

    password: str
    messages: list[Held] = field(default_factory=list)
    deleted: list[Held] = field(default_factory=list)  # what clients removed, in order
    holder: Connection | None = None
    _serial: int = 0

    def add(self, content: bytes, uidl: str | bytes | None = None, *, listed_octets: int | None = None) -> Held:
        """Deliver a message; its unique id is made up where none is given."""
        self._serial += 1
        held = Held(
            uidl=f"{self._serial:08x}postroom" if uidl is None else uidl, content=content, listed_octets=listed_octets
        )
        self.messages.append(held)
        return held

    @property
    def contents(self) -> list[bytes]:
        """What is there now, oldest first."""
        return [held.content for held in self.messages]

    def renumber(self, prefix: str = "new") -> None:
        """Give every message another unique id, as a server does after a restore."""
        for number, held in enumerate(self.messages, start=1):
            held.uidl = f"{prefix}{number:08d}"


@dataclass(slots=True)
class _Session:
    """Where one client stands."""

    connection: Connection
    username: str | None = None
    maildrop: Maildrop | None = None
    messages: list[Held] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)

    def listed(self) -> Iterable[tuple[int, Held]]:
        return ((number, held) for number, held in enumerate(self.messages, start=1) if number not in self.marked)


class _Refused(Exception):
    """The command gets -ERR and this text."""


class Pop3Server(Listener):
    """The server. `maildrop(user)` is that user's mail, before, during and after sessions.

    features: what it announces and does; take names out (all are in ALL_FEATURES). Without CAPA the rest still works.
    extra_capabilities: more lines for CAPA.  mechanisms: for AUTH.  login_needs_tls: refuses to log in without TLS.
    locks: one session a maildrop, others get [IN-USE].  greeting: without +OK.
    """

    def __init__(
        self,
        maildrops: Mapping[str, Iterable[bytes]] | None = None,
        password: str = "",
        *,
        passwords: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        port: int = 0,
    ) -> None:
        """Fill the maildrops. password: of every user without one in `passwords`."""
        super().__init__(tls=tls, implicit_tls=implicit_tls, port=port)
        self.features: set[str] = set(ALL_FEATURES)
        self.extra_capabilities: list[str] = ["EXPIRE NEVER", "IMPLEMENTATION Postroom-demo"]
        self.mechanisms: tuple[str, ...] = logins.MECHANISMS
        self.login_needs_tls = False
        self.locks = True
        self.greeting = "Postroom demo maildrops"
        self._logins = threading.Condition()
        self._sessions: dict[Connection, _Session] = {}
        self._maildrops = {
            user: Maildrop((passwords or {}).get(user, password)) for user in {**(maildrops or {}), **(passwords or {})}
        }
        for user, contents in (maildrops or {}).items():
            for content in contents:
                self._maildrops[user].add(content)
        # verb -> (needs to be logged in: True, needs not to be: False, either: None; what it does)
        self._verbs: dict[str, tuple[bool | None, Callable[[_Session, str], None]]] = {
            "CAPA": (None, self._capa),
            "STLS": (False, self._stls),
            "USER": (False, self._user),
            "PASS": (False, self._pass),
            "AUTH": (False, self._auth),
            "STAT": (True, self._stat),
            "LIST": (True, self._list),
            "UIDL": (True, self._uidl),
            "RETR": (True, self._retr),
            "TOP": (True, self._top),
            "DELE": (True, self._dele),
            "RSET": (True, self._rset),
            "NOOP": (True, self._noop),
            "QUIT": (None, self._quit),
        }

    def maildrop(self, user: str) -> Maildrop:
        """Return the mail of a user."""
        return self._maildrops[user]

    def add_user(self, user: str, password: str) -> Maildrop:
        """Open an empty maildrop."""
        return self._maildrops.setdefault(user, Maildrop(password))

    # --- one client ---------------------------------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Greet, then answer commands until QUIT or the end of the line."""
        session = self._sessions[connection] = _Session(connection)
        self.obey(connection, connection.seen("CONNECT"), lambda: _ok(connection, self.greeting))
        while True:
            line = connection.read_line()
            if "PIPELINING" not in self.features and connection.find(b"\n") >= 0:
                self.violations.append(f"pipelined after {line[:4]!r} without PIPELINING")
            word, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
            verb = word.upper()
            shown = rest
            if verb == "PASS":
                shown = "***"
            elif verb == "AUTH":
                shown = rest.partition(" ")[0] + (" ***" if " " in rest else "")
            self.obey(connection, self.note(connection, verb, shown), partial(self._carry_out, session, verb, rest))

    def left(self, connection: Connection) -> None:
        """Release the lock; marks are forgotten (RFC 1939 section 6: no QUIT, no UPDATE)."""
        session = self._sessions.pop(connection, None)
        if session is not None:
            self._release(session)

    def _carry_out(self, session: _Session, verb: str, argument: str) -> None:
        try:
            self._act(session, verb)(session, argument)
        except _Refused as refusal:
            session.connection.write(f"-ERR {refusal}\r\n".encode())

    def _act(self, session: _Session, verb: str) -> Callable[[_Session, str], None]:
        needs_login, act = self._verbs.get(verb, (None, None))
        if act is None or (verb in ALL_FEATURES and verb not in self.features):
            raise _Refused("unknown command")
        if needs_login is not None and needs_login != (session.maildrop is not None):
            raise _Refused("log in first" if needs_login else "you are logged in")
        return act

    # --- AUTHORIZATION ------------------------------------------------------------------------------------------------

    def _may_log_in(self, session: _Session) -> bool:
        return session.connection.is_encrypted or not self.login_needs_tls

    def _capa(self, session: _Session, _argument: str) -> None:
        lines: list[str] = [
            name for name in ("TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE") if name in self.features
        ]
        if self._may_log_in(session):
            lines += ["USER"] if "USER" in self.features else []
            lines += [" ".join(("SASL", *self.mechanisms))] if "SASL" in self.features and self.mechanisms else []
        if self._offers_stls(session):
            lines.append("STLS")
        _ok(session.connection, "what I can do")
        session.connection.write("".join(f"{line}\r\n" for line in [*lines, *self.extra_capabilities, "."]).encode())

    def _offers_stls(self, session: _Session) -> bool:
        free = session.maildrop is None and not session.connection.is_encrypted
        return free and self.tls is not None and "STLS" in self.features

    def _stls(self, session: _Session, _argument: str) -> None:
        if not self._offers_stls(session) or self.tls is None:
            raise _Refused("no TLS here")
        _ok(session.connection, "begin TLS")
        session.connection.start_tls(self.tls)
        session.username = None

    def _user(self, session: _Session, argument: str) -> None:
        if not self._may_log_in(session):
            raise _Refused("[AUTH] not without TLS")
        if not argument:
            raise _Refused("who?")
        session.username = argument
        _ok(session.connection, "and the password?")

    def _pass(self, session: _Session, argument: str) -> None:
        if session.username is None:
            raise _Refused("USER first")
        username, session.username = session.username, None
        self._log_in(session, username, argument)

    def _auth(self, session: _Session, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if "SASL" not in self.features or mechanism.upper() not in self.mechanisms or not self._may_log_in(session):
            raise _Refused("[AUTH] no such mechanism here")
        try:
            username, password = logins.ask(session.connection, mechanism, initial, b"+ ")
        except logins.LoginUnreadable as error:
            raise _Refused(f"[AUTH] {error}") from error
        self._log_in(session, username, password)

    def _log_in(self, session: _Session, username: str, password: str) -> None:
        maildrop = self._maildrops.get(username)
        if maildrop is None or maildrop.password != password:
            raise _Refused("[AUTH] wrong user or password")
        with self._logins:
            if self.locks and not self._logins.wait_for(lambda: maildrop.holder is None, LOCK_PATIENCE_SECONDS):
                raise _Refused("[IN-USE] another session holds the maildrop")
            maildrop.holder = session.connection
        session.maildrop = maildrop
        session.connection.user = username
        session.messages = list(maildrop.messages)
        _ok(session.connection, f"{len(session.messages)} messages")

    def _release(self, session: _Session) -> None:
        maildrop, session.maildrop = session.maildrop, None
        if maildrop is not None:
            with self._logins:
                if maildrop.holder is session.connection:
                    maildrop.holder = None
                self._logins.notify_all()

    # --- TRANSACTION --------------------------------------------------------------------------------------------------

    def _stat(self, session: _Session, _argument: str) -> None:
        octets = [held.octets for _, held in session.listed()]
        session.connection.write(b"+OK %d %d\r\n" % (len(octets), sum(octets)))

    def _list(self, session: _Session, argument: str) -> None:
        _listing(session, argument, lambda held: b"%d" % held.octets)

    def _uidl(self, session: _Session, argument: str) -> None:
        _listing(session, argument, lambda held: held.uidl_octets)

    def _retr(self, session: _Session, argument: str) -> None:
        held = _held(session, argument)
        session.connection.write(b"+OK %d octets\r\n" % len(held.content))
        session.connection.write(stuffed(held.content))

    def _top(self, session: _Session, argument: str) -> None:
        number, _, lines = argument.partition(" ")
        held = _held(session, number)
        if not lines.strip().isdigit():
            raise _Refused("how many lines?")
        session.connection.write(b"+OK the top\r\n")
        session.connection.write(stuffed(top(held.content, int(lines))))

    def _dele(self, session: _Session, argument: str) -> None:
        _held(session, argument)
        session.marked.add(int(argument))
        _ok(session.connection, f"message {int(argument)} marked")

    def _rset(self, session: _Session, _argument: str) -> None:
        session.marked.clear()
        _ok(session.connection, "nothing is marked")

    def _noop(self, session: _Session, _argument: str) -> None:
        _ok(session.connection, "")

    def _quit(self, session: _Session, _argument: str) -> None:
        """UPDATE (RFC 1939 section 6): the marked ones go, the lock is free before the client hears of it."""
        if session.maildrop is not None:
            going = {id(session.messages[number - 1]) for number in session.marked}
            session.maildrop.deleted += [held for held in session.maildrop.messages if id(held) in going]
            session.maildrop.messages[:] = [held for held in session.maildrop.messages if id(held) not in going]
        self._release(session)
        _ok(session.connection, "good bye")
        session.connection.end(Then.CLOSE)


def stuffed(content: bytes) -> bytes:
    """Return the multi-line body on the wire (RFC 1939 section 3). Lines begin after CRLF only: a bare LF is content."""
    body = content.replace(b"\r\n.", b"\r\n..")
    if body.startswith(b"."):
        body = b"." + body
    return body + (b".\r\n" if body.endswith(b"\r\n") or not body else b"\r\n.\r\n")


def top(content: bytes, lines: int) -> bytes:
    """Return the header, the empty line and that many lines of the body."""
    end = content.find(b"\r\n\r\n")
    if end < 0:
        return content
    end += 4
    for _ in range(lines):
        following = content.find(b"\r\n", end)
        if following < 0:
            return content
        end = following + 2
    return content[:end]


def _ok(connection: Connection, text: str) -> None:
    connection.write(f"+OK {text}\r\n".encode())


def _held(session: _Session, argument: str) -> Held:
    word = argument.strip()
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0
    if not 1 <= number <= len(session.messages) or number in session.marked:
        raise _Refused("no such message")
    return session.messages[number - 1]


def _listing(session: _Session, argument: str, say: Callable[[Held], bytes]) -> None:
    if argument.strip():
        held = _held(session, argument)
        session.connection.write(b"+OK %d %b\r\n" % (int(argument), say(held)))
        return
    lines = b"".join(b"%d %b\r\n" % (number, say(held)) for number, held in session.listed())
    session.connection.write(b"+OK the list\r\n" + lines + b".\r\n")
