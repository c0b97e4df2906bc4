"""What a relay says it can do: the lines of its reply to EHLO (RFC 5321 section 4.1.1.1). Never raises; pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_SIZE_DIGITS: Final = 20  # RFC 1870 section 4
CHUNKING: Final = "CHUNKING"
MAILMAX: Final = "MAILMAX"  # letters a connection (RFC 9422 section 4)
RCPTMAX: Final = "RCPTMAX"  # recipients a letter
RCPTDOMAINMAX: Final = "RCPTDOMAINMAX"  # domains among the recipients of a letter

_LINE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =]+(.*))?")  # `AUTH=LOGIN` is what old clients were told
_LIMIT: Final = re.compile(r"([A-Z0-9][A-Z0-9-]*)=([1-9][0-9]{0,5})", re.ASCII)  # RFC 9422 section 4


@dataclass(frozen=True, slots=True)
class Features:
    """Service extensions: keyword in capitals -> its parameters. Empty after HELO."""

    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_octets: int | None = field(init=False)  # the largest letter taken (RFC 1870 section 4: 0 means any)

    def __post_init__(self) -> None:
        """Read what every letter asks for."""
        digits = next(iter(self.offered.get("SIZE", ())), "")
        octets = int(digits) if re.fullmatch(rf"[0-9]{{1,{MAX_SIZE_DIGITS}}}", digits) else 0
        object.__setattr__(self, "max_octets", octets or None)

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Features":
        """Read the reply's lines without their codes; the first is the server's greeting, odd ones are passed over."""
        offered: dict[str, tuple[str, ...]] = {}
        for line in lines[1:]:
            found = _LINE.fullmatch(line.strip())
            if found is not None:
                name = found[1].upper()
                offered[name] = offered.get(name, ()) + tuple((found[2] or "").split())
        return cls(offered)

    def without(self, names: Collection[str]) -> "Features":
        """Return these less the ones named, which are not to be used whatever the relay says."""
        return Features({name: words for name, words in self.offered.items() if name not in names})

    @property
    def names(self) -> frozenset[str]:
        """All keywords."""
        return frozenset(self.offered)

    @property
    def pipelining(self) -> bool:
        """Commands may be sent before the replies to earlier ones have come (RFC 2920)."""
        return "PIPELINING" in self.offered

    @property
    def starttls(self) -> bool:
        """TLS can be begun (RFC 3207)."""
        return "STARTTLS" in self.offered

    @property
    def eight_bit(self) -> bool:
        """Content may have octets over 127 (RFC 6152)."""
        return "8BITMIME" in self.offered

    @property
    def smtputf8(self) -> bool:
        """Addresses and header fields may be in UTF-8 (RFC 6531)."""
        return "SMTPUTF8" in self.offered

    @property
    def has_size(self) -> bool:
        """MAIL may say how large the letter is (RFC 1870)."""
        return "SIZE" in self.offered

    @property
    def chunking(self) -> bool:
        """Content may go in counted chunks (RFC 3030)."""
        return CHUNKING in self.offered

    @property
    def dsn(self) -> bool:
        """MAIL and RCPT may say which reports are wanted (RFC 3461)."""
        return "DSN" in self.offered

    def limit(self, name: str) -> int | None:
        """Return a limit that the relay names, `MAILMAX` for one; None where it does not (RFC 9422)."""
        for word in self.offered.get("LIMITS", ()):
            found = _LIMIT.fullmatch(word.upper())
            if found is not None and found[1] == name:
                return int(found[2])
        return None

    @property
    def mechanisms(self) -> frozenset[str]:
        """SASL mechanisms in capitals (RFC 4954)."""
        return frozenset(name.upper() for name in self.offered.get("AUTH", ()))
