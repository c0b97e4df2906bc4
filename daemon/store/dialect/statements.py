"""Statements and conditions that the two databases spell differently."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    update,
)

from daemon.store import schema
from daemon.store.dialect.prepared import Prepared, driver
from daemon.store.dialect.types import SQLITE, Instant


def kind_of(conn: Connection) -> str:
    """Give the kind of database behind a connection."""
    return conn.dialect.name


def upsert(conn: Connection, table: Table) -> Any:
    """Begin an INSERT … ON CONFLICT; both databases have it, SQLAlchemy keeps it in their dialects."""
    if kind_of(conn) == SQLITE:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 -- each dialect is loaded only where it is used

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 -- it costs a quick look at SQLite 50 ms

    return postgresql.insert(table)


def insert_missing(conn: Connection, table: Table) -> Insert:
    """Insert rows; those whose key is there are left as they are."""
    made: Insert = upsert(conn, table).on_conflict_do_nothing()
    return made


_ASSIGNMENTS: Final[dict[tuple[Column[Any], tuple[str, ...]], Prepared]] = {}


def assign(tx: Connection, key: Column[Any], value: str | int, values: dict[str, Any]) -> int:
    """Update the row with this key; give how many there are. values: by column; the statement is built once for the same ones.

    A value may be an expression, which then stands in a statement of its own.
    """
    if any(isinstance(one, ColumnElement) for one in values.values()):
        return tx.execute(update(key.table).where(key == value).values(values)).rowcount
    names = tuple(values)
    if (key, names) not in _ASSIGNMENTS:
        places = {name: bindparam(f"to_{name}", type_=key.table.c[name].type) for name in names}
        statement = update(key.table).where(key == bindparam("of_key")).values(places)
        _ASSIGNMENTS[key, names] = Prepared(lambda _tx: statement)
    return _ASSIGNMENTS[key, names].run(tx, of_key=value, **{f"to_{name}": one for name, one in values.items()})


def new_ids(tx: Connection, table: Table, count: int) -> Sequence[int]:
    """Reserve ids for rows to be inserted, so that their children can be inserted in bulk too. Never given twice."""
    if kind_of(tx) == SQLITE:
        # AUTOINCREMENT's own book; the write lock of this transaction keeps others out.
        row = driver(tx).execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone()
        last = 0 if row is None else int(row[0])
        return range(last + 1, last + 1 + count)
    statement = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"
    return [key for (key,) in driver(tx).execute(statement, (table.name, count))]


def for_update(conn: Connection, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
    """Lock the rows that are read. SQLite's transaction holds the whole file already."""
    return query if kind_of(conn) == SQLITE else query.with_for_update(skip_locked=skip_locked)


def for_share(conn: Connection, query: Select[Any]) -> Select[Any]:
    """Keep the rows that are read from being deleted by others until the end of the transaction, as a foreign key does."""
    return query if kind_of(conn) == SQLITE else query.with_for_update(read=True, key_share=True)


def lock(tx: Connection, table: Table, ids: Collection[int]) -> None:
    """Lock rows by their `id`, in its order, before they are read and written. SQLite's transaction holds the whole file already."""
    if kind_of(tx) != SQLITE:
        tx.execute(select(table.c.id).where(table.c.id.in_(list(ids))).order_by(table.c.id).with_for_update())


def alone(tx: Connection, what: str) -> None:
    """Be the only one at this until the end of the transaction. SQLite's transaction is alone with the whole file already."""
    if kind_of(tx) != SQLITE:
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": f"postroom {what}"})


def ledger_key(conn: Connection) -> list[Any]:
    """Give the expressions of the ledger's unique index, as ON CONFLICT takes them."""
    table = schema.ledger.c
    uidl = table.uidl if kind_of(conn) == SQLITE else func.md5(table.uidl)
    return [table.account, uidl, table.occurrence]


