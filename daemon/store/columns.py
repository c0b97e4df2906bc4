"""The shapes that columns and tables of the schema have: names, types, defaults, and the checks that both databases can read."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, ColumnElement, Index, MetaData, Table, Text, text

from daemon.store.dialect.types import COUNT, POSTGRESQL, SQLITE, Instant, utc_now

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """Hold a column to a choice of words."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def not_negative(*columns: str) -> CheckConstraint:
    """Hold counters to what can be counted."""
    return CheckConstraint(" AND ".join(f"{column} >= 0" for column in columns), name="not_negative")


def moment(column: str) -> tuple[CheckConstraint, CheckConstraint]:
    """Hold a time to what Python reads and, on SQLite, where it is text, to the one form that sorts as text."""
    name = f"{column}_form"
    return (
        CheckConstraint(f"{column} IS strftime('%Y-%m-%dT%H:%M:%fZ', {column})", name=name).ddl_if(dialect=SQLITE),
        CheckConstraint(f"{column} BETWEEN '1970-01-01Z' AND '9999-12-31Z'", name=name).ddl_if(dialect=POSTGRESQL),
    )


def table(name: str, *parts: Any, sqlite_autoincrement: bool = False, sqlite_with_rowid: bool = True) -> Table:
    """Make a table, STRICT on SQLite. sqlite_with_rowid: False if it is read by its key alone, and its rows are short."""
    return Table(
        name,
        METADATA,
        *parts,
        sqlite_strict=True,
        sqlite_autoincrement=sqlite_autoincrement,
        sqlite_with_rowid=sqlite_with_rowid,
    )


def words(name: str, default: str | None = None, *, nullable: bool = False) -> Column[Any]:
    """Make a column for text that is always there."""
    return Column(name, Text, nullable=nullable, server_default=default)


def maybe(name: str, kind: Any = Text) -> Column[Any]:
    """Make a column that may be NULL."""
    return Column(name, kind, nullable=True)


def count(name: str) -> Column[Any]:
    """Make a counter that begins at 0."""
    return Column(name, COUNT, nullable=False, server_default=text("0"))


def now(name: str) -> Column[Any]:
    """Make a column for the time of the INSERT."""
    return Column(name, Instant, nullable=False, server_default=utc_now())


def partial(name: str, column: Column[Any], condition: ColumnElement[bool] | None = None) -> Index:
    """Index only the rows where the condition holds, or else where the column has a value."""
    condition = column.is_not(None) if condition is None else condition
    return Index(name, column, sqlite_where=condition, postgresql_where=condition)


def lookup(column: Column[Any]) -> tuple[Index, Index]:
    """Index a column that mail fills, of any length: PostgreSQL's btree refuses entries over 2704 bytes, its hash index none."""
    table = column.table
    name, present = f"ix_{table.name}_{column.name}", column.is_not(None)
    return (
        Index(name, column, sqlite_where=present).ddl_if(dialect=SQLITE),
        Index(name, column, postgresql_using="hash", postgresql_where=present).ddl_if(dialect=POSTGRESQL),
    )
