"""The outbox from claim to verdict: who sends a row, what became of each recipient, what a dead daemon left behind.

    queued, deferred, in_doubt (retry) --claim--> sending --record--> sent | partial | failed | deferred | in_doubt

A row waits while `next_attempt_at` is set, and only then can be claimed. `committing` is the durable mark that the letter's
final dot may have left: what dies after it is in doubt, what dies before it is not. All functions take the connection and
never commit. What people do with rows (add, retry, hold, …) is in `desk.py` and can be called from here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, exists, func, insert, or_, select, text, update

from daemon.mail.compose import Attachment
from daemon.store.desk import add, cancel, hold, listing, release, retry, show
from daemon.store.dialect import statements, texts
from daemon.store.lease import is_dead
from daemon.store.schema import outbox, outbox_attachments, outbox_attempts, outbox_recipients

__all__ = [
    "Attempt",
    "Claimed",
    "Rescued",
    "Verdict",
    "add",
    "attachments_of",
    "cancel",
    "claim",
    "committing",
    "counts",
    "due_accounts",
    "expire",
    "hold",
    "listing",
    "needs_routing",
    "next_due",
    "prepare",
    "put_back",
    "record",
    "refuse",
    "release",
    "renew",
    "rescue",
    "retry",
    "route",
    "show",
    "unpause",
]

ROUTE_ROWS: Final = 500  # rows a transaction; the caller comes again while there are more
TO_BE_SENT: Final = ("queued", "deferred")
WENT: Final = frozenset({"sent", "delivered", "delayed", "replied"})
DIED: Final = "the process that was sending ended after the letter was given and before the relay's answer was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A row that is ours to send. attempts: this one counted."""

    id: int
    recipients: str
    cc: str | None
    bcc: str | None
    sender: str | None
    reply_to: str | None
    account: str | None
    subject: str | None
    body: str | None
    html: str | None
    headers: Mapping[str, str] | None
    raw: bytes | None
    send_after: datetime | None
    expires_at: datetime | None
    priority: int
    idempotency_key: str | None
    on_doubt: str
    attempts: int
    message_id: str | None
    created_at: datetime


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


# --- which rows, and who sends them ---------------------------------------------------------------------------------

_CLAIMED: Final = [outbox.c[name] for name in Claimed.__dataclass_fields__]


def claim(
    tx: Connection, *, owner: str, now: datetime, lease: timedelta, limit: int, account: str | None = None
) -> list[Claimed]:
    """Take rows that are due, highest priority first, then the longest due. account: only its rows."""
    t = outbox.c
    due = select(t.id).where(t.next_attempt_at <= now, or_(t.expires_at.is_(None), t.expires_at > now))
    if account is not None:
        due = due.where(t.account == account)
    due = statements.for_update(tx, due.order_by(t.priority.desc(), t.next_attempt_at, t.id).limit(limit), skip_locked=True)
    ids = list(tx.execute(due).scalars())
    if not ids:
        return []
    tx.execute(
        update(outbox)
        .where(t.id.in_(ids))
        .values(
            status="sending",
            attempts=t.attempts + 1,
            next_attempt_at=None,
            lease_owner=owner,
            lease_until=now + lease,
            updated_at=now,
        )
    )
    rows = {row.id: row for row in tx.execute(select(*_CLAIMED).where(t.id.in_(ids)))}
    return [Claimed(**texts.exact(tx, outbox, rows[key]._asdict())) for key in ids]


def due_accounts(conn: Connection, now: datetime) -> set[str]:
    """Give the accounts that rows due now name; "" stands for rows that name none."""
    # One look a name, however many rows wait: there are few accounts, and maybe 100,000 rows for another day.
    names = conn.execute(
        text(
            "WITH RECURSIVE names(name) AS ("
            " SELECT min(account) FROM outbox WHERE next_attempt_at IS NOT NULL AND account IS NOT NULL"
            " UNION ALL SELECT (SELECT min(account) FROM outbox WHERE next_attempt_at IS NOT NULL AND account > names.name)"
            " FROM names WHERE names.name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
        )
    ).scalars()
    t = outbox.c
    found = set()
    for name in [None, *names]:
        is_its = t.account.is_(None) if name is None else t.account == name
        if conn.execute(select(exists().where(is_its, t.next_attempt_at <= now))).scalar():
            found.add(name or "")
    return found


def next_due(conn: Connection) -> datetime | None:
    """Give the earliest time at which a row is due, None if none waits."""
    found: datetime | None = conn.execute(select(func.min(outbox.c.next_attempt_at))).scalar()
    return found


def needs_routing(conn: Connection, able: Sequence[str], now: datetime) -> bool:
    """Tell whether rows are due that name no account, or one that is not able to send."""
    return bool(due_accounts(conn, now) - set(able))


