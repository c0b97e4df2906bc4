"""One try at each of some outbox rows, and what it comes to: per recipient first, and for the row as the sum of them.

    prepare -> committing (durable: the letters' ends may leave from now on) -> record

What nobody goes on with is `rescue.py`'s. All
take many rows at once, since a COMMIT costs more than fifty rows in it. All functions take the connection and never commit.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Insert, bindparam, case, func, insert, select, update

from daemon import errors
from daemon.store.dialect import statements, texts
from daemon.store.schema import outbox, outbox_attempts, outbox_recipients
from daemon.store.settlement import TO_BE_SENT, settle, status_for, statuses_by_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A claimed row that an attempt is to begin at.

    message_id: without its brackets; stays that of the first attempt.  recipients: (address, to | cc | bcc).
    """

    outbox_id: int
    message_id: str | None
    recipients: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a row. number: counts from 1.  addresses: those still to be sent, maybe none.  session: as in the log."""

    id: int
    outbox_id: int
    number: int
    addresses: tuple[str, ...]
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one recipient in one attempt. status: sent, deferred, failed or in_doubt.  code: None if no reply."""

    address: str
    status: str
    code: int | None = None
    enhanced: str | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an attempt ended.

    next_attempt_at: used if anything is left to be sent.  transcript: redacted, of an attempt that did not go well.
    """

    attempt: Attempt
    verdicts: Sequence[Verdict]
    next_attempt_at: datetime | None
    transcript: str | None = None


_IDS: Final[Any] = bindparam("ids", expanding=True)
_CLAIMED: Final = select(outbox.c.id, outbox.c.on_doubt, outbox.c.message_id, outbox.c.lease_owner).where(
    outbox.c.id.in_(_IDS), outbox.c.status == "sending"
)
_TRIES: Final = (
    select(
        outbox_attempts.c.outbox_id,
        func.max(outbox_attempts.c.number),
        func.max(case((outbox_attempts.c.finished_at.is_(None), 1), else_=0)),
    )
    .where(outbox_attempts.c.outbox_id.in_(_IDS))
    .group_by(outbox_attempts.c.outbox_id)
)
_NEWEST: Final = (
    select(outbox_attempts.c.outbox_id, func.max(outbox_attempts.c.number))
    .where(outbox_attempts.c.outbox_id.in_(_IDS))
    .group_by(outbox_attempts.c.outbox_id)
)

# --- beginning ------------------------------------------------------------------------------------------------------


def prepare(
    tx: Connection,
    begun: Sequence[Begun],
    *,
    account: str,
    relay: str,
    session: str,
    now: datetime,
    owner: str | None = None,
    split: int = 100,
) -> dict[int, Attempt]:
    """Begin an attempt at each of these rows; recipients are written down at the first one. Returns them by row.

    owner: who claimed the rows; one that is another's by now, or at which an attempt is under way, is left out: its sender
    slept past its lease.  split: recipients a letter.
    """
    ids = {"ids": [one.outbox_id for one in begun]}
    claimed = tx.execute(statements.for_update(tx, _CLAIMED), ids)
    rows = {one.id: one for one in claimed if owner in {None, one.lease_owner}}
    tried: dict[int, tuple[int, int]] = {key: (number, opened) for key, number, opened in tx.execute(_TRIES, ids)}
    ours = [one for one in begun if one.outbox_id in rows and not tried.get(one.outbox_id, (0, 0))[1]]
    if not ours:
        return {}
    keys = dict(zip([one.outbox_id for one in ours], statements.new_ids(tx, outbox_attempts, len(ours)), strict=True))
    again = [one for one in ours if one.outbox_id in tried]
    waiting = {one.outbox_id: tuple(dict.fromkeys(address for address, _ in one.recipients)) for one in ours}
    if again:
        _name_recipients(tx, again, {}, now)
        waiting |= _recipients_left(tx, again, {one.id: one.on_doubt for one in rows.values()})
    begun_now = {
        key: Attempt(
            id=keys[key],
            outbox_id=key,
            number=tried.get(key, (0, 0))[0] + 1,
            addresses=addresses,
            session=session,
        )
        for key, addresses in waiting.items()
    }
    same = {"account": account, "relay": relay, "session": session, "started_at": statements.ready(tx, now)}
    made = [
        {"id": one.id, "outbox_id": key, "number": one.number, "letters": -(-len(one.addresses) // split), **same}
        for key, one in begun_now.items()
    ]
    statements.bulk(tx, _insert_attempts, made)
    named = [one for one in ours if one.message_id is not None and rows[one.outbox_id].message_id is None]
    statements.rewrite(tx, outbox, [{"id": one.outbox_id, "message_id": one.message_id} for one in named])
    _name_recipients(tx, [one for one in ours if one.outbox_id not in tried], keys, now)
    at = statements.ready(tx, now)
    theirs = [
        {"outbox_id": one.outbox_id, "address": to, "attempt": keys[one.outbox_id], "updated_at": at}
        for one in again
        for to in waiting[one.outbox_id]
    ]
    statements.rewrite(tx, outbox_recipients, theirs, by=("outbox_id", "address"))
    return begun_now


def _insert_attempts(_conn: Connection) -> Insert:
    return insert(outbox_attempts)


def _insert_recipients(conn: Connection) -> Insert:
    return statements.insert_missing(conn, outbox_recipients)


def _name_recipients(tx: Connection, begun: Sequence[Begun], keys: Mapping[int, int], now: datetime) -> None:
    """Write the recipients down, as far as they are not there yet."""
    at = statements.ready(tx, now)
    named = [
        {
            "outbox_id": one.outbox_id,
            "address": address,
            "field": field,
            "attempt": keys.get(one.outbox_id),
            "updated_at": at,
        }
        for one in begun
        for address, field in one.recipients
    ]
    if named:
        statements.bulk(tx, _insert_recipients, named)


def _recipients_left(tx: Connection, begun: Sequence[Begun], on_doubt: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    """Return whom these rows, which were tried before, are still to be sent to."""
    r = outbox_recipients.c
    found = select(r.outbox_id, r.address, r.status).where(r.outbox_id.in_([one.outbox_id for one in begun]))
    waiting: dict[int, set[str]] = defaultdict(set)
    for key, address, status in tx.execute(found):
        if status in TO_BE_SENT or (status == "in_doubt" and on_doubt[key] == "retry"):
            waiting[key].add(address)
    return {
        one.outbox_id: tuple(dict.fromkeys(to for to, _ in one.recipients if to in waiting[one.outbox_id]))
        for one in begun
    }


def committing(tx: Connection, attempt_ids: Collection[int], now: datetime) -> None:
    """Mark durably that the ends of these attempts' letters may leave from now on.

    Busy if one of them was ended meanwhile: its sender slept past its lease, the row is another's, and nothing must leave.
    """
    a = outbox_attempts.c
    marked = update(outbox_attempts).where(a.id.in_(list(attempt_ids)), a.finished_at.is_(None))
    if tx.execute(marked.values(committing_at=now)).rowcount != len(attempt_ids):
        raise errors.Busy("the lease of this row ran out before its letter was sent, and another process took it")


# --- ending ---------------------------------------------------------------------------------------------------------


def record(tx: Connection, finished: Sequence[Finished], *, now: datetime) -> dict[int, str]:
    """Write down how attempts ended for each recipient; give the status that each row comes to, by row."""
    ids = [one.attempt.outbox_id for one in finished]
    statements.lock(tx, outbox, ids)  # rows first, as whoever else writes into them: no two wait for each other
    newest: dict[int, int] = dict(iter(tx.execute(_NEWEST, {"ids": ids})))
    there = [one for one in finished if one.attempt.outbox_id in newest]
    # A row that somebody deleted meanwhile has no status any more; what it would have come to is for the log.
    gone = [one for one in finished if one.attempt.outbox_id not in newest]
    statuses = {
        one.attempt.outbox_id: status_for([each.status for each in one.verdicts] or ["failed"], "retry") for one in gone
    }
    _record_recipients(tx, there, now)
    _record_attempts(tx, there, now)
    # Where our lease ran out, another process is at the row now: what it comes to is that one's business.
    ours = [one for one in there if newest[one.attempt.outbox_id] == one.attempt.number]
    ends = {one.attempt.outbox_id: (one.next_attempt_at, _error(_worst(one.verdicts))) for one in ours}
    statuses |= settle(tx, ends, now=now)
    others = [one.attempt.outbox_id for one in there if one.attempt.outbox_id not in ends]
    if others:
        doubts: dict[int, str] = dict(
            iter(tx.execute(select(outbox.c.id, outbox.c.on_doubt).where(outbox.c.id.in_(others))))
        )
        found = statuses_by_row(tx, others)
        statuses |= {key: status_for(found[key], doubts[key]) for key in others}
    return statuses


def _record_recipients(tx: Connection, finished: Sequence[Finished], now: datetime) -> None:
    at = statements.ready(tx, now)
    said = [
        {
            "status": one.status,
            "code": one.code,
            "enhanced_code": one.enhanced,
            "reply": texts.storable(one.reply),
            "sent_at": at if one.status == "sent" else None,
            "updated_at": at,
            "outbox_id": each.attempt.outbox_id,
            "address": one.address,
        }
        for each in finished
        for one in each.verdicts
    ]
    statements.rewrite(tx, outbox_recipients, said, by=("outbox_id", "address"), counted=("attempts",))


def _record_attempts(tx: Connection, finished: Sequence[Finished], now: datetime) -> None:
    at, rows = statements.ready(tx, now), []
    for one in finished:
        worst = _worst(one.verdicts)
        said = (worst.status, worst.code, worst.enhanced, texts.storable(worst.reply)) if worst else (None,) * 4
        named = dict(zip(("outcome", "code", "enhanced_code", "reply"), said, strict=True))
        rows.append({"id": one.attempt.id, **named, "finished_at": at, "transcript": one.transcript})
    statements.rewrite(tx, outbox_attempts, rows)


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    order = ("in_doubt", "failed", "deferred", "sent")
    return min(verdicts, key=lambda one: order.index(one.status), default=None)


def _error(verdict: Verdict | None) -> str | None:
    if verdict is None or verdict.status == "sent":
        return None
    codes = [str(part) for part in (verdict.code, verdict.enhanced) if part]
    return texts.storable(f"{verdict.address}: {' '.join([*codes, verdict.reply]).strip() or verdict.status}")
