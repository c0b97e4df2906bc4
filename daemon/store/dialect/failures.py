"""What a database driver's error means: one of the kinds of `errors.StoreError`, with a line for an operator."""

from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, ResourceClosedError

from daemon import errors
from daemon.store.dialect.types import SQLITE

Kind = type[errors.StoreError]

_HELP: Final[dict[Kind, str]] = {
    errors.DatabaseBusy: "another process held it too long; try again",
    errors.DatabaseFull: "the disk is full; free some room, nothing that was acknowledged is lost",
    errors.DatabaseUnusable: "check POSTROOM_DATABASE_URL, the rights of the file and its directory, and `postroom db upgrade`",
}

# SQLite's primary result codes, as the driver names them.
_SQLITE: Final[dict[str, Kind]] = {
    "SQLITE_BUSY": errors.DatabaseBusy,
    "SQLITE_LOCKED": errors.DatabaseBusy,
    "SQLITE_FULL": errors.DatabaseFull,
    "SQLITE_CANTOPEN": errors.DatabaseUnusable,
    "SQLITE_CORRUPT": errors.DatabaseUnusable,
    "SQLITE_NOTADB": errors.DatabaseUnusable,
    "SQLITE_PERM": errors.DatabaseUnusable,
    "SQLITE_READONLY": errors.DatabaseUnusable,
    "SQLITE_AUTH": errors.DatabaseUnusable,
    "SQLITE_CONSTRAINT": errors.RowRefused,
    "SQLITE_MISMATCH": errors.RowRefused,
    "SQLITE_TOOBIG": errors.RowRefused,
}

# PostgreSQL's SQLSTATE: whole codes first, then classes (the first two characters).
_POSTGRESQL: Final[dict[str, Kind]] = {
    "40001": errors.DatabaseBusy,  # serialization_failure
    "40P01": errors.DatabaseBusy,  # deadlock_detected
    "55P03": errors.DatabaseBusy,  # lock_not_available
    "53100": errors.DatabaseFull,  # disk_full
    "P0001": errors.RowRefused,  # raise_exception
    "25006": errors.DatabaseUnusable,  # read_only_sql_transaction
    "22": errors.RowRefused,  # data_exception
    "23": errors.RowRefused,  # integrity_constraint_violation
    "28": errors.DatabaseUnusable,  # invalid_authorization_specification
    "3D": errors.DatabaseUnusable,  # invalid_catalog_name
    "42": errors.DatabaseUnusable,  # undefined table or column, missing right
}


def translate(error: Exception, kind: str, shown: str) -> errors.StoreError:
    """Name what happened. kind: of the database.  shown: its address without the password."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split())
    if isinstance(cause, UnicodeError):
        return errors.RowRefused("a text that is not valid Unicode can't be stored")
    if isinstance(cause, OverflowError):
        return errors.RowRefused(f"a number is too large for the database: {text}")
    found = _sqlite(cause, text) if kind == SQLITE else _postgresql(cause)
    if found is errors.RowRefused:
        return errors.RowRefused(_reason(cause, text))
    help_text = _HELP.get(found, "")
    return found(f"database {shown}: {text}" + (f" ({help_text})" if help_text else ""))


def _sqlite(cause: Any, text: str) -> Kind:
    name = getattr(cause, "sqlite_errorname", None) or ""
    for known, kind in _SQLITE.items():
        if name == known or name.startswith(f"{known}_"):
            return kind
    # SQLite says no more than SQLITE_ERROR for these.
    if "no such table" in text or "no such column" in text:
        return errors.DatabaseUnusable
    return errors.StoreError


def _postgresql(cause: Any) -> Kind:
    state = getattr(cause, "sqlstate", None) or ""
    if not state and type(cause).__name__ == "DataError":  # NUL in a text: psycopg itself refuses it
        return errors.RowRefused
    return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2]) or errors.StoreError


def _reason(cause: Any, text: str) -> str:
    """PostgreSQL's sentence without the CONTEXT lines that follow it."""
    diagnosis = getattr(cause, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or text)


# What comes out of SQLAlchemy for a fault that is the database's or a value's, not a bug of ours.
TRANSLATED: Final = (DBAPIError, ResourceClosedError, UnicodeError, OverflowError)


def of_driver(engine: Engine) -> type[Exception]:
    """Give what comes out of the driver itself, where a statement is run without SQLAlchemy."""
    driver: Any = engine.dialect.loaded_dbapi
    found: type[Exception] = driver.Error
    return found
