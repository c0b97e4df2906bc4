"""Is this the maildrop that we know: the server's listing and our ledger in, a verdict out. Pure.

A server may give all its messages new UIDLs (a migration, a restore from backup), or another mailbox may answer under the
name of this one. Both look alike: the messages that the ledger expects are not listed, and others are. Only their header
sections tell which it is; `sample` says of which messages to ask for them, and `digest` makes them comparable.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from daemon.mail.maildrop import Entry, Known, LedgerStatus, Listing

EXPECTED_LEAST: Final = 10  # fewer messages are fetched anew without harm: equal content is linked, not stored twice
STILL_LISTED_SHARE: Final = 10  # one in so many of the expected UIDLs listed is enough: a reset leaves none of them
UNKNOWN_SHARE: Final = (
    2  # one in so many under unknown names at least: fewer are new mail after somebody emptied the maildrop
)
RETURNING_LEAST: Final = (
    100  # so many unknown ones at once may be messages that left once, from a backup; fewer are fetched
)
SAMPLE_MOST: Final = 20  # messages whose headers are compared before all are: one flight of TOP
HEADER_OCTETS: Final = 64 * 1024  # of a header section; a longer one is not compared, its message is fetched

CONTENT_NAME: Final = (
    "sha256:"  # begins the name of a message whose server has neither UIDL nor TOP: known once fetched
)
EXPECTED: Final = frozenset(LedgerStatus) - {LedgerStatus.DELETED, LedgerStatus.GONE}

# Where mailboxes are mbox files, servers keep flags and UIDs in these fields, and write them anew as they change.
# Everything else in a header section was there when the message came.
REWRITTEN: Final = re.compile(
    rb"(?im)^(?:status|x-status|x-keywords|x-uid|x-uidl|x-imap|x-imapbase|x-mozilla-[a-z0-9-]+)[ \t]*:.*\n(?:[ \t].*\n)*"
)
# A header section without any of these may be equal in two different messages.
IDENTIFYING: Final = re.compile(rb"(?im)^(?:message-id|received)[ \t]*:")


class Verdict(StrEnum):
    """What a listing looks like beside the ledger."""

    HEALTHY = "healthy"
    FIRST_CONTACT = "first contact"
    RESET = "reset suspected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What was found.

    expected: rows of messages that should be in the maildrop.  missing: those of them that are not listed, oldest first.
    unknown: listed messages that no row of the ledger agrees with, in name and size, by number.
    """

    verdict: Verdict
    expected: int
    missing: tuple[Known, ...]
    unknown: tuple[Entry, ...]

    @property
    def is_mostly_other(self) -> bool:
        """Whether more than half of what is expected is missing, and at least half as much is unknown."""
        return len(self.missing) * 2 > self.expected and len(self.unknown) * UNKNOWN_SHARE >= self.expected


def assess(listing: Listing, known: Sequence[Known], settled: int = 0) -> Assessment:
    """Compare; a size that is not told agrees with any. A name used for another size is no sign of the old message.

    settled: messages beside these that are known to agree (pop3/settled.py).
    """
    is_nameless = any(entry.uidl is None for entry in listing.entries)
    expected = [row for row in known if row.status in EXPECTED]
    if is_nameless:
        expected = [row for row in expected if not row.uidl.startswith(CONTENT_NAME)]
    # Nearly always nearly all agree in name and size: only the others are looked at one by one.
    listed_pairs = {(entry[1], entry[2]) for entry in listing.entries}
    recorded_pairs = {(row[1], row[2]) for row in known}
    odd_rows = [row for row in expected if (row[1], row[2]) not in listed_pairs]
    odd_entries = [entry for entry in listing.entries if entry[1] is None or (entry[1], entry[2]) not in recorded_pairs]
    listed = _sizes(listed_pairs, {row.uidl for row in odd_rows})
    recorded = _sizes(recorded_pairs, {entry.uidl for entry in odd_entries})
    missing = tuple(row for row in odd_rows if not _agrees(row.octets, listed.get(row.uidl)))
    unknown = tuple(
        entry for entry in odd_entries if entry.uidl is None or not _agrees(entry.octets, recorded.get(entry.uidl))
    )
    count = settled + len(expected)
    is_suspect = (
        count >= EXPECTED_LEAST
        and (count - len(missing)) * STILL_LISTED_SHARE < count
        and len(unknown) * UNKNOWN_SHARE >= count
    )
    verdict = Verdict.RESET if is_suspect else Verdict.HEALTHY if known or settled else Verdict.FIRST_CONTACT
    return Assessment(verdict=verdict, expected=count, missing=missing, unknown=unknown)


