"""What we say to a relay: each command knows its octets, and how it may be shown (secrets and content never are).

A line with a control character in it is OutOfState: whoever let an address through unchecked has a bug, and no octet of it
leaves. Sources: RFC 5321 section 4.1, 1870, 2920, 3207, 4954, 6152, 6531. Pure.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final

from daemon.errors import OutOfState

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Command:
    """A line. ends_group: its reply must be waited for before anything else is said (RFC 2920 section 3.1)."""

    ends_group: ClassVar[bool] = False
    has_reply: ClassVar[bool] = True

    @property
    def line(self) -> str:
        """What goes over the wire, without its CRLF."""
        return type(self).__name__.upper()

    @property
    def shown(self) -> str:
        """What goes into the transcript."""
        return self.line

    @property
    def wire(self) -> bytes:
        """The octets."""
        line = self.line
        if _CONTROL.search(line):
            raise OutOfState(f"a control character in a command: {ascii(self.shown)[:200]}")
        return f"{line}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Ehlo(Command):
    """Who we are; asks for the extensions."""

    ends_group: ClassVar[bool] = True
    name: str

    @property
    def line(self) -> str:
        """`EHLO name`."""
        return f"EHLO {self.name}"


@dataclass(frozen=True, slots=True)
class Helo(Command):
    """Who we are, for servers that don't know EHLO."""

    ends_group: ClassVar[bool] = True
    name: str

    @property
    def line(self) -> str:
        """`HELO name`."""
        return f"HELO {self.name}"


@dataclass(frozen=True, slots=True)
class StartTls(Command):
    """TLS, please."""

    ends_group: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Auth(Command):
    """Begin a login. initial: base64, "=" for an empty one, None for none (RFC 4954 section 4)."""

    ends_group: ClassVar[bool] = True
    mechanism: str
    initial: str | None = field(default=None, repr=False)

    @property
    def line(self) -> str:
        """`AUTH mechanism initial`."""
        return f"AUTH {self.mechanism}" + ("" if self.initial is None else f" {self.initial}")

    @property
    def shown(self) -> str:
        """Without the initial response."""
        return f"AUTH {self.mechanism}" + ("" if self.initial is None else " ***")


@dataclass(frozen=True, slots=True)
class AuthLine(Command):
    """The answer to a challenge, in base64."""

    ends_group: ClassVar[bool] = True
    response: str = field(repr=False)

    @property
    def line(self) -> str:
        """The response alone."""
        return self.response

    @property
    def shown(self) -> str:
        """Never the response."""
        return "***"


@dataclass(frozen=True, slots=True)
class Mail(Command):
    """Begin a letter. sender: "" for the null reverse-path.  octets: its size, None where SIZE is not offered."""

    sender: str
    octets: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False

    @property
    def line(self) -> str:
        """`MAIL FROM:<…>` and its parameters."""
        line = f"MAIL FROM:<{self.sender}>"
        if self.octets is not None:
            line += f" SIZE={self.octets}"
        if self.eight_bit:
            line += " BODY=8BITMIME"
        return f"{line} SMTPUTF8" if self.smtputf8 else line


@dataclass(frozen=True, slots=True)
class Rcpt(Command):
    """Name a recipient."""

    address: str

    @property
    def line(self) -> str:
        """`RCPT TO:<…>`."""
        return f"RCPT TO:<{self.address}>"


@dataclass(frozen=True, slots=True)
class Data(Command):
    """Ask to go on with the content."""

    ends_group: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Content(Command):
    """A piece of the content, dot-stuffed; the last piece ends in CRLF. Nothing answers it."""

    has_reply: ClassVar[bool] = False
    stuffed: bytes = field(repr=False)

    @property
    def shown(self) -> str:
        """How much it is."""
        return f"({len(self.stuffed)} octets of content)"

    @property
    def wire(self) -> bytes:
        """The piece itself."""
        return self.stuffed


@dataclass(frozen=True, slots=True)
class FinalDot(Command):
    """The end of the content: from here on the relay may have the letter."""

    ends_group: ClassVar[bool] = True

    @property
    def line(self) -> str:
        """The dot."""
        return "."


@dataclass(frozen=True, slots=True)
class Rset(Command):
    """Forget the letter that was begun."""


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """Ask whether the relay is still there."""

    ends_group: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Quit(Command):
    """Good bye."""

    ends_group: ClassVar[bool] = True
