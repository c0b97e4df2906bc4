"""The outbox as people and programs of this house use it: put rows in, look at them, stop them, let them go again.

Other programs do the same by plain SQL: INSERT, and UPDATE of `status` to queued, held or cancelled. All functions take the
connection and never commit. A row in a state that does not allow what is asked is InputInvalid, which names the state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, case, cast, insert, literal, or_, select, update

from daemon import errors
from daemon.mail.entity import Attachment
from daemon.store.dialect import statements
from daemon.store.dialect.types import Instant, utc_now
from daemon.store.schema import outbox, outbox_attachments, outbox_attempts, outbox_recipients

WAITING: Final = frozenset({"queued", "deferred", "in_doubt"})
RETRIED: Final = frozenset({"queued", "deferred", "in_doubt", "failed", "partial", "expired", "cancelled"})
LONG: Final = frozenset({"body", "html", "raw"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A row with what became of it."""

    row: Row[Any]
    recipients: list[Row[Any]]
    attempts: list[Row[Any]]


def add(tx: Connection, *, attachments: Sequence[Attachment] = (), **columns: Any) -> int:
    """Put a row in and give its id; that of the row that has the same idempotency_key, if there is one.

    columns: as in the table; None is left to its default.  RowRefused says what is wrong with one.
    """
    given = {name: value for name, value in columns.items() if value is not None}
    t, key = outbox.c, given.get("idempotency_key")
    if key is None:
        row_id = tx.execute(insert(outbox).values(**given).returning(t.id)).scalar_one()
    else:
        there = select(t.id).where(t.idempotency_key == key)
        found = tx.execute(there).scalar()
        if found is not None:
            return int(found)
        statement = statements.upsert(tx, outbox).values(**given)
        row_id = tx.execute(
            statement.on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(t.id)
        ).scalar()
        if row_id is None:  # another process was faster
            return int(tx.execute(there).scalar_one())
    for one in attachments:
        values = {
            "filename": one.filename,
            "content_type": one.content_type,
            "content": one.content,
            "content_id": one.content_id,
        }
        tx.execute(insert(outbox_attachments), {"outbox_id": row_id, **values})
    return int(row_id)


def listing(
    conn: Connection, status: str | None = None, limit: int = 50, *, account: str | None = None, to: str | None = None
) -> list[Row[Any]]:
    """Give rows without their texts, the newest first. to: in one of the three lists, whatever its case."""
    query = (
        select(*[column for column in outbox.c if column.name not in LONG]).order_by(outbox.c.id.desc()).limit(limit)
    )
    if status is not None:
        query = query.where(outbox.c.status == status)
    if account is not None:
        query = query.where(outbox.c.account == account)
    if to is not None:
        lists = (outbox.c.recipients, outbox.c.cc, outbox.c.bcc)
        query = query.where(or_(*[one.icontains(to, autoescape=True) for one in lists]))
    return list(conn.execute(query))


def show(conn: Connection, outbox_id: int) -> Shown:
    """Give a row, its recipients and its attempts; NotFound if there is none."""
    row = conn.execute(select(outbox).where(outbox.c.id == outbox_id)).first()
    if row is None:
        raise _missing(outbox_id)
    recipients = select(outbox_recipients).where(outbox_recipients.c.outbox_id == outbox_id)
    position = case({"to": 0, "cc": 1, "bcc": 2}, value=outbox_recipients.c.field)
    attempts = select(outbox_attempts).where(outbox_attempts.c.outbox_id == outbox_id).order_by(outbox_attempts.c.id)
    return Shown(
        row=row,
        recipients=list(conn.execute(recipients.order_by(position, outbox_recipients.c.address))),
        attempts=list(conn.execute(attempts)),
    )


def _missing(outbox_id: int) -> errors.NotFound:
    return errors.NotFound(f"outbox row {outbox_id}: there is none")


def _in_state(tx: Connection, ids: Sequence[int], allowed: frozenset[str], what: str) -> list[int]:
    """Lock the rows and hold each to a state; NotFound or InputInvalid names the first that is not."""
    t = outbox.c
    wanted = list(dict.fromkeys(ids))
    query = statements.for_update(tx, select(t.id, t.status).where(t.id.in_(wanted)))
    states: dict[int, str] = dict(iter(tx.execute(query)))
    for key in wanted:
        if key not in states:
            raise _missing(key)
        if states[key] not in allowed:
            raise errors.InputInvalid(f"outbox row {key} is {states[key].replace('_', ' ')}; it can't be {what}")
    return wanted


def retry(tx: Connection, ids: Sequence[int] | None, now: datetime) -> list[int]:
    """Make rows due at once, whatever the schedule said: these, or all that wait or have failed.

    Recipients that were sent the letter are not sent it again. A row whose expires_at is over loses it. One that was emptied
    (`purge.py`) keeps the verdict that it has.
    """
    t = outbox.c
    has_letter = or_(t.forwards.is_not(None), *[t[name].is_not(None) for name in ("subject", "body", "html", "raw")])
    if ids is None:
        tried_all = select(t.id).where(t.status.in_(RETRIED - {"cancelled"}), has_letter).order_by(t.id)
        wanted = list(tx.execute(statements.for_update(tx, tried_all, skip_locked=True)).scalars())
    else:
        wanted = _in_state(tx, ids, RETRIED, "retried")
        for key in tx.execute(select(t.id).where(t.id.in_(wanted), ~has_letter)).scalars():
            raise errors.InputInvalid(f"outbox row {key}: nothing is left of its letter; insert a new row")
    expires_at = case((t.expires_at <= now, None), else_=t.expires_at)
    for key in wanted:
        # To `queued` by way of the trigger that asks the refused recipients again.
        row = update(outbox).where(t.id == key)
        tx.execute(
            row.values(status="queued", next_attempt_at=now, queued_at=now, updated_at=now, expires_at=expires_at)
        )
    return wanted


def hold(tx: Connection, ids: Sequence[int]) -> list[int]:
    """Keep waiting rows from being sent."""
    wanted = _in_state(tx, ids, WAITING, "held")
    tx.execute(
        update(outbox).where(outbox.c.id.in_(wanted)).values(status="held", next_attempt_at=None, updated_at=utc_now())
    )
    return wanted


def release(tx: Connection, ids: Sequence[int], now: datetime) -> list[int]:
    """Let held rows go, at once or when their send_after comes."""
    wanted = _in_state(tx, ids, frozenset({"held"}), "released")
    later = cast(outbox.c.send_after, Instant)
    due = case((later > now, later), else_=literal(now, Instant))
    rows = update(outbox).where(outbox.c.id.in_(wanted))
    tx.execute(rows.values(status="queued", next_attempt_at=due, queued_at=now, updated_at=now))
    return wanted


def cancel(tx: Connection, ids: Sequence[int]) -> list[int]:
    """End rows that are not sent yet; recipients that have the letter keep it."""
    wanted = _in_state(tx, ids, WAITING | {"held"}, "cancelled")
    tx.execute(
        update(outbox)
        .where(outbox.c.id.in_(wanted))
        .values(status="cancelled", next_attempt_at=None, updated_at=utc_now())
    )
    return wanted