def _sizes(
    pairs: Iterable[tuple[str | None, int | None]], names: Collection[str | None]
) -> dict[str | None, set[int | None]]:
    """Gather the sizes that stand beside each of these names."""
    found: defaultdict[str | None, set[int | None]] = defaultdict(set)
    for name, octets in pairs if names else ():
        if name in names:
            found[name].add(octets)
    return found


def _agrees(octets: int | None, sizes: set[int | None] | None) -> bool:
    return sizes is not None and (octets is None or octets in sizes or None in sizes)


def sample(found: Assessment) -> tuple[Entry, ...]:
    """Choose unknown messages that are as large as missing ones that are archived, spread over the maildrop.

    Each missing row stands for one message, in the order of the listing: new mail stands behind the old, and finds none left.
    """
    partnered = _partnered(found)
    count = len(partnered)
    chosen = range(count) if count <= SAMPLE_MOST else [one * count // SAMPLE_MOST for one in range(SAMPLE_MOST)]
    return tuple(partnered[one] for one in chosen)


def _partnered(found: Assessment) -> list[Entry]:
    sizes = Counter(row.octets for row in comparable(found.missing))
    partnered: list[Entry] = []
    for entry in found.unknown:
        if entry.uidl is not None and sizes[entry.octets] > 0:
            sizes[entry.octets] -= 1
            partnered.append(entry)
    return partnered


def returning(found: Assessment, known: Sequence[Known]) -> Assessment | None:
    """Look at much unknown mail as if what left the maildrop were missing; None if it is too little, or not of those sizes.

    A maildrop that was empty while it was moved, or came back from a backup, is healthy, and yet not new.
    """
    if len(found.unknown) < RETURNING_LEAST:
        return None
    back = replace(found, missing=tuple(row for row in known if row.status not in EXPECTED))
    return back if len(_partnered(back)) * UNKNOWN_SHARE >= len(found.unknown) else None


def comparable(rows: Sequence[Known]) -> list[Known]:
    """Give the rows whose header section and size are known to us."""
    return [row for row in rows if row.message is not None and row.octets is not None]


def matches(shown: Sequence[tuple[Entry, str]], archived: Sequence[tuple[Known, str]]) -> dict[int, Entry]:
    """Pair rows with messages of equal size and equal header digest; give the message by the row's id.

    Only where no doubt is left: one message listed, one message in the archive. What is not paired is fetched.
    """
    rows: defaultdict[tuple[int | None, str], list[Known]] = defaultdict(list)
    for row, digest_of in archived:
        rows[row.octets, digest_of].append(row)
    counts = Counter((entry.octets, digest_of) for entry, digest_of in shown)
    found: dict[int, Entry] = {}
    for entry, digest_of in shown:
        key = entry.octets, digest_of
        if counts[key] == 1 and len({row.message for row in rows.get(key, ())}) == 1:
            found[rows[key][0].id] = entry
    return found


def digest(octets: bytes) -> str | None:
    """Hash a header section, as TOP shows it or as a message begins; None if it can't tell one message from another.

    Line ends, the empty line behind it and fields that servers rewrite make no difference.
    """
    head, end, _body = octets[:HEADER_OCTETS].replace(b"\r\n", b"\n").partition(b"\n\n")
    if not end and len(octets) >= HEADER_OCTETS:
        return None
    kept = REWRITTEN.sub(b"", head.rstrip(b"\n") + b"\n")
    return hashlib.sha256(kept).hexdigest() if IDENTIFYING.search(kept) else None
