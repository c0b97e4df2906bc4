"""Column types and server defaults that SQLite and PostgreSQL spell differently.

Times are TEXT `YYYY-MM-DDTHH:MM:SS.mmmZ` on SQLite (they sort as text, and every tool reads them) and timestamptz on
PostgreSQL; Python sees aware UTC datetimes on both, cut to milliseconds, so that both hold the same value. Only INTEGER,
TEXT, BLOB and ANY are used on SQLite, as its STRICT tables allow.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import TIMESTAMP, BigInteger, Dialect, Integer, LargeBinary, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement, FunctionElement
from sqlalchemy.types import TypeEngine, UserDefinedType

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"

ID: Final = BigInteger().with_variant(Integer(), SQLITE)  # INTEGER PRIMARY KEY is the rowid only under that very name
COUNT: Final = BigInteger().with_variant(Integer(), SQLITE)  # octets and counts outgrow 32 bits

# SQLite's now, in the form of every time in the file; also used in triggers.
SQLITE_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%fZ"
SQLITE_NOW: Final = f"strftime('{SQLITE_TIME_FORMAT}', 'now')"


def instant_text(moment: datetime) -> str:
    """Write an aware time as SQLite holds it; what is below a millisecond is cut off."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def instant(text: str) -> datetime:
    """Read a time as SQLite holds it; one that somebody wrote by hand without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is UTC else _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Instant(TypeDecorator[datetime]):
    """A moment: aware UTC in Python."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the database."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == POSTGRESQL else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a naive time: it is a bug of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} is a naive time")
        if dialect.name == SQLITE:
            return instant_text(value)
        return value.replace(microsecond=value.microsecond // 1000 * 1000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give an aware UTC time."""
        if value is None:
            return None
        return instant(value) if dialect.name == SQLITE else _in_utc(value)


class WrittenInstant(Instant):
    """A moment that any program may write as text (`times.py`): text in SQLite's form on PostgreSQL too, and there to be cast."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:  # noqa: ARG002 -- SQLAlchemy's signature
        """Hold it as text."""
        return Text()  # by way of `type_descriptor` psycopg's dialect would make it VARCHAR

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write it as the triggers would."""
        checked = super().process_bind_param(value, dialect)
        return instant_text(checked) if isinstance(checked, datetime) else checked

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy's signature
        """Give an aware UTC time."""
        return None if value is None else instant(value)


class Json(TypeDecorator[Any]):
    """A JSON value kept as TEXT on both, so that the same plain SQL compares and casts it on both."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 -- SQLAlchemy's signature
        """Write it without escapes, so that a person can read the column."""
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 -- SQLAlchemy's signature
        """Read it."""
        return None if value is None else json.loads(value)


class as_octets(FunctionElement[bytes]):  # noqa: N801 -- an SQL function
    """Octets of a column that a person may have filled with text."""

    inherit_cache = True
    type = LargeBinary()


@compiles(as_octets, SQLITE)
def _as_octets_sqlite(element: as_octets, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


@compiles(as_octets)
def _as_octets(element: as_octets, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


class Octets(UserDefinedType[bytes]):
    """Octets that any program may insert, as a blob or as a text literal: ANY on SQLite, bytea on PostgreSQL."""

    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Read text as its UTF-8 octets."""
        return as_octets(column)

    def bind_processor(self, dialect: Dialect) -> Any:
        """Bind as the drivers bind octets."""
        return LargeBinary().dialect_impl(dialect).bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        """Read as the drivers read octets."""
        return LargeBinary().dialect_impl(dialect).result_processor(dialect, coltype)


@compiles(Octets, SQLITE)
def _octets_sqlite(_type: Octets, _compiler: Any, **_options: Any) -> str:
    return "ANY"


@compiles(Octets, POSTGRESQL)
def _octets_postgresql(_type: Octets, _compiler: Any, **_options: Any) -> str:
    return "BYTEA"


class utc_now(FunctionElement[datetime]):  # noqa: N801 -- an SQL function
    """The database's clock, for defaults."""

    inherit_cache = True
    type = Instant()


@compiles(utc_now, SQLITE)
def _now_sqlite(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return f"({SQLITE_NOW})"


@compiles(utc_now, POSTGRESQL)
def _now_postgresql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "now()"
