"""Legal holds: messages that must not be deleted from the archive, of an account or as a query found them.

The triggers of the database refuse to delete a message on hold, whoever asks. A hold on an account (and no query) is on all
of it, whatever comes later, too; one with a query is on what the query found when it was last asked (`jobs/hold.py`). All
functions take the connection and never commit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, insert, or_, select

from daemon.store import search
from daemon.store.dialect import statements, texts
from daemon.store.hold_tables import held_messages, holds
from daemon.store.schema import messages

MESSAGES_A_TRANSACTION: Final = 5000  # written at once: some 20 ms


class Hold(NamedTuple):
    """One hold. messages: on how many it is now."""

    id: int
    account: str | None
    query: str | None
    reason: str
    added_at: datetime
    messages: int


def is_held() -> ColumnElement[bool]:
    """Tell of a row of `messages` whether it is on hold; the triggers ask the same."""
    by_query = exists().where(held_messages.c.message == messages.c.id)
    by_account = exists().where(holds.c.account == messages.c.account, holds.c.query.is_(None))
    return or_(by_query, by_account)


def add(tx: Connection, *, account: str | None, query: str | None, reason: str, now: datetime) -> int:
    """Begin a hold and give its id; of one with a query the messages are still to be looked for (`missing`, `hold`)."""
    values = {"account": account, "query": query, "reason": texts.storable(reason), "added_at": now}
    return int(tx.execute(insert(holds).values(values).returning(holds.c.id)).scalar_one())


def missing(conn: Connection, key: int) -> list[int]:
    """Give the messages that a hold's query finds, and that are not on that hold yet; InputInvalid if it can't be read."""
    row = conn.execute(select(holds).where(holds.c.id == key)).first()
    if row is None or row.query is None:
        return []
    there = set(conn.execute(select(held_messages.c.message).where(held_messages.c.hold == key)).scalars())
    return [one for one in search.ids(conn, row.query, account=row.account) if one not in there]


def hold(tx: Connection, key: int, ids: Sequence[int]) -> None:
    """Put messages on a hold; those that are gone meanwhile are left out."""
    still = select(messages.c.id).where(statements.among(tx, messages.c.id, ids))
    rows = [{"hold": key, "message": one} for one in tx.execute(still).scalars()]
    if rows:
        tx.execute(statements.insert_missing(tx, held_messages), rows)


def with_queries(conn: Connection) -> list[int]:
    """Give the ids of the holds whose queries may find more by now."""
    return list(conn.execute(select(holds.c.id).where(holds.c.query.is_not(None)).order_by(holds.c.id)).scalars())


def remove(tx: Connection, key: int) -> int:
    """End a hold; give how many there were, 1 or 0. What another one holds stays held."""
    return tx.execute(delete(holds).where(holds.c.id == key)).rowcount


def listing(conn: Connection) -> list[Hold]:
    """Give all holds, the oldest first."""
    by_query = select(func.count()).where(held_messages.c.hold == holds.c.id).scalar_subquery()
    by_account = select(func.count()).where(messages.c.account == holds.c.account).scalar_subquery()
    rows = conn.execute(select(holds, by_query.label("found"), by_account.label("all")).order_by(holds.c.id))
    return [
        Hold(row.id, row.account, row.query, row.reason, row.added_at, row.all if row.query is None else row.found)
        for row in rows
    ]


def on(conn: Connection, message: int) -> list[Row[Any]]:
    """Give (id, reason) of the holds that a message is on."""
    is_of_account = and_(
        holds.c.query.is_(None),
        holds.c.account == select(messages.c.account).where(messages.c.id == message).scalar_subquery(),
    )
    is_found = exists().where(held_messages.c.hold == holds.c.id, held_messages.c.message == message)
    return list(
        conn.execute(select(holds.c.id, holds.c.reason).where(or_(is_of_account, is_found)).order_by(holds.c.id))
    )


def count(conn: Connection) -> tuple[int, int]:
    """Count the holds, and the messages on them."""
    how_many = int(conn.execute(select(func.count()).select_from(holds)).scalar_one())
    if not how_many:
        return 0, 0
    return how_many, int(conn.execute(select(func.count()).select_from(messages).where(is_held())).scalar_one())
