"""Rows of the outbox that are long over: deleted with their children, or emptied where their idempotency key has to stay.

What waits, is held, is being sent or is in doubt is never touched. All functions take the connection and never commit.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, func, or_, select, update

from daemon.store.dialect import statements
from daemon.store.dialect.rules import FINISHED
from daemon.store.schema import outbox, outbox_attachments, outbox_attempts, outbox_recipients

YOUNGEST: Final = timedelta(days=1)  # the longest time over which a budget counts attempts
EMPTIED: Final = ("subject", "body", "html", "raw", "headers")


class Counted(NamedTuple):
    """How many rows would be deleted, and how many emptied."""

    deleted: int
    emptied: int


class Purged(NamedTuple):
    """What one transaction did. last: the id to go on behind; None if nothing was left."""

    deleted: int
    emptied: int
    last: int | None


def _goes(*, keys: bool) -> ColumnElement[bool]:
    """Tell whether a row is deleted whole."""
    return outbox.c.idempotency_key.is_(None) if not keys else outbox.c.id.is_not(None)


def _is_over(before: datetime, statuses: Sequence[str], *, keys: bool) -> ColumnElement[bool]:
    """Find rows that came to their end before that time, and have something to let go of."""
    t, r = outbox.c, outbox_recipients.c
    ended = [one for one in statuses if one in FINISHED]
    in_doubt = exists().where(r.outbox_id == t.id, r.status == "in_doubt")
    holds = or_(
        *[t[name].is_not(None) for name in EMPTIED],
        exists().where(outbox_attachments.c.outbox_id == t.id),
        exists().where(outbox_attempts.c.outbox_id == t.id, outbox_attempts.c.transcript.is_not(None)),
    )
    return and_(t.status.in_(ended), t.updated_at < before, ~in_doubt, or_(_goes(keys=keys), holds))


def count(conn: Connection, *, before: datetime, statuses: Sequence[str], keys: bool) -> Counted:
    """Count the rows that `purge` would go through. before: aware; at least `YOUNGEST` ago.  keys: also those with a key go."""
    goes = func.coalesce(func.sum(case((_goes(keys=keys), 1), else_=0)), 0)
    query = select(goes, func.count()).select_from(outbox).where(_is_over(before, statuses, keys=keys))
    deleted, rows = conn.execute(query).one()
    return Counted(int(deleted), int(rows) - int(deleted))


def purge(tx: Connection, *, before: datetime, statuses: Sequence[str], keys: bool, after: int, limit: int) -> Purged:
    """Let go of at most `limit` rows with an id above `after`, the oldest first; the rest as in `count`."""
    t = outbox.c
    query = select(t.id, _goes(keys=keys)).where(t.id > after, _is_over(before, statuses, keys=keys))
    # skip_locked: somebody asks for such a row again just now.
    found = tx.execute(statements.for_update(tx, query.order_by(t.id).limit(limit), skip_locked=True)).all()
    gone, emptied = [key for key, goes in found if goes], [key for key, goes in found if not goes]
    tx.execute(delete(outbox).where(t.id.in_(gone)))
    tx.execute(update(outbox).where(t.id.in_(emptied)).values(dict.fromkeys(EMPTIED)))
    tx.execute(delete(outbox_attachments).where(outbox_attachments.c.outbox_id.in_(emptied)))
    tx.execute(update(outbox_attempts).where(outbox_attempts.c.outbox_id.in_(emptied)).values(transcript=None))
    return Purged(len(gone), len(emptied), found[-1][0] if found else None)
