"""Statements that are said again and again: built and compiled once, and then run by the driver itself.

To run a small statement takes SQLAlchemy several times as long as the database. Here it is asked once how the statement reads,
and how its values and its columns are translated (times are aware UTC, as everywhere). Raises the driver's own errors, which
`Database` names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Delete, Insert, Select, Update

Statement = Select[Any] | Insert | Update | Delete
Process = Callable[[Any], Any]


def driver(conn: Connection) -> Any:
    """Give the driver's connection; both of ours have `execute`, which gives a cursor."""
    return conn.connection.dbapi_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A statement as a driver takes it.

    names: of its parameters, in their order; None where the driver takes them by name.  constants: values that the statement
    brings.  given, got: how values and columns are translated, those that are.
    """

    text: str
    names: Sequence[str] | None
    constants: dict[str, Any]
    given: Sequence[tuple[str, Process]]
    got: Sequence[tuple[int, Process]]


class Prepared:
    """One statement; its parameters are those that it names by `bindparam`."""

    def __init__(self, make: Callable[[Connection], Statement]) -> None:
        """`make`: builds it; called once for each kind of database."""
        self._make: Final = make
        self._forms: Final[dict[str, _Form]] = {}

    def rows(self, conn: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Run it; give its rows."""
        form = self._forms.get(conn.dialect.name) or self._compiled(conn)
        found: list[tuple[Any, ...]] = self._run(conn, form, values).fetchall()
        if not form.got:
            return found
        rows = []
        for one in found:
            row = list(one)
            for place, process in form.got:
                row[place] = process(row[place])
            rows.append(tuple(row))
        return rows

    def first(self, conn: Connection, **values: Any) -> tuple[Any, ...] | None:
        """Run it; give its only row, None if there is none."""
        found = self.rows(conn, **values)
        return found[0] if found else None

    def run(self, tx: Connection, **values: Any) -> int:
        """Run it; give how many rows it changed."""
        form = self._forms.get(tx.dialect.name) or self._compiled(tx)
        return int(self._run(tx, form, values).rowcount)

    def _run(self, conn: Connection, form: _Form, values: dict[str, Any]) -> Any:
        if form.constants:
            values = form.constants | values
        for name, process in form.given:
            values[name] = process(values[name])
        return driver(conn).execute(form.text, values if form.names is None else [values[name] for name in form.names])

    def _compiled(self, conn: Connection) -> _Form:
        dialect, statement = conn.dialect, self._make(conn)
        compiled: Any = statement.compile(dialect=dialect)
        columns = [one.type.dialect_impl(dialect).result_processor(dialect, None) for one in statement.exported_columns]
        binds = {name: compiled.binds[name] for name in compiled.params}
        translated = {name: one.type.dialect_impl(dialect).bind_processor(dialect) for name, one in binds.items()}
        made = _Form(
            text=compiled.string,
            names=compiled.positiontup,
            constants={name: one.value for name, one in binds.items() if not one.required},
            given=[(name, process) for name, process in translated.items() if process is not None],
            got=[(place, process) for place, process in enumerate(columns) if process is not None],
        )
        self._forms[dialect.name] = made
        return made
