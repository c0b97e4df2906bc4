"""The outbox from claim to verdict: who sends a row, what became of each recipient, what a dead daemon left behind.

    queued, deferred, in_doubt (retry) --claim--> sending --record--> sent | partial | failed | deferred | in_doubt

A row waits while `next_attempt_at` is set, and only then can be claimed. `committing` is the durable mark that the letter's
final dot may have left: what dies after it is in doubt, what dies before it is not. All functions take the connection and
never commit. One attempt is in `attempts.py`, what people do with rows (add, retry, hold, …) in `desk.py`; both can be
called from here.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, case, cast, exists, func, or_, select, text, update

from daemon.mail.entity import Attachment
from daemon.store.attempts import Attempt, Begun, Finished, Verdict, committing, prepare, record
from daemon.store.claims import Claimed, claim
from daemon.store.desk import add, cancel, hold, listing, release, retry, show
from daemon.store.dialect import statements, texts
from daemon.store.dialect.types import Instant
from daemon.store.rescue import Rescued, put_back, rescue
from daemon.store.schema import outbox, outbox_attachments, outbox_recipients
from daemon.store.settlement import TO_BE_SENT, WENT, status_for, statuses_of

__all__ = [
    "Attempt",
    "Begun",
    "Claimed",
    "Finished",
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
    "put_off",
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

# --- which rows, and who sends them ---------------------------------------------------------------------------------


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
    query = select(t.id, t.account, t.sender).where(
        t.next_attempt_at <= now, or_(t.account.is_(None), t.account.not_in(list(able)))
    )
    chosen, unable = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for key, account, sender in tx.execute(statements.for_update(tx, query.order_by(t.id).limit(ROUTE_ROWS))).all():
        if account is None:
            chosen[choose(sender)].append(key)
        else:
            unable[account].append(key)
    for account, ids in chosen.items():
        tx.execute(update(outbox).where(statements.among(tx, t.id, ids)).values(account=account, updated_at=now))
    for account, ids in unable.items():
        reason = f"account: no account {account!r} that can send is in the settings"
        rows = update(outbox).where(statements.among(tx, t.id, ids))
        tx.execute(rows.values(status="deferred", next_attempt_at=unable_until, last_error=reason, updated_at=now))
    return sum(map(len, (*chosen.values(), *unable.values())))


def put_off(tx: Connection, account: str, until: datetime, reason: str, now: datetime) -> int:
    """Let rows of an account that are due wait until then, and say why; give how many: the caller comes again while there are more."""
    t = outbox.c
    due = select(t.id).where(t.account == account, t.next_attempt_at <= now).order_by(t.id).limit(ROUTE_ROWS)
    ids = list(tx.execute(statements.for_update(tx, due, skip_locked=True)).scalars())
    rows = update(outbox).where(t.id.in_(ids))
    if ids:
        status = case((t.status == "queued", "deferred"), else_=t.status)
        tx.execute(rows.values(status=status, next_attempt_at=until, last_error=reason, updated_at=now))
    return len(ids)


def unpause(tx: Connection, name: str, until: datetime, now: datetime) -> int:
    """Make the rows due that were put back until the end of a relay's pause; give how many."""
    t = outbox.c
    rows = update(outbox).where(t.account == name, t.next_attempt_at == until, t.status.in_([*TO_BE_SENT, "in_doubt"]))
    return tx.execute(rows.values(next_attempt_at=now, updated_at=now)).rowcount


def renew(tx: Connection, ids: Sequence[int], owner: str, until: datetime) -> None:
    """Keep claimed rows for longer."""
    t = outbox.c
    tx.execute(
        update(outbox)
        .where(t.id.in_(list(ids)), t.lease_owner == owner, t.status == "sending")
        .values(lease_until=until)
    )


# --- rows that do not come that far ---------------------------------------------------------------------------------


def attachments_of(conn: Connection, outbox_ids: Sequence[int]) -> dict[int, tuple[Attachment, ...]]:
    """Give the attachments of those rows that have some, in the order in which they were inserted."""
    t = outbox_attachments.c
    query = select(t.id, t.outbox_id, t.filename, t.content_type, t.content, t.content_id).order_by(t.id)
    found: dict[int, tuple[Attachment, ...]] = {}
    for row in conn.execute(query.where(t.outbox_id.in_(list(outbox_ids)))).all():
        exact = texts.exact(conn, outbox_attachments, row._asdict())
        one = Attachment(**{name: value for name, value in exact.items() if name not in {"id", "outbox_id"}})
        found[row.outbox_id] = (*found.get(row.outbox_id, ()), one)
    return found


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


def expire(tx: Connection, now: datetime, default_age: timedelta) -> int:
    """End waiting rows whose time is over; give how many. default_age: from the last time it was queued, without expires_at.

    What was sent stays sent: such a row is partial. Recipients that waited have failed, and keep the last reply.
    """
    t = outbox.c
    late = or_(
        t.expires_at <= now,
        t.expires_at.is_(None)
        & (t.queued_at <= now - default_age)
        & (func.coalesce(cast(t.send_after, Instant), t.queued_at) <= now - default_age),
    )
    ended = 0
    # Two conditions, two indexes: with OR between them every row that was ever sent would be read.
    for waiting in (t.next_attempt_at.is_not(None), (t.status == "held") & t.expires_at.is_not(None)):
        query = select(t.id, t.last_error).where(waiting, late)
        for key, last_error in tx.execute(statements.for_update(tx, query, skip_locked=True)).all():
            _expire(tx, key, last_error, now)
            ended += 1
    return ended


def _expire(tx: Connection, key: int, last_error: str | None, now: datetime) -> None:
    r = outbox_recipients.c
    waited = update(outbox_recipients).where(r.outbox_id == key, r.status.in_(TO_BE_SENT))
    tx.execute(waited.values(status="failed", reply=func.coalesce("expired; " + r.reply, "expired"), updated_at=now))
    statuses = statuses_of(tx, key)
    status = "expired" if WENT.isdisjoint(statuses) and "in_doubt" not in statuses else status_for(statuses, "hold")
    error = f"expired; before that: {last_error}" if last_error else "expired before it was sent"
    values: dict[str, Any] = {"status": status, "next_attempt_at": None, "last_error": error, "updated_at": now}
    if status == "partial":
        values["sent_at"] = now
    tx.execute(update(outbox).where(outbox.c.id == key).values(**values))


def counts(conn: Connection) -> dict[str, int]:
    """Count the rows of each status that there are rows of."""
    rows = conn.execute(select(outbox.c.status, func.count()).group_by(outbox.c.status))
    return {status: int(number) for status, number in rows}