def route(
    tx: Connection, *, choose: Callable[[str | None], str], able: Sequence[str], unable_until: datetime, now: datetime
) -> int:
    """Write an account into due rows that name none, and let rows wait whose account can't send; give how many changed.

    choose: gives the account for a row's sender.
    """
    t = outbox.c
    query = select(t.id, t.account, t.sender).where(t.next_attempt_at <= now, or_(t.account.is_(None), t.account.not_in(list(able))))
    changed = 0
    for key, account, sender in tx.execute(statements.for_update(tx, query.order_by(t.id).limit(ROUTE_ROWS))).all():
        row = update(outbox).where(t.id == key)
        if account is None:
            tx.execute(row.values(account=choose(sender), updated_at=now))
        else:
            reason = f"account: no account {account!r} that can send is in the settings"
            tx.execute(row.values(status="deferred", next_attempt_at=unable_until, last_error=reason, updated_at=now))
        changed += 1
    return changed


def unpause(tx: Connection, name: str, until: datetime, now: datetime) -> int:
    """Make the rows due that were put back until the end of a relay's pause; give how many."""
    t = outbox.c
    rows = update(outbox).where(t.account == name, t.next_attempt_at == until, t.status.in_([*TO_BE_SENT, "in_doubt"]))
    return tx.execute(rows.values(next_attempt_at=now, updated_at=now)).rowcount


def renew(tx: Connection, ids: Sequence[int], owner: str, until: datetime) -> None:
    """Keep claimed rows for longer."""
    t = outbox.c
    tx.execute(update(outbox).where(t.id.in_(list(ids)), t.lease_owner == owner, t.status == "sending").values(lease_until=until))


# --- one attempt ----------------------------------------------------------------------------------------------------


def attachments_of(conn: Connection, outbox_id: int) -> tuple[Attachment, ...]:
    """Give a row's attachments, in the order in which they were inserted."""
    t = outbox_attachments.c
    query = select(t.filename, t.content_type, t.content, t.content_id).where(t.outbox_id == outbox_id).order_by(t.id)
    return tuple(Attachment(**row._asdict()) for row in conn.execute(query))


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
) -> Attempt:
    """Begin an attempt at a claimed row; recipients are written down at the first one.

    message_id: stays that of the first attempt.  recipients: (address, to | cc | bcc).
    """
    t, r, a = outbox.c, outbox_recipients.c, outbox_attempts.c
    row = tx.execute(statements.for_update(tx, select(t.status, t.on_doubt).where(t.id == outbox_id))).one_or_none()
    number = 1 + (tx.execute(select(func.max(a.number)).where(a.outbox_id == outbox_id)).scalar() or 0)
    if row is None or row.status != "sending":
        return Attempt(id=0, number=number, addresses=())
    if message_id is not None:
        tx.execute(update(outbox).where(t.id == outbox_id, t.message_id.is_(None)).values(message_id=message_id))
    rows = [{"outbox_id": outbox_id, "address": address, "field": field, "updated_at": now} for address, field in recipients]
    if rows:
        tx.execute(statements.insert_missing(tx, outbox_recipients), rows)
    statuses = (*TO_BE_SENT, "in_doubt") if row.on_doubt == "retry" else TO_BE_SENT
    waiting = set(tx.execute(select(r.address).where(r.outbox_id == outbox_id, r.status.in_(statuses))).scalars())
    addresses = tuple(dict.fromkeys(address for address, _ in recipients if address in waiting))
    attempt = {"outbox_id": outbox_id, "number": number, "account": account, "relay": relay, "session": session, "started_at": now}
    key = int(tx.execute(insert(outbox_attempts).returning(a.id), attempt).scalar_one())
    if addresses:
        its = update(outbox_recipients).where(r.outbox_id == outbox_id, r.address == bindparam("to"))
        tx.execute(its.values(attempt=key, updated_at=now), [{"to": address} for address in addresses])
    return Attempt(id=key, number=number, addresses=addresses)


def committing(tx: Connection, attempt_ids: Sequence[int], now: datetime) -> None:
    """Mark durably that the final dot of these attempts may leave from now on."""
    tx.execute(update(outbox_attempts).where(outbox_attempts.c.id.in_(list(attempt_ids))).values(committing_at=now))


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
        return _status([one.status for one in verdicts] or ["failed"], "retry")
    if verdicts:
        its = update(outbox_recipients).where(r.outbox_id == attempt.outbox_id, r.address == bindparam("to"))
        values = {"status": bindparam("is"), "code": bindparam("c"), "enhanced_code": bindparam("e"), "reply": bindparam("says")}
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
        outcome = {"outcome": worst.status, "code": worst.code, "enhanced_code": worst.enhanced, "reply": texts.storable(worst.reply)}
        tx.execute(update(outbox_attempts).where(a.id == attempt_id).values(**outcome))
    tx.execute(update(outbox_attempts).where(a.id == attempt_id).values(finished_at=now, transcript=transcript))
    error = None if worst is None or worst.status == "sent" else _error(worst)
    newest = tx.execute(select(func.max(a.number)).where(a.outbox_id == attempt.outbox_id)).scalar()
    if newest != attempt.number:  # our lease ran out, and another process is at the row now
        return _status(_statuses(tx, attempt.outbox_id), tx.execute(select(t.on_doubt).where(t.id == attempt.outbox_id)).scalar_one())
    return _settle(tx, attempt.outbox_id, now=now, next_attempt_at=next_attempt_at, error=error)


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    order = ("in_doubt", "failed", "deferred", "sent")
    return min(verdicts, key=lambda one: order.index(one.status), default=None)


