"""Statements and conditions that the two databases spell differently."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, Table, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from daemon.store import schema
from daemon.store.dialect.types import SQLITE


def kind_of(conn: Connection) -> str:
    """Give the kind of database behind a connection."""
    return conn.dialect.name


def upsert(conn: Connection, table: Table) -> Any:
    """Begin an INSERT … ON CONFLICT; both databases have it, SQLAlchemy keeps it in their dialects."""
    return sqlite.insert(table) if kind_of(conn) == SQLITE else postgresql.insert(table)


def insert_missing(conn: Connection, table: Table) -> Insert:
    """Insert rows; those whose key is there are left as they are."""
    made: Insert = upsert(conn, table).on_conflict_do_nothing()
    return made


def new_ids(tx: Connection, table: Table, count: int) -> Sequence[int]:
    """Reserve ids for rows to be inserted, so that their children can be inserted in bulk too. Never given twice."""
    if kind_of(tx) == SQLITE:
        # AUTOINCREMENT's own book; the write lock of this transaction keeps others out.
        last = tx.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}).scalar() or 0
        return range(last + 1, last + 1 + count)
    statement = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
    return list(tx.execute(statement, {"name": table.name, "count": count}).scalars())


def for_update(conn: Connection, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
    """Lock the rows that are read. SQLite's transaction holds the whole file already."""
    return query if kind_of(conn) == SQLITE else query.with_for_update(skip_locked=skip_locked)


def ledger_key(conn: Connection) -> list[Any]:
    """Give the expressions of the ledger's unique index, as ON CONFLICT takes them."""
    table = schema.ledger.c
    uidl = table.uidl if kind_of(conn) == SQLITE else func.md5(table.uidl)
    return [table.account, uidl, table.occurrence]


def uidl_in(conn: Connection, uidls: Sequence[str]) -> ColumnElement[bool]:
    """Find ledger rows by UIDL through that index."""
    column = schema.ledger.c.uidl
    if kind_of(conn) == SQLITE:
        return column.in_(uidls)
    digests = [hashlib.md5(uidl.encode(), usedforsecurity=False).hexdigest() for uidl in uidls]
    return func.md5(column).in_(digests) & column.in_(uidls)


def count_of(query: Select[Any]) -> Select[tuple[int]]:
    """Count the rows of a query."""
    return select(func.count()).select_from(query.subquery())
