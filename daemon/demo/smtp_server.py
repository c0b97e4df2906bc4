"""An SMTP submission server on loopback that keeps what it is given (RFC 5321, 3207, 4954, 6409; 1870, 2034, 2920, 6152, 6531).

Well-behaved by default, and quick. `on_rcpt`, the switches and `answers` (see listener.py) make it misbehave. Beside the
verbs, `answers` knows two moments of a letter: `CONTENT`, when the first octets of it have come, and `.`, when its final dot
has: `Answer(octets=b"…")` there means not accepted, `Answer(keep=0, then=Then.CLOSE)` accepted but never told.
Never imports the house's own protocol code.
"""

import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from daemon.demo import logins
from daemon.demo.connection import Connection, Then
from daemon.demo.listener import Listener

ALL_EXTENSIONS: Final = frozenset(
    {"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH"}
)
MAX_CONTENT_OCTETS: Final = 52_428_800  # 50 MiB, what larger providers take
MAX_RECIPIENTS: Final = 1000  # RFC 5321 section 4.5.3.1.8: at least 100

_PATH: Final = re.compile(r"<(?:@[^:>]*:)?([^>]*)>")
_ENDS_GROUP: Final = frozenset(
    {"EHLO", "HELO", "DATA", "STARTTLS", "AUTH", "QUIT", "NOOP", "VRFY"}
)  # RFC 2920 section 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A letter that was accepted. content: un-stuffed, as it came.  parameters: of MAIL, names in capitals; notices: of each RCPT."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    parameters: Mapping[str, str]
    user: str | None
    encrypted: bool
    connection: int
    notices: tuple[Mapping[str, str], ...] = ()


@dataclass(slots=True)
class Session:
    """Where one client stands."""

    connection: Connection
    greeted: str = ""
    sender: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    recipients: list[str] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    chunks: bytes = b""
    goes_on: bool = False  # 354 was said: content comes next

    def forget(self) -> None:
        """Be where no letter was begun."""
        self.sender = None
        self.parameters = {}
        self.recipients = []
        self.notices = []
        self.chunks = b""
        self.goes_on = False


class Refused(Exception):
    """The command gets this reply."""


