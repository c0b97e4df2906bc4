"""The envelope of a letter: who it comes from and whom it goes to, whatever its header says (RFC 5321 section 2.3.1)."""

from dataclasses import dataclass
from typing import Final

SUCCESS: Final = "success"
FAILURE: Final = "failure"
DELAY: Final = "delay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What MAIL and RCPT say.

    sender: an addr-spec, or "" for the null reverse-path of a bounce (RFC 5321 section 4.5.5).  recipients: addr-specs,
    without angle brackets, in the order in which they are named to the relay.
    """

    sender: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the sender wants to be told of a letter's fate (RFC 3461); relays that can't are not asked.

    envid: our name of the letter, given back in every report; printable ASCII, at most 100 characters.  notify: of SUCCESS,
    FAILURE and DELAY; empty for nothing at all.  full: whether a report holds the whole letter, else its header section.
    """

    envid: str
    notify: frozenset[str] = frozenset({FAILURE, DELAY})
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One letter to carry.

    key: the caller's, never looked at.  content: lines that end in CRLF, not dot-stuffed.  smtputf8: an address or a header
    field needs RFC 6531.  eight_bit: there are octets over 127 in the content.
    """

    key: int
    envelope: Envelope
    content: bytes
    smtputf8: bool = False
    eight_bit: bool = False
    notice: Notice | None = None
