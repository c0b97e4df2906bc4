"""The nouns of a maildrop: what the server lists, and what the ledger knows of it. Values only; no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple


class Entry(NamedTuple):
    """One message as the server lists it in this session.

    number: of this session only.  uidl: None where the server gave none.  octets: as LIST says, often wrong; None unknown.
    """

    number: int
    uidl: str | None
    octets: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a maildrop held when it was asked.

    count: of messages listed; `entries` may be some of them (jobs/recall.py).  octets: as STAT says.  entries: by number.
    has_uidl: False when the server refused UIDL.  is_plain: each message has a number, from 1 without gaps, a name and a size.
    """

    count: int
    octets: int
    entries: tuple[Entry, ...]
    has_uidl: bool
    is_plain: bool = False


class LedgerStatus(StrEnum):
    """What became of a message that was listed once."""

    ARCHIVED = "archived"
    """Fetched and durable; on the server still, as far as we know."""
    HEADERS = "headers"
    """Too large by the policy: its header section is archived (TOP), the message is on the server; fetched whole when asked."""
    SEEN = "seen"
    """On the server, and not wanted: it was there before us, or the operator marked it."""
    SKIPPED = "skipped"
    """Left on the server for a reason of ours; fetched when the reason is gone."""
    REFUSED = "refused"
    """The server would not give it; tried again at every visit."""
    DELETED = "deleted"
    """Deleted by us, and the server confirmed it."""
    GONE = "gone"
    """Left the maildrop without us."""


class Known(NamedTuple):
    """A row of the ledger. octets: as LIST said. message: id in the archive, if it is there. Times are aware UTC."""

    id: int
    uidl: str
    octets: int | None
    status: str
    first_seen_at: datetime
    message: int | None
    deleted_at: datetime | None


# A message under such a row needs no RETR, whatever the policy.
SETTLING: Final = frozenset({LedgerStatus.ARCHIVED, LedgerStatus.SEEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The ledger's rows of an account whose messages should be in the maildrop, as the database wrote them out in one state.

    texts: a JSON array of arrays by status, by id.  counts: by status.  last_seen_at: the earliest of them; None without rows.
    """

    texts: Mapping[str, str]
    counts: Mapping[str, int]
    last_seen_at: datetime | None = None

    @property
    def settling(self) -> int:
        """How many may settle a message."""
        return sum(self.counts.get(status, 0) for status in SETTLING)