class SmtpServer(Listener):
    """The server. `received` holds the accepted letters in order; `wait_for` waits until there are so many.

    extensions: what it announces and does; take names out (all are in ALL_EXTENSIONS).  mechanisms: for AUTH.
    needs_auth, needs_tls: refuses MAIL without (default: needs_auth when there are users).  knows_ehlo: else only HELO.
    on_rcpt: address -> the reply to say instead of accepting it, like "550 5.1.1 no such user", or None.
    on_letter: the letter -> the reply instead of accepting it, or None.
    drop_after_content_octets: the connection ends once so much of a letter has come, before its final dot.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        port: int = 0,
        hostname: str = "relay.postroom.example",
    ) -> None:
        """users: name -> password; without any, no AUTH is offered."""
        super().__init__(tls=tls, implicit_tls=implicit_tls, port=port)
        self.users: dict[str, str] = dict(users or {})
        self.hostname = hostname
        self.extensions: set[str] = set(ALL_EXTENSIONS)
        self.extra_extensions: list[str] = []
        self.mechanisms: tuple[str, ...] = logins.MECHANISMS
        self.needs_auth = bool(users)
        self.needs_tls = False
        self.knows_ehlo = True
        self.max_content_octets = MAX_CONTENT_OCTETS
        self.max_recipients = MAX_RECIPIENTS
        self.on_rcpt: Callable[[str], str | None] = lambda _address: None
        self.on_letter: Callable[[Received], str | None] = lambda _letter: None
        self.drop_after_content_octets: int | None = None
        self.received: list[Received] = []
        self._arrival = threading.Condition()
        self._verbs: dict[str, Callable[[Session, str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }

    def wait_for(self, letters: int, timeout_seconds: float = 10.0) -> bool:
        """Wait until at least so many letters were accepted; False if they did not come in time."""
        with self._arrival:
            return self._arrival.wait_for(lambda: len(self.received) >= letters, timeout_seconds)

    def letters_to(self, address: str) -> list[Received]:
        """Return the letters accepted for one recipient."""
        return [letter for letter in list(self.received) if address in letter.recipients]

    # --- one client ---------------------------------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Greet, then answer commands until QUIT or the end of the line."""
        session = Session(connection)
        self.obey(
            connection,
            connection.seen("CONNECT"),
            lambda: self._say(session, f"220 {self.hostname} ESMTP Postroom demo"),
        )
        while True:
            line = connection.read_line()
            word, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
            verb = word.upper()
            if connection.find(b"\n") >= 0:
                if verb == "BDAT":
                    pass  # its chunk follows
                elif "PIPELINING" not in self.extensions:
                    self.violations.append(f"pipelined after {verb} without PIPELINING")
                elif verb in _ENDS_GROUP:
                    self.violations.append(f"did not wait after {verb}")
            shown = argument
            if verb == "AUTH":
                shown = argument.partition(" ")[0] + (" ***" if " " in argument else "")
            self.obey(connection, self.note(connection, verb, shown), partial(self._carry_out, session, verb, argument))
            if session.goes_on:
                self._take_letter(session)

    def _carry_out(self, session: Session, verb: str, argument: str) -> None:
        act = self._verbs.get(verb)
        try:
            if (
                act is None
                or (verb in ALL_EXTENSIONS and verb not in self.extensions)
                or (verb == "EHLO" and not self.knows_ehlo)
            ):
                self._say(session, "502 5.5.1 I do not know that")
            else:
                act(session, argument)
        except Refused as refusal:
            self._say(session, str(refusal))

    def _say(self, session: Session, reply: str) -> None:
        """Say `CODE X.Y.Z text`; the enhanced code is left out where it is not offered."""
        if "ENHANCEDSTATUSCODES" not in self.extensions:
            reply = re.sub(r"^(\d{3}[ -])\d\.\d{1,3}\.\d{1,3} ", r"\1", reply)
        session.connection.write(reply.encode("utf-8", "surrogateescape") + b"\r\n")

    # --- before a letter ----------------------------------------------------------------------------------------------

    def _ehlo(self, session: Session, argument: str) -> None:
        if not argument.strip():
            raise Refused("501 5.5.4 who are you?")
        session.forget()
        session.greeted = "EHLO"
        lines = [f"{self.hostname} greets {argument.strip()}"]
        lines += [
            name
            for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN")
            if name in self.extensions
        ]
        if "SIZE" in self.extensions:
            lines.append(f"SIZE {self.max_content_octets}")
        if self._offers_starttls(session):
            lines.append("STARTTLS")
        if self._offers_auth(session):
            lines.append(" ".join(("AUTH", *self.mechanisms)))
        lines += self.extra_extensions
        for line in lines[:-1]:
            self._say(session, f"250-{line}")
        self._say(session, f"250 {lines[-1]}")

    def _helo(self, session: Session, argument: str) -> None:
        if not argument.strip():
            raise Refused("501 5.5.4 who are you?")
        session.forget()
        session.greeted = "HELO"
        self._say(session, f"250 {self.hostname}")

    def _offers_starttls(self, session: Session) -> bool:
        return self.tls is not None and "STARTTLS" in self.extensions and not session.connection.is_encrypted

    def _offers_auth(self, session: Session) -> bool:
        may = session.connection.is_encrypted or not self.needs_tls
        return bool(self.users) and "AUTH" in self.extensions and bool(self.mechanisms) and may

    def _starttls(self, session: Session, argument: str) -> None:
        if argument.strip():
            raise Refused("501 5.5.4 STARTTLS takes nothing")
        if not self._offers_starttls(session) or self.tls is None:
            raise Refused("503 5.5.1 no TLS here")
        self._say(session, "220 2.0.0 begin TLS")
        session.connection.start_tls(self.tls)
        session.forget()
        session.greeted = ""  # RFC 3207 section 4.2: what was said before is forgotten

    def _auth(self, session: Session, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if not self._offers_auth(session):
            raise Refused("530 5.7.0 STARTTLS first" if self.needs_tls else "502 5.5.1 no AUTH here")
        if session.connection.user is not None or session.sender is not None:
            raise Refused("503 5.5.1 not now")
        if mechanism.upper() not in self.mechanisms:
            raise Refused("504 5.5.4 no such mechanism here")
        try:
            username, password = logins.ask(session.connection, mechanism, initial, b"334 ")
        except logins.LoginUnreadable as error:
            raise Refused(f"501 5.5.2 {error}") from error
        if self.users.get(username) != password:
            raise Refused("535 5.7.8 wrong user or password")
        session.connection.user = username
        self._say(session, "235 2.7.0 welcome")

    # --- a letter -----------------------------------------------------------------------------------------------------

    def _mail(self, session: Session, argument: str) -> None:
        if not session.greeted:
            raise Refused("503 5.5.1 EHLO first")
        if self.needs_tls and not session.connection.is_encrypted:
            raise Refused("530 5.7.0 STARTTLS first")
        if self.needs_auth and session.connection.user is None:
            raise Refused("530 5.7.0 AUTH first")
        if session.sender is not None:
            raise Refused("503 5.5.1 one letter at a time")
        sender, parameters = self._path(argument, "FROM:")
        self._check_parameters(sender, parameters)
        session.sender, session.parameters = sender, parameters
        self._say(session, "250 2.1.0 sender taken")

    def _path(self, argument: str, keyword: str) -> tuple[str, dict[str, str]]:
        path = _PATH.match(argument[len(keyword) :].lstrip())
        if argument[: len(keyword)].upper() != keyword or path is None:
            raise Refused(f"501 5.5.4 {keyword}<address> is needed")
        rest = argument[len(keyword) :].lstrip()[path.end() :].split()
        return path[1], {name.upper(): value for name, _, value in (word.partition("=") for word in rest)}

    def _check_parameters(self, sender: str, parameters: Mapping[str, str]) -> None:
        offered = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "AUTH": "AUTH"}
        offered |= {"RET": "DSN", "ENVID": "DSN"}
        for name in parameters:
            if name not in offered or offered[name] not in self.extensions:
                raise Refused(f"555 5.5.4 {name} is not offered")
        if parameters.get("BODY", "7BIT").upper() not in {"7BIT", "8BITMIME"}:
            raise Refused("501 5.5.4 BODY is 7BIT or 8BITMIME")
        size = parameters.get("SIZE", "0")
        if not (size.isascii() and size.isdigit() and len(size) <= 20):
            raise Refused("501 5.5.4 SIZE is a number")
        if int(size) > self.max_content_octets:
            raise Refused("552 5.3.4 the letter is too big")
        if not sender.isascii() and "SMTPUTF8" not in parameters:
            raise Refused("553 5.6.7 that address needs SMTPUTF8")

    def _rcpt(self, session: Session, argument: str) -> None:
        if session.sender is None:
            raise Refused("503 5.5.1 MAIL first")
        address, parameters = self._path(argument, "TO:")
        if parameters and ("DSN" not in self.extensions or parameters.keys() - {"NOTIFY", "ORCPT"}):
            raise Refused("555 5.5.4 RCPT parameters are not offered")
        if not address:
            raise Refused("501 5.1.3 an address is needed")
        if not address.isascii() and "SMTPUTF8" not in session.parameters:
            raise Refused("553 5.6.7 that address needs SMTPUTF8")
        if len(session.recipients) >= self.max_recipients:
            raise Refused("452 4.5.3 enough recipients")
        refusal = self.on_rcpt(address)
        if refusal is not None:
            raise Refused(refusal)
        session.recipients.append(address)
        session.notices.append(parameters)
        self._say(session, "250 2.1.5 recipient taken")

    def _data(self, session: Session, argument: str) -> None:
        if argument.strip():
            raise Refused("501 5.5.4 DATA takes nothing")
        if session.sender is None:
            raise Refused("503 5.5.1 MAIL first")
        if not session.recipients:
            raise Refused("554 5.5.1 no valid recipients")
        session.goes_on = True
        self._say(session, "354 go on, end with a dot")

    def _take_letter(self, session: Session) -> None:
        """Read the content up to its final dot, then take or refuse it; the verbs here are CONTENT and `.`."""
        connection = session.connection
        if connection.size:
            self.violations.append("content before 354")
        else:
            connection.receive()
        self.obey(connection, connection.seen("CONTENT"), lambda: None)
        content = self._content(connection)
        self.obey(connection, self.note(connection, "."), partial(self._file, session, content))
        session.forget()

    def _content(self, connection: Connection) -> bytes:
        """Return the content un-stuffed. Only CRLF.CRLF ends it: a bare LF ends nothing (SMTP smuggling)."""
        come = 0  # what was searched already
        while True:
            limit = self.drop_after_content_octets
            end = 0 if connection.starts_with(b".\r\n") else connection.find(b"\r\n.\r\n", max(0, come - 4))
            if limit is not None and (connection.size if end < 0 else end) >= limit:
                connection.end(Then.CLOSE)
            if end == 0 and connection.starts_with(b".\r\n"):
                connection.take(3)
                return b""
            if end >= 0:
                stuffed = connection.take(end + 5)[:-3]
                return (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
            come = connection.size
            connection.receive()

    def _file(self, session: Session, content: bytes) -> None:
        if len(content) > self.max_content_octets:
            self._say(session, "552 5.3.4 the letter is too big")
            return
        if re.search(rb"(?<!\r)\n|\r(?!\n)", content):
            self.violations.append("a bare CR or LF in the content")
        if not content.isascii() and session.parameters.get("BODY", "").upper() != "8BITMIME":
            self.violations.append("8-bit content without BODY=8BITMIME")
        letter = Received(
            sender=session.sender or "",
            recipients=tuple(session.recipients),
            content=content,
            parameters=dict(session.parameters),
            user=session.connection.user,
            encrypted=session.connection.is_encrypted,
            connection=session.connection.number,
            notices=tuple(session.notices),
        )
        refusal = self.on_letter(letter)
        if refusal is not None:
            self._say(session, refusal)
            return
        with self._arrival:
            self.received.append(letter)
            self._confirm(session, letter)
            self._arrival.notify_all()

    def _confirm(self, session: Session, _letter: Received) -> None:
        self._say(session, f"250 2.0.0 taken as {len(self.received)}")

    # --- any time -----------------------------------------------------------------------------------------------------

    def _rset(self, session: Session, _argument: str) -> None:
        session.forget()
        self._say(session, "250 2.0.0 forgotten")

    def _noop(self, session: Session, _argument: str) -> None:
        self._say(session, "250 2.0.0 still here")

    def _vrfy(self, session: Session, _argument: str) -> None:
        self._say(session, "252 2.1.5 send and see")

    def _quit(self, session: Session, _argument: str) -> None:
        self._say(session, "221 2.0.0 good bye")
        session.connection.end(Then.CLOSE)
