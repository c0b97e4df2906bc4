"""How a connection to each database is made: SQLAlchemy's engine, SQLite's pragmas and its transactions.

SQLite: write-ahead log and synchronous=FULL, so that a COMMIT that returned is on the disk (what is deleted on a server
after it is safe); a writer takes its lock at BEGIN, since a reader that turns writer fails at once with BUSY_SNAPSHOT. The
driver is pysqlite3, which brings an SQLite without the WAL-reset fault of 3.7.0-3.51.2 that the system's may have.
"""

import contextlib
import os
from collections.abc import Iterable
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from daemon import errors
from daemon.store.dialect.prepared import driver
from daemon.store.dialect.types import POSTGRESQL, SQLITE

BUSY_MILLISECONDS: Final = 5000  # a writer waits this long for another one; ours hold the lock for milliseconds
LOOK_SECONDS: Final = 1.0  # ours hold the lock for milliseconds
POOLED: Final = 8  # connections kept open between uses
OVERFLOW: Final = 56  # more threads than the house ever has find a connection
PAGE_OCTETS: Final = 8192  # three small messages to a page: with SQLite's own 4096 the file is 40 % larger
CACHE_KIB: Final = (
    16 * 1024
)  # pages of a connection in memory; a batch of 200 messages fits without being written twice
HEAP_OCTETS: Final = 50_331_648  # of all connections of the process together: eight caches would hold 128 MiB for ever
MODE: Final = (
    0o660  # of a new database file, before the umask: the group may query and insert; -wal and -shm inherit it
)
CONNECT_SECONDS: Final = 10  # until a PostgreSQL server that does not answer is given up

WRITING: Final = "BEGIN IMMEDIATE"
READING: Final = "BEGIN DEFERRED"


def parse(text: str) -> tuple[str, URL]:
    """Give the kind of database and its URL; DatabaseUnusable says what is wrong with it."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise errors.DatabaseUnusable(
            "POSTROOM_DATABASE_URL is not a database URL; it looks like sqlite:///postroom.db"
        ) from error
    kind = url.get_backend_name()
    if kind == SQLITE:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise errors.DatabaseUnusable("POSTROOM_DATABASE_URL: SQLite needs a file, like sqlite:///postroom.db")
        return kind, url
    if kind == POSTGRESQL:
        return kind, url.set(drivername="postgresql+psycopg")
    raise errors.DatabaseUnusable(f"POSTROOM_DATABASE_URL: {kind} is not supported; SQLite and PostgreSQL are")


def file_of(url: URL) -> Path | None:
    """Give the file of an SQLite database, None for a server."""
    return Path(str(url.database)) if url.get_backend_name() == SQLITE else None


def make(kind: str, url: URL) -> Engine:
    """Make the engine; nothing is opened yet."""
    return _sqlite(url) if kind == SQLITE else _postgresql(url)


def copy(connection: Connection, target: Path) -> None:
    """Copy an SQLite database into a new file; OSError where that can't be made."""
    from pysqlite3 import dbapi2  # noqa: PLC0415 -- only where there is an SQLite database

    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, MODE))
    with contextlib.closing(dbapi2.connect(str(target))) as into:
        driver(connection).backup(into)


def begin(connection: Connection, how: str) -> RootTransaction:
    """Begin a transaction; raises the driver's own errors too. how: WRITING, or READING, which sees one state throughout.

    Not in a listener for SQLAlchemy's event: with one on the engine, each statement looks for listeners of its own, which was a
    fifth of all that Python does in a visit of a small maildrop.
    """
    if connection.dialect.name == SQLITE:
        transaction = connection.begin()
        driver(connection).execute(how).close()
        return transaction
    if how == READING:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return connection.begin()


# --- SQLite ---------------------------------------------------------------------------------------------------------


def _sqlite(url: URL) -> Engine:
    from pysqlite3 import dbapi2  # noqa: PLC0415 -- each driver is loaded only where it is used

    path = Path(str(url.database))
    return create_engine(
        url,
        module=dbapi2,
        creator=partial(connect_sqlite, path),
        pool_size=POOLED,
        max_overflow=OVERFLOW,
        pool_use_lifo=True,
    )


def connect_sqlite(path: Path) -> Any:
    """Open a connection as every one of ours is; the file is made first if need be, with the rights that a group needs."""
    from pysqlite3 import dbapi2  # noqa: PLC0415 -- each driver is loaded only where it is used

    with contextlib.suppress(OSError):  # it is there already, or SQLite says better what is wrong
        # O_EXCL: closing a descriptor of a file that is in use would drop every POSIX lock that this process has on it, and
        # the next program to come and go would delete the write-ahead log under our hands.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, MODE))
    connection = dbapi2.connect(
        str(path), timeout=BUSY_MILLISECONDS / 1000, isolation_level=None, check_same_thread=False
    )
    # A program may have inserted a text that is not UTF-8: it must be readable, or it would stop every reader of its table.
    connection.text_factory = methodcaller("decode", "utf-8", "replace")
    try:
        for pragma in (
            f"page_size={PAGE_OCTETS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            f"cache_size=-{CACHE_KIB}",
            f"soft_heap_limit={HEAP_OCTETS}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def is_held(path: Path) -> bool:
    """Tell whether another connection holds an SQLite file's write lock for LOOK_SECONDS; nothing is written."""
    from pysqlite3 import dbapi2  # noqa: PLC0415 -- each driver is loaded only where it is used

    connection = dbapi2.connect(str(path), timeout=LOOK_SECONDS, isolation_level=None)
    try:
        connection.execute(WRITING).close()
        connection.execute("ROLLBACK").close()
    except dbapi2.OperationalError as error:  # who may only read is told so, which is no lock
        return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_BUSY")
    finally:
        connection.close()
    return False


def run(connection: Connection, statements: Iterable[str]) -> None:
    """Run statements as they stand: a `%` in them is no placeholder."""
    for statement in statements:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def foreign_keys(connection: Connection, *, on: bool) -> None:
    """Switch foreign keys on one connection; SQLite takes it outside a transaction only."""
    driver(connection).execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}").close()


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=POOLED,
            max_overflow=OVERFLOW,
            pool_pre_ping=True,  # a server that was restarted is noticed before work is begun on a dead connection
            connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "postroom"},
        )
    except ModuleNotFoundError as error:
        raise errors.DatabaseUnusable("PostgreSQL needs its driver: pip install 'postroom[postgres]'") from error
