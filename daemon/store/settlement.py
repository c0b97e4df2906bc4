"""What a row comes to: the sum of its recipients, written where the attempt at it ends. Takes the connection, never commits."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, exists, select, update

from daemon.store.dialect import statements
from daemon.store.dialect.prepared import Prepared
from daemon.store.dialect.types import Instant
from daemon.store.schema import outbox, outbox_attempts, outbox_recipients

TO_BE_SENT: Final = ("queued", "deferred")
# The relay took it, whatever came of it.
WENT: Final = frozenset({"sent", "delivered", "delayed", "bounced", "replied"})

_T, _A, _R = outbox.c, outbox_attempts.c, outbox_recipients.c
_IDS: Final[Any] = bindparam("ids", expanding=True)
_STATUSES: Final = select(_R.outbox_id, _R.status).where(_R.outbox_id.in_(_IDS))
_ROWS: Final = select(
    *(_T[name] for name in ("id", "status", "on_doubt", "attempts", "queued_at", "sent_at", "last_error"))
).where(_T.id.in_(_IDS))


_TRIED_AGAIN: Final = exists().where(_A.outbox_id == _T.id, _A.number > 1)
_NOT_GONE: Final = exists().where(_R.outbox_id == _T.id, *(_R.status != one for one in sorted(WENT)))
_NOW: Final = bindparam("now", type_=Instant)
# Rows come to their end that went to everybody at the first attempt.
_END: Final = Prepared(
    lambda conn: (
        update(outbox)
        .where(statements.among_given(conn, _T.id, "ids"), ~_TRIED_AGAIN, ~_NOT_GONE)
        .values(
            status="sent",
            sent_at=_NOW,
            updated_at=_NOW,
            next_attempt_at=None,
            last_error=None,
            lease_owner=None,
            lease_until=None,
        )
    )
)


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


def settle_sent(tx: Connection, outbox_ids: Sequence[int], now: datetime) -> Sequence[int]:
    """Bring rows to their end whose first attempt went to everybody; give them, or none where one of them needs a closer look."""
    if not outbox_ids:
        return ()
    done = _END.run(tx, ids=statements.listed(tx, outbox_ids), now=now)
    return outbox_ids if done == len(outbox_ids) else ()


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
        })  # fmt: skip
    statements.rewrite(tx, outbox, rows, fixed={"lease_owner": None, "lease_until": None, "updated_at": at})
    return come_to
