"""Messages that were archived long ago and may go. What is on hold may not. Takes the connection and never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, case, delete, func, select

from daemon.store import holds
from daemon.store.dialect import statements
from daemon.store.schema import messages

IDS_A_STATEMENT: Final = 500  # parameters of one IN list


class Counted(NamedTuple):
    """What would go: messages and their octets; and how many are on hold."""

    messages: int = 0
    octets: int = 0
    held: int = 0


def _is_old(before: datetime, account: str | None) -> list[ColumnElement[bool]]:
    is_of = [] if account is None else [messages.c.account == account]
    return [messages.c.archived_at < before, *is_of]


def count(
    conn: Connection, *, before: datetime, account: str | None = None, among: Sequence[int] | None = None
) -> Counted:
    """Count the messages archived before that time. account: only its own.  among: only of these, if given."""
    is_kept = case((holds.is_held(), 1), else_=0)
    goes = 1 - is_kept
    query: Select[Any] = select(
        func.coalesce(func.sum(goes), 0),
        func.coalesce(func.sum(goes * messages.c.octets), 0),
        func.coalesce(func.sum(is_kept), 0),
    ).where(*_is_old(before, account))
    parts = [query] if among is None else [
        query.where(statements.among(conn, messages.c.id, among[start : start + IDS_A_STATEMENT]))
        for start in range(0, len(among), IDS_A_STATEMENT)
    ]  # fmt: skip
    rows = [conn.execute(part).one() for part in parts]
    return Counted(*(sum(int(row[column]) for row in rows) for column in range(3)))


def due(conn: Connection, *, before: datetime, account: str | None = None, after: int = 0, limit: int) -> list[int]:
    """Give messages that may go, with ids above `after`, the oldest first."""
    query = select(messages.c.id).where(messages.c.id > after, *_is_old(before, account), ~holds.is_held())
    return list(conn.execute(query.order_by(messages.c.id).limit(limit)).scalars())


def prune(tx: Connection, ids: Sequence[int], *, before: datetime, account: str | None = None) -> int:
    """Delete those of these messages that may go, and give how many; the ledger keeps its rows."""
    is_one = statements.among(tx, messages.c.id, ids)
    return tx.execute(delete(messages).where(is_one, *_is_old(before, account), ~holds.is_held())).rowcount