def uidl_in(conn: Connection, uidls: Sequence[str]) -> ColumnElement[bool]:
    """Find ledger rows by UIDL through that index."""
    column = schema.ledger.c.uidl
    if kind_of(conn) == SQLITE:
        return among(conn, column, uidls)
    return among(conn, func.md5(column, type_=Text), _digests(uidls)) & among(conn, column, uidls)


def uidl_given(conn: Connection) -> list[ColumnElement[bool]]:
    """Do as `uidl_in` in a query for `gather`, which is given `uidl_values`."""
    column = schema.ledger.c.uidl
    if kind_of(conn) == SQLITE:
        return [among_given(conn, column, "uidls")]
    return [
        among_given(conn, func.md5(column, type_=Text), "digests"),
        among_given(conn, column, "uidls"),
    ]


def uidl_values(conn: Connection, uidls: Sequence[str]) -> dict[str, list[str]]:
    """Give the values of the parameters of `uidl_given`."""
    return {"uidls": list(uidls)} if kind_of(conn) == SQLITE else {"uidls": list(uidls), "digests": _digests(uidls)}


def _digests(uidls: Sequence[str]) -> list[str]:
    return [hashlib.md5(uidl.encode(), usedforsecurity=False).hexdigest() for uidl in uidls]


def present(conn: Connection, column: Column[str], texts: Sequence[str]) -> set[str]:
    """Give those of many texts that stand in a column with an index on it, in one statement, which is compiled once."""
    if not texts:
        return set()
    name = f"{column.table.name}.{column.name}"
    if kind_of(conn) == SQLITE:
        # CROSS: from the given texts to the index, never the other way round.
        statement = f"SELECT {name} FROM json_each(?) AS given CROSS JOIN {column.table.name} ON {name} = given.value"  # noqa: S608 -- names of our own tables and columns
        given: Any = json.dumps(list(texts), ensure_ascii=False)
    else:
        statement = f"SELECT {name} FROM {column.table.name} WHERE {name} = ANY(%s)"  # noqa: S608 -- names of our own tables and columns
        given = list(texts)
    return {found for (found,) in driver(conn).execute(statement, (given,)).fetchall()}


# --- many rows at once ----------------------------------------------------------------------------------------------
#
# What a poll does for every message. The drivers are given rows as they want them: SQLAlchemy's work for each row and
# column would cost more than the database's. On SQLite a statement takes many rows, and gives many back as one value: the
# driver lets go of Python's lock for each row that it steps through and wants it back after it, which beside a busy thread
# takes until that one waits for something, or 5 ms (`sys.getswitchinterval`).

ROWS_A_STATEMENT: Final = 200  # of one INSERT: with eleven columns far below the 32,766 parameters that SQLite takes

_COMPILED: Final[dict[tuple[str, Callable[[Connection], Insert]], tuple[str, Sequence[str] | None]]] = {}


def bulk(tx: Connection, make: Callable[[Connection], Insert], rows: Sequence[dict[str, Any]]) -> None:
    """Run an INSERT for many rows. make: a function that gives it, always the same one; it is compiled once.

    rows: all of one shape, always the same one, of two columns at least; values as `ready` makes them.
    """
    key = kind_of(tx), make
    if key not in _COMPILED:
        compiled = make(tx).compile(dialect=tx.dialect, column_keys=list(rows[0]))
        _COMPILED[key] = compiled.string, compiled.positiontup
    statement, names = _COMPILED[key]
    if names is None:
        driver(tx).cursor().executemany(statement, rows)
        return
    pick, one = itemgetter(*names), f"({', '.join('?' * len(names))})"
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        part = rows[start : start + ROWS_A_STATEMENT]
        many = statement.replace(one, ", ".join([one] * len(part)), 1)
        driver(tx).execute(many, tuple(chain.from_iterable(map(pick, part))))


def among(conn: Connection, column: ColumnElement[Any], values: Sequence[str] | Sequence[int]) -> ColumnElement[bool]:
    """Find rows whose column is one of many values, given as one parameter: however many, it is the same statement."""
    if kind_of(conn) == SQLITE:
        given = func.json_each(json.dumps(values)).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(literal(values, ARRAY(column.type)))


