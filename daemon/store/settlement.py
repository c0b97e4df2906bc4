"""What a row comes to: the sum of its recipients, written where the attempt at it ends. Takes the connection, never commits."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from daemon.store.dialect import statements
from daemon.store.schema import outbox, outbox_recipients

TO_BE_SENT: Final = ("queued", "deferred")
# The relay took it, whatever came of it.
WENT: Final = frozenset({"sent", "delivered", "delayed", "bounced", "replied"})

_IDS: Final[Any] = bindparam("ids", expanding=True)
_STATUSES: Final = select(outbox_recipients.c.outbox_id, outbox_recipients.c.status).where(
    outbox_recipients.c.outbox_id.in_(_IDS)
)
_ROWS: Final = select(
    *(outbox.c[name] for name in ("id", "status", "on_doubt", "attempts", "queued_at", "sent_at", "last_error"))
).where(outbox.c.id.in_(_IDS))


def statuses_of(conn: Connection, outbox_id: int) -> list[str]:
    """Give the statuses of a row's recipients."""
    return statuses_by_row(conn, [outbox_id])[outbox_id]


def statuses_by_row(conn: Connection, outbox_ids: Collection[int]) -> dict[int, list[str]]:
    """Give the statuses of the recipients of each row."""
    found: dict[int, list[str]] = defaultdict(list)
    for key, status in conn.execute(_STATUSES, {"ids": list(outbox_ids)}):
        found[key].append(status)
    return found


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


def settle(
    tx: Connection,
    ends: Mapping[int, tuple[datetime | None, str | None]],
    *,
    now: datetime,
    uncounted: Collection[int] = (),
) -> dict[int, str]:
    """Bring rows that were being sent to the status that their recipients have come to; end their leases.

    ends: row -> when to come back if anything is left, and the error.  uncounted: those whose claim was no attempt.
    """
    if not ends:
        return {}
    come_to, rows = dict[int, str](), []
    at, found = statements.ready(tx, now), statuses_by_row(tx, ends)
    for row in tx.execute(_ROWS, {"ids": list(ends)}):
        next_attempt_at, error = ends[row.id]
        status = status_for(found[row.id], row.on_doubt)
        attempts = max(row.attempts - (row.id in uncounted), 0)
        if row.id in uncounted and not attempts and next_attempt_at is not None and next_attempt_at <= now:
            next_attempt_at = min(row.queued_at, now)  # it keeps its place among those that wait
        if status == "queued" and (attempts or (next_attempt_at or now) > now):
            status = "deferred"
        waits = status in TO_BE_SENT or (status == "in_doubt" and row.on_doubt == "retry")
        if row.status in {"held", "cancelled"} and waits:
            status, waits = row.status, False  # somebody stopped it while it was being sent
        come_to[row.id] = status
        sent_at = now if status in {"sent", "partial"} else row.sent_at
        rows.append({
            "id": row.id,
            "status": status,
            "attempts": attempts,
            "next_attempt_at": statements.ready(tx, next_attempt_at) if waits else None,
            "sent_at": statements.ready(tx, sent_at),
            "last_error": error if error is not None or status == "sent" else row.last_error,
            "lease_owner": None,
            "lease_until": None,
            "updated_at": at,
        })  # fmt: skip
    statements.rewrite(tx, outbox, rows)
    return come_to