def _error(verdict: Verdict) -> str:
    codes = [str(part) for part in (verdict.code, verdict.enhanced) if part]
    return texts.storable(f"{verdict.address}: {' '.join([*codes, verdict.reply]).strip() or verdict.status}")


def _statuses(conn: Connection, outbox_id: int) -> list[str]:
    return list(conn.execute(select(outbox_recipients.c.status).where(outbox_recipients.c.outbox_id == outbox_id)).scalars())


def _status(statuses: Iterable[str], on_doubt: str) -> str:
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
    tx: Connection, outbox_id: int, *, now: datetime, next_attempt_at: datetime | None, error: str | None, uncount: bool = False
) -> str:
    """Bring a row that was being sent to the status that its recipients have come to; end its lease."""
    t = outbox.c
    row = tx.execute(select(t.status, t.on_doubt, t.attempts).where(t.id == outbox_id)).one()
    status = _status(_statuses(tx, outbox_id), row.on_doubt)
    attempts = max(row.attempts - uncount, 0)
    if status == "queued" and (attempts or (next_attempt_at or now) > now):
        status = "deferred"
    waits = status in TO_BE_SENT or (status == "in_doubt" and row.on_doubt == "retry")
    if row.status in {"held", "cancelled"} and waits:
        status, waits = row.status, False  # somebody stopped it while it was being sent
    values: dict[str, Any] = {"status": status, "attempts": attempts, "next_attempt_at": next_attempt_at if waits else None}
    if status in {"sent", "partial"}:
        values["sent_at"] = now
    if error is not None or status == "sent":
        values["last_error"] = error
    tx.execute(update(outbox).where(t.id == outbox_id).values(**values, lease_owner=None, lease_until=None, updated_at=now))
    return status


# --- rows that do not come that far ---------------------------------------------------------------------------------


def refuse(tx: Connection, outbox_id: int, reason: str, now: datetime) -> None:
    """End a row that can't be made a letter: failed for good, with the reason."""
    tx.execute(
        update(outbox)
        .where(outbox.c.id == outbox_id)
        .values(
            status="failed",
            last_error=texts.storable(reason),
            next_attempt_at=None,
            lease_owner=None,
            lease_until=None,
            updated_at=now,
        )
    )


def put_back(tx: Connection, outbox_id: int, *, reason: str, next_attempt_at: datetime, count_attempt: bool, now: datetime) -> None:
    """Return a claimed row: its relay can't be used, or the house stops. An attempt left open past its mark is a doubt."""
    if tx.execute(select(outbox.c.status).where(outbox.c.id == outbox_id)).scalar_one_or_none() != "sending":
        return
    opened, _doubted = _close_attempts(tx, outbox_id, now)
    later = next_attempt_at > now
    uncount = not count_attempt and not opened
    _settle(tx, outbox_id, now=now, next_attempt_at=next_attempt_at, error=reason if later or opened else None, uncount=uncount)


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
            tx.execute(theirs.values(status="in_doubt", reply=DIED, code=None, enhanced_code=None, attempts=r.attempts + 1, updated_at=now))
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


def expire(tx: Connection, now: datetime, default_age: timedelta) -> int:
    """End waiting rows whose time is over; give how many. default_age: from the last time it was queued, without expires_at.

    What was sent stays sent: such a row is partial. Recipients that waited have failed, and keep the last reply.
    """
    t, r = outbox.c, outbox_recipients.c
    late = or_(
        t.expires_at <= now,
        t.expires_at.is_(None) & (t.queued_at <= now - default_age) & (func.coalesce(t.send_after, t.queued_at) <= now - default_age),
    )
    waiting = or_(t.next_attempt_at.is_not(None), (t.status == "held") & t.expires_at.is_not(None))
    rows = tx.execute(statements.for_update(tx, select(t.id, t.on_doubt, t.last_error).where(waiting, late), skip_locked=True)).all()
    for key, _on_doubt, last_error in rows:
        theirs = update(outbox_recipients).where(r.outbox_id == key, r.status.in_(TO_BE_SENT))
        tx.execute(theirs.values(status="failed", reply=func.coalesce("expired; " + r.reply, "expired"), updated_at=now))
        statuses = _statuses(tx, key)
        status = "expired" if WENT.isdisjoint(statuses) and "in_doubt" not in statuses else _status(statuses, "hold")
        error = f"expired; before that: {last_error}" if last_error else "expired before it was sent"
        values = {"status": status, "next_attempt_at": None, "last_error": error, "updated_at": now}
        tx.execute(update(outbox).where(t.id == key).values(**values, **({"sent_at": now} if status == "partial" else {})))
    return len(rows)


def counts(conn: Connection) -> dict[str, int]:
    """Count the rows of each status that there are rows of."""
    rows = conn.execute(select(outbox.c.status, func.count()).group_by(outbox.c.status))
    return {status: int(number) for status, number in rows}
