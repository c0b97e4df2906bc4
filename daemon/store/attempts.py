"""One try at an outbox row, and what it comes to: per recipient first, and for the row as the sum of them.

    prepare -> committing (durable: the final dot may leave from now on) -> record

An attempt that nobody goes on with (`put_back`, `rescue`) is in doubt once it was marked, and was nothing before that. All
functions take the connection and never commit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from daemon import errors
from daemon.store.dialect import statements, texts
from daemon.store.lease import is_dead
from daemon.store.schema import outbox, outbox_attempts, outbox_recipients

TO_BE_SENT: Final = ("queued", "deferred")
WENT: Final = frozenset(
    {"sent", "delivered", "delayed", "bounced", "replied"}
)  # the relay took it, whatever came of it
DIED: Final = "the process that was sending ended after the letter was given and before the relay's answer was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a row. number: counts from 1.  addresses: those still to be sent; none if the row was taken back."""

    id: int
    number: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one recipient in one attempt. status: sent, deferred, failed or in_doubt.  code: None if no reply."""

    address: str
    status: str
    code: int | None = None
    enhanced: str | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """How many rows of dead daemons were put right."""

    requeued: int
    in_doubt: int


# --- one attempt ----------------------------------------------------------------------------------------------------


def prepare(
    tx: Connection,
    outbox_id: int,
    *,
    message_id: str | None,
    recipients: Sequence[tuple[str, str]],
    account: str,
    relay: str,
    session: str,
    now: datetime,
    owner: str | None = None,
) -> Attempt:
    """Begin an attempt at a claimed row; recipients are written down at the first one.

    message_id: stays that of the first attempt.  recipients: (address, to | cc | bcc).  owner: who claimed the row; a row that
    is another's by now, or at which an attempt is under way, gives an Attempt with id 0: the sender slept past its lease.
    """
    t, r, a = outbox.c, outbox_recipients.c, outbox_attempts.c
    query = select(t.status, t.on_doubt, t.lease_owner).where(t.id == outbox_id)
    row = tx.execute(statements.for_update(tx, query)).one_or_none()
    tried = tx.execute(select(a.number, a.finished_at).where(a.outbox_id == outbox_id)).all()
    number = 1 + max((one.number for one in tried), default=0)
    is_ours = row is not None and row.status == "sending" and owner in {None, row.lease_owner}
    if row is None or not is_ours or any(one.finished_at is None for one in tried):
        return Attempt(id=0, number=number, addresses=())
    if message_id is not None:
        tx.execute(update(outbox).where(t.id == outbox_id, t.message_id.is_(None)).values(message_id=message_id))
    rows = [
        {"outbox_id": outbox_id, "address": address, "field": field, "updated_at": now} for address, field in recipients
    ]
    if rows:
        tx.execute(statements.insert_missing(tx, outbox_recipients), rows)
    statuses = (*TO_BE_SENT, "in_doubt") if row.on_doubt == "retry" else TO_BE_SENT
    waiting = set(tx.execute(select(r.address).where(r.outbox_id == outbox_id, r.status.in_(statuses))).scalars())
    addresses = tuple(dict.fromkeys(address for address, _ in recipients if address in waiting))
    attempt = {
        "outbox_id": outbox_id,
        "number": number,
        "account": account,
        "relay": relay,
        "session": session,
        "started_at": now,
    }
    key = int(tx.execute(insert(outbox_attempts).returning(a.id), attempt).scalar_one())
    if addresses:
        its = update(outbox_recipients).where(r.outbox_id == outbox_id, r.address == bindparam("to"))
        tx.execute(its.values(attempt=key, updated_at=now), [{"to": address} for address in addresses])
    return Attempt(id=key, number=number, addresses=addresses)


def attempts_since(conn: Connection, account: str, since: datetime) -> tuple[int, datetime | None]:
    """Count the attempts that an account began after `since`, and give the time of the earliest of them."""
    a = outbox_attempts.c
    query = select(func.count(), func.min(a.started_at)).where(a.account == account, a.started_at > since)
    count, earliest = conn.execute(query).one()
    return int(count), earliest


def committing(tx: Connection, attempt_ids: Sequence[int], now: datetime) -> None:
    """Mark durably that the final dot of these attempts may leave from now on.

    Busy if one of them was ended meanwhile: its sender slept past its lease, the row is another's, and the dot must not leave.
    """
    a = outbox_attempts.c
    marked = update(outbox_attempts).where(a.id.in_(list(attempt_ids)), a.finished_at.is_(None))
    if tx.execute(marked.values(committing_at=now)).rowcount != len(attempt_ids):
        raise errors.Busy("the lease of this row ran out before its letter was sent, and another process took it")


def record(
    tx: Connection,
    attempt_id: int,
    verdicts: Sequence[Verdict],
    *,
    now: datetime,
    next_attempt_at: datetime | None,
    transcript: str | None,
) -> str:
    """Write down how an attempt ended for each recipient; give the status that the row comes to.

    next_attempt_at: used if anything is left to be sent.  transcript: redacted, of an attempt that did not go well.
    """
    t, r, a = outbox.c, outbox_recipients.c, outbox_attempts.c
    attempt = tx.execute(select(a.outbox_id, a.number).where(a.id == attempt_id)).one_or_none()
    if attempt is None:  # somebody deleted the row meanwhile
        return status_for([one.status for one in verdicts] or ["failed"], "retry")
    if verdicts:
        its = update(outbox_recipients).where(r.outbox_id == attempt.outbox_id, r.address == bindparam("to"))
        values: dict[str, Any] = {
            "status": bindparam("is"),
            "code": bindparam("c"),
            "enhanced_code": bindparam("e"),
            "reply": bindparam("says"),
        }
        tx.execute(
            its.values(**values, sent_at=bindparam("at"), updated_at=now, attempts=r.attempts + 1),
            [
                {
                    "to": one.address,
                    "is": one.status,
                    "c": one.code,
                    "e": one.enhanced,
                    "says": texts.storable(one.reply),
                    "at": now if one.status == "sent" else None,
                }
                for one in verdicts
            ],
        )
    worst = _worst(verdicts)
    if worst is not None:
        outcome = {
            "outcome": worst.status,
            "code": worst.code,
            "enhanced_code": worst.enhanced,
            "reply": texts.storable(worst.reply),
        }
        tx.execute(update(outbox_attempts).where(a.id == attempt_id).values(**outcome))
    tx.execute(update(outbox_attempts).where(a.id == attempt_id).values(finished_at=now, transcript=transcript))
    error = None if worst is None or worst.status == "sent" else _error(worst)
    newest = tx.execute(select(func.max(a.number)).where(a.outbox_id == attempt.outbox_id)).scalar()
    if newest != attempt.number:  # our lease ran out, and another process is at the row now
        return status_for(
            statuses_of(tx, attempt.outbox_id),
            tx.execute(select(t.on_doubt).where(t.id == attempt.outbox_id)).scalar_one(),
        )
    return _settle(tx, attempt.outbox_id, now=now, next_attempt_at=next_attempt_at, error=error)


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    order = ("in_doubt", "failed", "deferred", "sent")
    return min(verdicts, key=lambda one: order.index(one.status), default=None)


def _error(verdict: Verdict) -> str:
    codes = [str(part) for part in (verdict.code, verdict.enhanced) if part]
    return texts.storable(f"{verdict.address}: {' '.join([*codes, verdict.reply]).strip() or verdict.status}")


def statuses_of(conn: Connection, outbox_id: int) -> list[str]:
    """Give the statuses of a row's recipients."""
    return list(
        conn.execute(select(outbox_recipients.c.status).where(outbox_recipients.c.outbox_id == outbox_id)).scalars()
    )