def together(conn: Connection, query: Select[Any]) -> list[Any]:
    """Give the rows of a query for numbers and texts, as the driver has them, all at once; `moments` reads their times."""
    if kind_of(conn) == SQLITE:
        return list(json.loads(conn.execute(_in_one_value(query)).scalar_one()))
    return list(conn.execute(query))


_GATHERED: Final[dict[Callable[[Connection], Select[Any]], Prepared]] = {}


def gather(conn: Connection, make: Callable[[Connection], Select[Any]], **given: Any) -> list[Any]:
    """Do as `together` with a query that is built once. make: a function that gives it, always the same one.

    given: values of its parameters; a list is one of `among_given`.
    """
    if make not in _GATHERED:
        _GATHERED[make] = Prepared(lambda conn: _in_one_value(make(conn)) if kind_of(conn) == SQLITE else make(conn))
    if kind_of(conn) != SQLITE:
        return _GATHERED[make].rows(conn, **given)
    parameters = {name: json.dumps(one) if isinstance(one, list) else one for name, one in given.items()}
    ((rows,),) = _GATHERED[make].rows(conn, **parameters)
    return list(json.loads(rows))


def _in_one_value(query: Select[Any]) -> Select[Any]:
    return query.with_only_columns(func.json_group_array(func.json_array(*query.selected_columns)))


def listed(conn: Connection, values: Sequence[str] | Sequence[int]) -> Any:
    """Give the value of the parameter of `among_given`."""
    return json.dumps(list(values)) if kind_of(conn) == SQLITE else list(values)


