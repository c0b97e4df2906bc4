"""What a POP3 client can say (RFC 1939, 2449, 2595, 5034): each command knows its octets, and how it may be shown.

`shown` never has a secret in it. Arguments with a line break, or a NUL, would be commands of their own: InputInvalid. Pure.
"""

import base64
from dataclasses import dataclass, field
from typing import ClassVar

from daemon.errors import InputInvalid
from daemon.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class Command:
    """One line to the server."""

    verb: ClassVar[str]
    is_multi_line: ClassVar[bool] = False
    """Lines follow its +OK, to a lone dot."""
    is_mail: ClassVar[bool] = False
    """These lines are mail: they are given out piece by piece, and not shown."""
    ends_pipeline: ClassVar[bool] = False
    """What may follow depends on its reply: nothing is sent until that is seen."""

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return f"{self.verb}\r\n".encode()

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return self.verb


@dataclass(frozen=True, slots=True)
class _Numbered(Command):
    """A command about one message."""

    number: int

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"%b %d\r\n" % (self.verb.encode(), self.number)

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"{self.verb} {self.number}"


class Capa(Command):
    """What can you do (RFC 2449)."""

    verb = "CAPA"
    is_multi_line = True


class Stls(Command):
    """Start TLS (RFC 2595)."""

    verb = "STLS"
    ends_pipeline = True


class Utf8(Command):
    """Give internationalized mail as it is, not downgraded (RFC 6856 section 2)."""

    verb = "UTF8"


@dataclass(frozen=True, slots=True)
class Lang(Command):
    """Say the human part of replies in this language (RFC 6856 section 3)."""

    verb: ClassVar[str] = "LANG"
    language: str

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"LANG %b\r\n" % _argument("language", self.language)

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"LANG {self.language}"


@dataclass(frozen=True, slots=True)
class User(Command):
    """The name."""

    verb: ClassVar[str] = "USER"
    username: str

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"USER %b\r\n" % _argument("username", self.username)

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"USER {self.username}"


@dataclass(frozen=True, slots=True)
class Pass(Command):
    """The password: all behind the first space, spaces too."""

    verb: ClassVar[str] = "PASS"
    ends_pipeline: ClassVar[bool] = True
    secret: Secret

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"PASS %b\r\n" % _argument("password", self.secret.reveal())

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return "PASS ***"


@dataclass(frozen=True, slots=True)
class Apop(Command):
    """The name, and a digest that shows that we know the password (RFC 1939 section 7). digest: 16 octets in hexadecimal."""

    verb: ClassVar[str] = "APOP"
    ends_pipeline: ClassVar[bool] = True
    username: str
    digest: str = field(repr=False)

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"APOP %b %b\r\n" % (_argument("username", self.username), _argument("digest", self.digest))

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"APOP {self.username} ***"


@dataclass(frozen=True, slots=True)
class Auth(Command):
    """Begin a SASL exchange (RFC 5034). initial: the initial response, not encoded; None to be asked for it."""

    verb: ClassVar[str] = "AUTH"
    ends_pipeline: ClassVar[bool] = True
    mechanism: str
    initial: bytes | None = field(default=None, repr=False)

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        if self.initial is None:
            return b"AUTH %b\r\n" % _argument("mechanism", self.mechanism)
        # "=" is how an empty initial response differs from none (RFC 5034 section 4).
        return b"AUTH %b %b\r\n" % (_argument("mechanism", self.mechanism), base64.b64encode(self.initial) or b"=")

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"AUTH {self.mechanism}" if self.initial is None else f"AUTH {self.mechanism} ***"


@dataclass(frozen=True, slots=True)
class AuthLine(Command):
    """Go on with a SASL exchange. response: not encoded; None cancels it."""

    verb: ClassVar[str] = "*"
    ends_pipeline: ClassVar[bool] = True
    response: bytes | None = field(repr=False)

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"*\r\n" if self.response is None else base64.b64encode(self.response) + b"\r\n"

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return "*" if self.response is None else "***"


class Stat(Command):
    """How many messages, how many octets."""

    verb = "STAT"


class List(Command):
    """The size of every message."""

    verb = "LIST"
    is_multi_line = True


class Uidl(Command):
    """The unique-id of every message."""

    verb = "UIDL"
    is_multi_line = True


@dataclass(frozen=True, slots=True)
class Top(Command):
    """The header section of a message and the first lines of its body."""

    verb: ClassVar[str] = "TOP"
    is_multi_line: ClassVar[bool] = True
    is_mail: ClassVar[bool] = True
    number: int
    lines: int

    @property
    def wire(self) -> bytes:
        """Its octets, CRLF included."""
        return b"TOP %d %d\r\n" % (self.number, self.lines)

    @property
    def shown(self) -> str:
        """Its text for a transcript."""
        return f"TOP {self.number} {self.lines}"


class Retr(_Numbered):
    """A whole message."""

    verb = "RETR"
    is_multi_line = True
    is_mail = True


class Dele(_Numbered):
    """Delete a message, at QUIT."""

    verb = "DELE"


class Rset(Command):
    """Undo every DELE of this session."""

    verb = "RSET"


class Noop(Command):
    """Still here."""

    verb = "NOOP"


class Quit(Command):
    """The end; with it the server deletes what DELE marked."""

    verb = "QUIT"
    ends_pipeline = True


def _argument(name: str, text: str) -> bytes:
    if any(one in text for one in "\r\n\0"):
        raise InputInvalid(f"a {name} with a line break or a NUL can't be sent")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputInvalid(f"a {name} that is not text can't be sent") from error
