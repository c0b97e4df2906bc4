"""For how long a server keeps mail: EXPIRE of CAPA (RFC 2449 section 6.7), in words, and beside what the operator wants. Pure."""

from dataclasses import dataclass
from typing import Final, Self

from daemon.mail.account import Pop3

MOST_DIGITS: Final = 6  # more days than that are for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """What EXPIRE says. days: at least so long a message stays, None for ever.

    is_per_user: said before the login, where another user may have another figure.
    """

    days: int | None
    is_per_user: bool = False

    @classmethod
    def parse(cls, said: str | None) -> Self | None:
        """Read the parameters, `NEVER`, `0`, `60`, `30 USER`; None where the server said none, or nothing that can be read."""
        words = (said or "").upper().split()
        if not words:
            return None
        is_per_user = "USER" in words[1:]
        if words[0] == "NEVER":
            return cls(days=None, is_per_user=is_per_user)
        if not (words[0].isascii() and words[0].isdigit()):
            return None
        return cls(days=int(words[0]) if len(words[0]) <= MOST_DIGITS else None, is_per_user=is_per_user)

    @property
    def is_never(self) -> bool:
        """Whether the server deletes nothing by itself."""
        return self.days is None

    @property
    def is_at_quit(self) -> bool:
        """Whether the server deletes at QUIT what was RETRed in the session: EXPIRE 0."""
        return self.days == 0

    def __str__(self) -> str:
        """As a person would say it, with `the server` before it."""
        if self.is_never:
            return "keeps mail until it is deleted"
        if self.is_at_quit:
            return "deletes what was fetched when the session ends (EXPIRE 0)"
        days = "1 day" if self.days == 1 else f"{self.days} days"
        return f"deletes mail after {days} (EXPIRE {self.days}){', or as it is set for each user' * self.is_per_user}"

    def concerns(self, pop3: Pop3) -> tuple[str, ...]:
        """Say where the server will not do what the operator wants; one line each, none where all is well."""
        if self.days is None:
            return ()
        delete, said, found = pop3.delete, f"the server {self}", []
        if delete.kind in ("never", "above"):
            found.append(f"{said}: letters do not stay there, though DELETE is {delete.kind}; the archive has them")
        elif delete.age is not None and self.days < delete.age.total_seconds() / 86_400:
            found.append(f"{said}: letters do not stay there for the {delete.age.days} days of DELETE")
        if self.days and pop3.max_message_octets is not None:
            what = "are lost but for their header section" if pop3.oversize == "headers" else "are lost unfetched"
            found.append(f"{said}: letters larger than {pop3.max_message_octets} octets are skipped, and then {what}")
        if self.days and pop3.first.kind != "all":
            found.append(f"{said}: letters that FIRST leaves out are then lost unfetched")
        return tuple(found)