def status_for(statuses: Iterable[str], on_doubt: str) -> str:
    """Give the row's status for those of its recipients."""
    found = set(statuses)
    if "in_doubt" in found and (on_doubt == "retry" or found.isdisjoint(TO_BE_SENT)):
        return "in_doubt"
    if not found.isdisjoint(TO_BE_SENT):
        return "deferred"
    if found <= WENT:
        return "sent" if found else "queued"
    return "failed" if found.isdisjoint(WENT) else "partial"


def _settle(
    tx: Connection,
    outbox_id: int,
    *,
    now: datetime,
    next_attempt_at: datetime | None,
    error: str | None,
    uncount: bool = False,
) -> str:
    """Bring a row that was being sent to the status that its recipients have come to; end its lease."""
    t = outbox.c
    row = tx.execute(select(t.status, t.on_doubt, t.attempts).where(t.id == outbox_id)).one()
    status = status_for(statuses_of(tx, outbox_id), row.on_doubt)
    attempts = max(row.attempts - uncount, 0)
    if status == "queued" and (attempts or (next_attempt_at or now) > now):
        status = "deferred"
    waits = status in TO_BE_SENT or (status == "in_doubt" and row.on_doubt == "retry")
    if row.status in {"held", "cancelled"} and waits:
        status, waits = row.status, False  # somebody stopped it while it was being sent
    values: dict[str, Any] = {
        "status": status,
        "attempts": attempts,
        "next_attempt_at": next_attempt_at if waits else None,
    }
    if status in {"sent", "partial"}:
        values["sent_at"] = now
    if error is not None or status == "sent":
        values["last_error"] = error
    tx.execute(
        update(outbox).where(t.id == outbox_id).values(**values, lease_owner=None, lease_until=None, updated_at=now)
    )
    return status


