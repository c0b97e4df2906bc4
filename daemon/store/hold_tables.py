"""The tables of legal holds (`store/holds.py`); the triggers that refuse a DELETE stand in `dialect/holding.py`."""

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table

from daemon.store import columns
from daemon.store.dialect.types import ID

holds: Final[Table] = columns.table(
    "holds",
    Column("id", ID, primary_key=True),
    columns.maybe("account"),
    columns.maybe("query"),
    columns.words("reason"),
    columns.now("added_at"),
    CheckConstraint("account IS NOT NULL OR query IS NOT NULL", name="of_what"),
    CheckConstraint("reason <> ''", name="reason"),
    sqlite_autoincrement=True,
)

# What the query of a hold found.
held_messages: Final[Table] = columns.table(
    "held_messages",
    Column("hold", ID, ForeignKey(holds.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("message", ID, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
Index(None, held_messages.c.message)