def among_given(conn: Connection, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Find rows as `among` does, in a query for `gather`. name: of the parameter that holds the values."""
    if kind_of(conn) == SQLITE:
        given = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def fill(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows of numbers and texts, values as `ready` makes them; there may be none. names: of the columns, in their order."""
    into = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "  # noqa: S608 -- names of our own tables and columns
    if kind_of(tx) == SQLITE:
        one = f"({', '.join('?' * len(names))})"
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            driver(tx).execute(into + ", ".join([one] * len(part)), tuple(chain.from_iterable(part)))
    elif rows:
        driver(tx).cursor().executemany(f"{into}({', '.join(['%s'] * len(names))})", rows)


def rewrite(
    tx: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    by: Sequence[str] = ("id",),
    counted: Sequence[str] = (),
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Update rows by the columns of their key. rows: all of one shape, numbers and texts, values as `ready` makes them.

    counted: further columns, that go up by one.  fixed: those that come to the same in all rows.  On SQLite one statement takes all rows, as JSON: run for each row, the driver
    would want Python's lock back after each, which in a thread beside a busy one it gets after 5 ms (`sys.getswitchinterval`).
    """
    if not rows:
        return
    names = list(rows[0])
    if kind_of(tx) == SQLITE:
        given = {name: f"given.value->>{place}" for place, name in enumerate(names)} | dict.fromkeys(fixed, "?")
    else:
        given = {name: f"%({name})s" for name in (*names, *fixed)}
    setting = [f"{name} = {value}" for name, value in given.items() if name not in by]
    setting += [f"{name} = {name} + 1" for name in counted]
    where = " AND ".join(f"{table.name}.{name} = {given[name]}" for name in by)
    source = " FROM json_each(?) AS given" if kind_of(tx) == SQLITE else ""
    statement = f"UPDATE {table.name} SET {', '.join(setting)}{source} WHERE {where}"  # noqa: S608 -- names of our own tables and columns
    if kind_of(tx) == SQLITE:
        _run_json(tx, statement, rows, *fixed.values())
    else:
        driver(tx).cursor().executemany(statement, [{**row, **fixed} for row in rows])


def rewrite_long(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Do as `rewrite` with rows of long texts, which are bound one by one: as JSON they would be written and read once more.

    names: of the columns; the first is the key.
    """
    key, *others = names
    if kind_of(tx) != SQLITE:
        setting = ", ".join(f"{name} = %s" for name in others)
        if rows:
            statement = f"UPDATE {table.name} SET {setting} WHERE {key} = %s"  # noqa: S608 -- names of our own tables and columns
            tx.exec_driver_sql(statement, [(*row[1:], row[0]) for row in rows])
        return
    setting = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(others, start=2))
    one = f"({', '.join('?' * len(names))})"
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        part = rows[start : start + ROWS_A_STATEMENT]
        values = ", ".join([one] * len(part))
        statement = f"UPDATE {table.name} SET {setting} FROM (VALUES {values}) AS given WHERE {table.name}.{key} = given.column1"  # noqa: S608 -- names of our own tables and columns
        driver(tx).execute(statement, tuple(chain.from_iterable(part)))


def renew(tx: Connection, table: Table, rows: Sequence[dict[str, Any]], *, by: Sequence[str]) -> None:
    """Update rows as if they were new. rows: all of one shape, values as the driver takes them.  by: the columns of their key.

    On SQLite they move behind all others: in its place, a row that gets smaller leaves the room around it unused for ever.
    """
    if rows:
        values = [name for name in rows[0] if name not in by]
        is_sqlite = kind_of(tx) == SQLITE
        setting = [f"{name} = :{name}" if is_sqlite else f"{name} = %({name})s" for name in values]
        where = [f"{name} = :{name}" if is_sqlite else f"{name} = %({name})s" for name in by]
        if is_sqlite:
            setting.append(f"rowid = (SELECT max(rowid) + 1 FROM {table.name})")  # noqa: S608 -- names of our own tables and columns
        statement = f"UPDATE {table.name} SET {', '.join(setting)} WHERE {' AND '.join(where)}"  # noqa: S608 -- names of our own tables and columns
        tx.exec_driver_sql(statement, list(rows))


def _run_json(tx: Connection, statement: str, rows: Sequence[dict[str, Any]], *before: Any) -> None:
    values = json.dumps([list(row.values()) for row in rows], ensure_ascii=False)
    driver(tx).execute(statement, (*before, values))


_INSTANT: Final = Instant()


def ready(tx: Connection, moment: datetime | None) -> Any:
    """Give a time as the driver takes it; None stays None."""
    return _INSTANT.process_bind_param(moment, tx.dialect)


def raw_rows(conn: Connection, query: Select[Any], given: dict[str, Any] | None = None) -> list[Any]:
    """Give rows as the driver gives them, from a table that only we write; `moments` reads their times."""
    result = conn.execute(query, given)
    reader = driver(conn)
    before = getattr(reader, "text_factory", None)
    if before is not None:
        reader.text_factory = str  # what we wrote is UTF-8: no function need be called for each text
    try:
        rows = list(result.cursor.fetchall())
    finally:
        if before is not None:
            reader.text_factory = before
    result.close()
    return rows


def written_out(conn: Connection, columns: Sequence[Column[Any]], *, by: Column[Any]) -> ColumnElement[str]:
    """Gather a group's rows into one JSON array of arrays, by the database itself: 20,000 take it 5 ms, and Python 20.

    On SQLite the rows come in the order of `by` where an index gives them so; it is no matter of right and wrong.
    """
    if kind_of(conn) == SQLITE:
        return func.json_group_array(func.json_array(*columns), type_=Text)
    from sqlalchemy.dialects.postgresql import aggregate_order_by  # noqa: PLC0415 -- as in `upsert`

    return cast(func.json_agg(aggregate_order_by(func.json_build_array(*columns), by)), Text)


def moments(conn: Connection) -> Callable[[Any], Any]:
    """Give a function that reads times of `raw_rows`, each only once: those of one batch are equal."""
    read, seen = Instant().process_result_value, dict[Any, Any]()

    def moment(value: Any) -> Any:
        found = seen.get(value)
        if found is None and value is not None:
            found = seen[value] = read(value, conn.dialect)
        return found

    return moment