# --- attempts that nobody goes on with -----------------------------------------------------------------------------


def put_back(
    tx: Connection,
    outbox_ids: Sequence[int],
    *,
    reason: str,
    next_attempt_at: datetime,
    now: datetime,
    owner: str | None = None,
) -> None:
    """Return claimed rows: their relay can't be used, or the house stops. An attempt left open past its mark is a doubt.

    A claim that no attempt followed does not count as one.  owner: who claimed them; a row that is another's by now is left
    alone.
    """
    t = outbox.c
    rows = tx.execute(select(t.id, t.status, t.lease_owner).where(t.id.in_(list(outbox_ids)))).all()
    for row in rows:
        if row.status == "sending" and owner in {None, row.lease_owner}:
            opened, _doubted = _close_attempts(tx, row.id, now)
            error = reason if opened or next_attempt_at > now else None
            _settle(tx, row.id, now=now, next_attempt_at=next_attempt_at, error=error, uncount=not opened)


def _close_attempts(tx: Connection, outbox_id: int, now: datetime) -> tuple[bool, bool]:
    """End the attempts that nobody goes on with; tell whether there were any, and whether one is in doubt."""
    a, r = outbox_attempts.c, outbox_recipients.c
    opened = tx.execute(select(a.id, a.committing_at).where(a.outbox_id == outbox_id, a.finished_at.is_(None))).all()
    for key, marked in opened:
        outcome = "interrupted" if marked is None else "in_doubt"
        reply = None if marked is None else DIED
        tx.execute(update(outbox_attempts).where(a.id == key).values(finished_at=now, outcome=outcome, reply=reply))
        if marked is not None:
            theirs = update(outbox_recipients).where(r.attempt == key, r.status.in_([*TO_BE_SENT, "in_doubt"]))
            tx.execute(
                theirs.values(
                    status="in_doubt",
                    reply=DIED,
                    code=None,
                    enhanced_code=None,
                    attempts=r.attempts + 1,
                    updated_at=now,
                )
            )
    return bool(opened), any(marked is not None for _key, marked in opened)


def rescue(tx: Connection, now: datetime) -> Rescued:
    """Return the rows of processes that are dead or whose lease ran out; those past the mark are in doubt."""
    t = outbox.c
    query = select(t.id, t.lease_owner, t.lease_until).where(t.status == "sending")
    requeued = in_doubt = 0
    for key, owner, until in tx.execute(statements.for_update(tx, query, skip_locked=True)).all():
        if owner is not None and until is not None and until > now and not is_dead(owner):
            continue
        opened, doubted = _close_attempts(tx, key, now)
        _settle(tx, key, now=now, next_attempt_at=now, error=DIED if doubted else None, uncount=not opened)
        requeued, in_doubt = requeued + (not doubted), in_doubt + doubted
    return Rescued(requeued=requeued, in_doubt=in_doubt)
