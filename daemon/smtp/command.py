"""What we say to a relay: each command knows its octets, and how it may be shown (secrets and content never are).

A line with a control character in it is OutOfState: whoever let an address through unchecked has a bug, and no octet of it
leaves. Sources: RFC 5321 section 4.1, 1870, 2033, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 6533. Pure.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Final

from daemon.errors import OutOfState
from daemon.mail.envelope import Notice

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_XTEXT: Final = re.compile(r"[!-*,-<>-~]*")  # what needs no escape in it
_NOT_XTEXT: Final = re.compile(rb"[^!-*,-<>-~]")  # RFC 3461 section 4
_NOT_UNITEXT: Final = re.compile(r"[\x00-\x20+=\\\x7f]")  # RFC 6533 section 3


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
class Lhlo(Command):
    """Who we are, in LMTP (RFC 2033 section 4.1)."""

    ends_group: ClassVar[bool] = True
    name: str

    @property
    def line(self) -> str:
        """`LHLO name`."""
        return f"LHLO {self.name}"


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
    """Begin a letter.

    sender: "" for the null reverse-path.  octets: its size, None where SIZE is not offered.  notice: None without DSN.
    """

    sender: str
    octets: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    notice: Notice | None = None

    @property
    def line(self) -> str:
        """`MAIL FROM:<…>` and its parameters."""
        line = f"MAIL FROM:<{self.sender}>"
        if self.octets is not None:
            line += f" SIZE={self.octets}"
        if self.eight_bit:
            line += " BODY=8BITMIME"
        if self.smtputf8:
            line += " SMTPUTF8"
        if self.notice is not None:
            line += f" RET={'FULL' if self.notice.full else 'HDRS'} ENVID={_xtext(self.notice.envid)}"
        return line


@dataclass(frozen=True, slots=True)
class Rcpt(Command):
    """Name a recipient. notice: None without DSN."""

    address: str
    notice: Notice | None = None

    @property
    def line(self) -> str:
        """`RCPT TO:<…>` and its parameters."""
        line = f"RCPT TO:<{self.address}>"
        if self.notice is None:
            return line
        notify = _listed(self.notice.notify)
        if self.address.isascii():
            return f"{line} NOTIFY={notify} ORCPT=rfc822;{_xtext(self.address)}"
        return f"{line} NOTIFY={notify} ORCPT=utf-8;{_NOT_UNITEXT.sub(_escaped, self.address)}"


@cache
def _listed(notify: frozenset[str]) -> str:
    return ",".join(sorted(notify)).upper() or "NEVER"


def _xtext(text: str) -> str:
    if _XTEXT.fullmatch(text):
        return text
    return _NOT_XTEXT.sub(lambda one: b"+%02X" % one[0][0], text.encode("utf-8", "replace")).decode("ascii")


def _escaped(one: re.Match[str]) -> str:
    return f"\\x{{{ord(one[0]):02X}}}"


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
    """The end of the content: from here on the relay may have the letter. More may follow at once (RFC 2920 section 3.1)."""

    @property
    def line(self) -> str:
        """The dot."""
        return "."


@dataclass(frozen=True, slots=True)
class Bdat(Command):
    """A chunk of the content with more to come, as it is (RFC 3030 section 2)."""

    octets: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """`BDAT n`."""
        return f"BDAT {len(self.octets)}"

    @property
    def shown(self) -> str:
        """The command; what is counted in it is not shown."""
        return self.line

    @property
    def wire(self) -> bytes:
        """The command and the chunk."""
        return b"%b\r\n%b" % (self.line.encode(), self.octets)


@dataclass(frozen=True, slots=True)
class BdatLast(Bdat):
    """The last chunk: from its last octet on the relay may have the letter."""

    @property
    def line(self) -> str:
        """`BDAT n LAST`."""
        return f"BDAT {len(self.octets)} LAST"


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
