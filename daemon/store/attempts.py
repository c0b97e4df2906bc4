"""One try at each of some outbox rows, and what it comes to: per recipient first, and for the row as the sum of them.

    prepare -> committing (durable: the letters' ends may leave from now on) -> record

What nobody goes on with is `rescue.py`'s. All
take many rows at once, since a COMMIT costs more than fifty rows in it. All functions take the connection and never commit.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Insert, bindparam, func, insert, select, update

from daemon import errors
from daemon.store.dialect import statements, texts
from daemon.store.dialect.prepared import Prepared
from daemon.store.dialect.types import Instant
from daemon.store.schema import outbox, outbox_attempts, outbox_recipients
from daemon.store.settlement import TO_BE_SENT, settle, settle_sent, status_for, statuses_by_row


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

    @property
    def is_sent(self) -> bool:
        """Whether the relay took it for everybody."""
        return bool(self.verdicts) and all(one.status == "sent" for one in self.verdicts)


_T, _A, _R = outbox.c, outbox_attempts.c, outbox_recipients.c


_ITS: Final = _A.outbox_id == _T.id
_NUMBER: Final = select(func.coalesce(func.max(_A.number), 0)).where(_ITS).scalar_subquery()
_OPENED: Final = select(func.count()).where(_ITS, _A.finished_at.is_(None)).scalar_subquery()
_BEING_SENT: Final = Prepared(
    lambda conn: select(_T.id, _T.on_doubt, _T.message_id, _T.lease_owner, _NUMBER, _OPENED).where(
        statements.among_given(conn, _T.id, "ids"), _T.status == "sending"
    )
)
_NEWEST: Final = Prepared(
    lambda conn: (
        select(_A.outbox_id, func.max(_A.number))
        .where(statements.among_given(conn, _A.outbox_id, "ids"))
        .group_by(_A.outbox_id)
    )
)
_MARK: Final = Prepared(
    lambda conn: (
        update(outbox_attempts)
        .where(statements.among_given(conn, _A.id, "ids"), _A.finished_at.is_(None))
        .values(committing_at=bindparam("at", type_=Instant))
    )
)

# --- beginning ------------------------------------------------------------------------------------------------------


class _Tried(NamedTuple):
    """A row that is being sent. number: attempts that there were.  opened: of those, the ones under way."""

    id: int
    on_doubt: str
    message_id: str | None
    lease_owner: str | None
    number: int
    opened: int


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
    marked: bool = False,
    unasked: Collection[str] = (),
) -> dict[int, Attempt]:
    """Begin an attempt at each of these rows; recipients are written down at the first one. Returns them by row.

    owner: who claimed the rows; one that is another's by now, or at which an attempt is under way, is left out: its sender
    slept past its lease.  split: recipients a letter.  marked: they are `committing` at once.  unasked: addresses to
    which no letter goes: none counts for them.
    """
    ids = [one.outbox_id for one in begun]
    statements.lock(tx, outbox, ids)
    found = {one[0]: _Tried._make(one) for one in _BEING_SENT.rows(tx, ids=statements.listed(tx, ids))}
    rows = {key: one for key, one in found.items() if owner in {None, one.lease_owner} and not one.opened}
    ours = [one for one in begun if one.outbox_id in rows]
    if not ours:
        return {}
    keys = dict(zip([one.outbox_id for one in ours], statements.new_ids(tx, outbox_attempts, len(ours)), strict=True))
    again = [one for one in ours if rows[one.outbox_id].number]
    waiting = {one.outbox_id: tuple(dict.fromkeys([address for address, _ in one.recipients])) for one in ours}
    if again:
        _name_recipients(tx, again, {}, now)
        waiting |= _recipients_left(tx, again, {key: one.on_doubt for key, one in rows.items()})
    begun_now = {
        key: Attempt(
            id=keys[key],
            outbox_id=key,
            number=rows[key].number + 1,
            addresses=addresses,
            session=session,
        )
        for key, addresses in waiting.items()
    }
    at = statements.ready(tx, now)
    same = {
        "account": account,
        "relay": relay,
        "session": session,
        "started_at": at,
        "committing_at": at if marked else None,
    }
    made = [
        {
            "id": one.id,
            "outbox_id": key,
            "number": one.number,
            "letters": -(-sum(to not in unasked for to in one.addresses) // split),
            **same,
        }
        for key, one in begun_now.items()
    ]
    statements.bulk(tx, _insert_attempts, made)
    named = [one for one in ours if one.message_id is not None and rows[one.outbox_id].message_id is None]
    statements.rewrite(tx, outbox, [{"id": one.outbox_id, "message_id": one.message_id} for one in named])
    _name_recipients(tx, [one for one in ours if not rows[one.outbox_id].number], keys, now)
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
    if _MARK.run(tx, ids=statements.listed(tx, list(attempt_ids)), at=now) != len(attempt_ids):
        raise errors.Busy("the lease of this row ran out before its letter was sent, and another process took it")


# --- ending ---------------------------------------------------------------------------------------------------------


def record(tx: Connection, finished: Sequence[Finished], *, now: datetime) -> dict[int, str]:
    """Write down how attempts ended for each recipient; give the status that each row comes to, by row."""
    ids = [one.attempt.outbox_id for one in finished]
    statements.lock(tx, outbox, ids)  # rows first, as whoever else writes into them: no two wait for each other
    _record_recipients(tx, finished, now)
    _record_attempts(tx, finished, now)
    first = [one.attempt.outbox_id for one in finished if one.attempt.number == 1 and one.is_sent]
    statuses = dict.fromkeys(settle_sent(tx, first, now), "sent")
    return statuses | _settle(tx, [one for one in finished if one.attempt.outbox_id not in statuses], now)


def _settle(tx: Connection, finished: Sequence[Finished], now: datetime) -> dict[int, str]:
    if not finished:
        return {}
    ids = [one.attempt.outbox_id for one in finished]
    newest: dict[int, int] = dict(iter(_NEWEST.rows(tx, ids=statements.listed(tx, ids))))
    there = [one for one in finished if one.attempt.outbox_id in newest]
    # A row that somebody deleted meanwhile has no status any more; what it would have come to is for the log.
    gone = [one for one in finished if one.attempt.outbox_id not in newest]
    statuses = {
        one.attempt.outbox_id: status_for([each.status for each in one.verdicts] or ["failed"], "retry") for one in gone
    }
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
            "outbox_id": each.attempt.outbox_id,
            "address": one.address,
        }
        for each in finished
        for one in each.verdicts
    ]
    key, fixed = ("outbox_id", "address"), {"updated_at": at}
    statements.rewrite(tx, outbox_recipients, said, by=key, counted=("attempts",), fixed=fixed)


def _record_attempts(tx: Connection, finished: Sequence[Finished], now: datetime) -> None:
    rows = []
    for one in finished:
        worst = _worst(one.verdicts)
        said = (worst.status, worst.code, worst.enhanced, texts.storable(worst.reply)) if worst else (None,) * 4
        named = dict(zip(("outcome", "code", "enhanced_code", "reply"), said, strict=True))
        rows.append({"id": one.attempt.id, **named, "transcript": one.transcript})
    statements.rewrite(tx, outbox_attempts, rows, fixed={"finished_at": statements.ready(tx, now)})


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    if len(verdicts) == 1:
        return verdicts[0]
    order = ("in_doubt", "failed", "deferred", "sent")
    return min(verdicts, key=lambda one: order.index(one.status), default=None)


def _error(verdict: Verdict | None) -> str | None:
    if verdict is None or verdict.status == "sent":
        return None
    codes = [str(part) for part in (verdict.code, verdict.enhanced) if part]
    return texts.storable(f"{verdict.address}: {' '.join([*codes, verdict.reply]).strip() or verdict.status}")
