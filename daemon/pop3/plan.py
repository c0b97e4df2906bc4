"""What to do with a maildrop: the server's listing and our ledger in, decisions out. Pure; the clock is a parameter.

A message is known when the ledger has its UIDL and the sizes agree (one that is not told agrees with any). A known UIDL with
another size is a new message: some servers use UIDLs again. Fetching once too often costs time, for equal content is stored
once; taking a new message for a known one would lose mail. So in doubt it is fetched, and never deleted.

Twins (one UIDL twice in a listing) are matched to ledger rows by size, as a multiset, and never planned for deletion: which
is which can't be told. A row whose UIDL is not listed any more is gone, unless the listing has messages without a name.

Only what is archived whole is ever planned for deletion: a row that is SEEN, HEADERS, SKIPPED or REFUSED proves nothing.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from daemon.mail.account import DeletePolicy
from daemon.mail.maildrop import Entry, Known, LedgerStatus, Listing

# Which of several rows of one UIDL is the likelier match: those that should be in the maildrop first.
_LIKELY: Final = {
    LedgerStatus.ARCHIVED: 0,
    LedgerStatus.HEADERS: 1,
    LedgerStatus.SEEN: 1,
    LedgerStatus.SKIPPED: 1,
    LedgerStatus.REFUSED: 1,
}
_HERE: Final = frozenset(_LIKELY)
# A row of these that has a message was archived whole; any other one's message, if it has one, is not the listed one.
_WHOLE: Final = frozenset({LedgerStatus.ARCHIVED, LedgerStatus.GONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator wants. None: no limit.

    max_octets: of one visit; the message that goes beyond it is the last one.  oversize: what becomes of messages larger than
    max_message_octets.  wanted_uidls: if any, these messages alone are fetched, whole, whatever the limits and the ledger
    say, unless they are archived; all else waits for the next visit.
    """

    delete: DeletePolicy
    max_message_octets: int | None = None
    oversize: Literal["skip", "headers"] = "skip"
    max_messages: int | None = None
    max_octets: int | None = None
    wanted_uidls: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a visit is to do.

    fetch: oldest first, within the limits of a visit.  delete: archived, and the policy says so; each is proven before DELE.
    headers: too large, of which the header section alone is archived (TOP), with the reason.  skip: left on the server, with
    the reason.  gone: in the ledger as being there, but not listed.  returned: in the ledger as gone, archived, and listed
    again.  known: how many listed messages need no RETR.
    """

    fetch: tuple[Entry, ...] = ()
    headers: tuple[tuple[Entry, str], ...] = ()
    delete: tuple[tuple[Entry, Known], ...] = ()
    skip: tuple[tuple[Entry, str], ...] = ()
    gone: tuple[Known, ...] = ()
    returned: tuple[Known, ...] = ()
    known: int = 0


def plan(listing: Listing, known: Sequence[Known], policy: Policy, now: datetime) -> Plan:
    """Decide. now: aware, for the age of a message since it was first listed."""
    entries, known, recognised = _unsettled(listing.entries, known, policy, now)
    rows = _by_uidl(known)
    named: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.uidl is not None:
            named[entry.uidl].append(entry)

    wanted = [entry for entry in entries if entry.uidl is None]
    archived: list[tuple[Entry, Known]] = []  # beyond doubt, so that they may be deleted
    returned: list[Known] = []
    gone: list[Known] = []
    for uidl, entries in named.items():
        pairs, missing = _match(entries, rows.pop(uidl, []))
        gone += missing
        is_certain = len(entries) == 1 and not missing
        for entry, match in pairs:
            is_archived = match is not None and match.message is not None and match.status in _WHOLE
            if match is None or (not is_archived and _is_wanted(entry, match, policy)):
                wanted.append(entry)
                continue
            recognised += 1
            if not is_archived:
                continue  # without proof it is never deleted
            if match.status not in _HERE:
                returned.append(match)
            if is_certain:
                archived.append((entry, match))
    gone += [row for left in rows.values() for row in left if row.status in _HERE]

    wanted.sort(key=lambda entry: entry.number)
    made = Plan(
        gone=tuple(gone) if all(entry.uidl is not None for entry in listing.entries) else (),
        returned=tuple(returned),
        known=recognised,
    )
    if policy.wanted_uidls:
        return replace(made, fetch=tuple(one for one in wanted if one.uidl in policy.wanted_uidls))
    limit = policy.max_message_octets
    oversized = [
        (one, f"{one.octets} octets, and MAX_MESSAGE_OCTETS is {limit}") for one in wanted if _is_larger(one, limit)
    ]
    # A message without a name is not recognised by its header section, which would be fetched again and again.
    by_top = [pair for pair in oversized if policy.oversize == "headers" and pair[0].uidl is not None]
    return replace(
        made,
        fetch=_within([one for one in wanted if not _is_larger(one, limit)], policy),
        headers=tuple(by_top),
        skip=tuple(pair for pair in oversized if policy.oversize != "headers" or pair[0].uidl is None),
        delete=tuple(_deletable(listing, archived, policy.delete, now)),
    )


def _is_wanted(entry: Entry, row: Known, policy: Policy) -> bool:
    """Tell whether a message that the ledger knows, and that is not archived whole, is fetched or skipped anew."""
    if entry.uidl in policy.wanted_uidls:
        return True
    if row.status == LedgerStatus.HEADERS:  # fetched whole once the limit lets it through
        octets = row.octets if entry.octets is None else entry.octets
        return not _is_larger(entry._replace(octets=octets), policy.max_message_octets)
    return row.status not in {LedgerStatus.SEEN, LedgerStatus.ARCHIVED}  # archived, and pruned on purpose


def _within(wanted: list[Entry], policy: Policy) -> tuple[Entry, ...]:
    """Give the oldest, as many as one visit may fetch; at least one."""
    taken: list[Entry] = []
    octets = 0
    for entry in wanted[: policy.max_messages]:
        taken.append(entry)
        octets += entry.octets or 0
        if policy.max_octets is not None and octets > policy.max_octets:
            break
    return tuple(taken)


def _deletable(
    listing: Listing, archived: list[tuple[Entry, Known]], policy: DeletePolicy, now: datetime
) -> list[tuple[Entry, Known]]:
    """Choose what is deleted of the messages that are archived beyond doubt."""
    if policy.octets is None:
        return [(entry, row) for entry, row in archived if policy.allows(row.first_seen_at, now)]
    total = sum(entry.octets or 0 for entry in listing.entries)
    chosen: list[tuple[Entry, Known]] = []
    for entry, row in sorted(archived, key=lambda pair: pair[0].number):
        if total <= policy.octets:
            break
        if entry.octets is not None:  # what is without a size makes the maildrop no smaller, as far as we know
            chosen.append((entry, row))
            total -= entry.octets
    return chosen


def _unsettled(
    entries: Sequence[Entry], known: Sequence[Known], policy: Policy, now: datetime
) -> tuple[Sequence[Entry], Sequence[Known], int]:
    """Leave out what needs no thought: listed once, known once, archived, of equal size, and to be kept; count it.

    That is nearly all of a large maildrop at nearly every visit, so it is done in a few passes over plain tuples.
    """
    rows = {row.uidl: row for row in known}
    if len(rows) != len(known) or len({entry.uidl for entry in entries}) != len(entries):
        return entries, known, 0  # twins, or messages without a name
    if policy.delete.kind == "never":
        kept_since = None
    elif policy.delete.kind == "age" and policy.delete.age is not None:
        kept_since = now - policy.delete.age
    else:
        return entries, known, 0
    archived = LedgerStatus.ARCHIVED.value
    open_entries = [
        entry
        for entry in entries
        if (row := rows.get(entry[1])) is None  # type: ignore[arg-type]  # no UIDL, no row
        or row[2] != entry[2]
        or row[3] != archived
        or row[5] is None
        or (kept_since is not None and row[4] <= kept_since)
    ]
    settled = rows.keys() & {entry[1] for entry in entries}
    settled -= {entry[1] for entry in open_entries}
    return open_entries, [row for row in known if row[1] not in settled], len(settled)


def _by_uidl(known: Sequence[Known]) -> defaultdict[str, list[Known]]:
    """Group the rows that a listed message may be matched to.

    Not those that we deleted: listed again it may be another message under a used UIDL. It is fetched, and its hash tells;
    only then may it be deleted.
    """
    rows: defaultdict[str, list[Known]] = defaultdict(list)
    for row in known:
        if row.status != LedgerStatus.DELETED:
            rows[row.uidl].append(row)
    return rows


def _match(entries: list[Entry], rows: list[Known]) -> tuple[list[tuple[Entry, Known | None]], list[Known]]:
    """Pair messages with rows of the same UIDL; return also the rows that should be there and have no message left.

    Linear, also when a server gives all its messages the same UIDL.
    """
    ordered = sorted(rows, key=lambda row: _LIKELY.get(LedgerStatus(row.status), 2)) if len(rows) > 1 else rows
    of_size: defaultdict[int | None, deque[Known]] = defaultdict(deque)
    for row in ordered:
        if row.octets is not None or row.status in _HERE:
            of_size[row.octets].append(row)
    used: set[int] = set()
    found: dict[int, Known] = {}
    for entry in entries:  # equal sizes first, lest a row without a size takes the place of one that fits
        if of_size[entry.octets]:
            found[entry.number] = of_size[entry.octets].popleft()
            used.add(found[entry.number].id)
    # A message or a row without a size agrees with any; of rows of deleted messages only equal sizes are believed.
    sizeless = of_size[None]
    anyone = (row for row in ordered if row.status in _HERE and row.id not in used)
    for entry in entries:
        if entry.number not in found:
            row_left = next(anyone, None) if entry.octets is None else (sizeless.popleft() if sizeless else None)
            if row_left is not None and row_left.id not in used:
                found[entry.number] = row_left
                used.add(row_left.id)
    pairs = [(entry, found.get(entry.number)) for entry in entries]
    # A message whose size changed stands for a row too: that row is being written anew, not gone.
    changed = len(entries) - len(found)
    return pairs, [row for row in ordered if row.status in _HERE and row.id not in used][changed:]


def _is_larger(entry: Entry, limit: int | None) -> bool:
    return limit is not None and entry.octets is not None and entry.octets > limit
