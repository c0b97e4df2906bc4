"""The one door to the database: the only BEGIN, COMMIT and ROLLBACK, and the border where its errors get our names.

`transaction()` is for writing and commits at its end; `reading()` sees one state of the database. Both are short and never
open while a socket is waited on: a thread that is in one can't enter another (OutOfState). Everything else in `store/` takes
the connection and never commits. Raises `errors.StoreError` kinds, nothing of SQLAlchemy's.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from sqlalchemy import Connection

from daemon import errors
from daemon.store.dialect import engine, failures
from daemon.store.dialect.types import SQLITE
from daemon.store.dialect.watch import Watch, open_watch
from daemon.store.group import NotCommitted, Writers

Transaction: TypeAlias = Connection  # what `transaction()` hands out, for jobs that pass it on


class Database:
    """An archive and its outbox, on SQLite or PostgreSQL; safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Nothing is opened or made yet. url: like `sqlite:///postroom.db` or `postgresql+psycopg://…`."""
        self.kind, self._url = engine.parse(url)
        self._engine = engine.make(self.kind, self._url)
        self._translated = (*failures.TRANSLATED, NotCommitted, failures.of_driver(self._engine))
        self._thread = threading.local()
        self._writers = Writers(self._engine) if self.kind == SQLITE else None
        self._version = ""

    @property
    def shown(self) -> str:
        """The address for people, without a password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def engine_version(self) -> str:
        """Name and version of the database engine."""
        if not self._version:
            sqlite = self.kind == SQLITE
            with self.reading() as conn:
                version = conn.exec_driver_sql(
                    "SELECT sqlite_version()" if sqlite else "SHOW server_version"
                ).scalar_one()
            self._version = f"{'SQLite' if sqlite else 'PostgreSQL'} {str(version).split()[0]}"
        return self._version

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, None for a server."""
        return engine.file_of(self._url)

    def exists(self) -> bool:
        """Tell whether there is a database to open; of a server's only opening it tells."""
        return self.file is None or self.file.exists()

    def copy(self, target: Path) -> None:
        """Copy an SQLite database as it is at one instant, whoever writes meanwhile; `target` must not exist yet."""
        with self.reading() as conn:
            try:
                engine.copy(conn, target)
            except OSError as error:
                raise errors.DatabaseUnusable(f"{target}: {error.strerror}") from error

    # --- transactions -----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, joins: bool = False) -> Iterator[Connection]:
        """Hand out a connection to write with; COMMIT at the end, ROLLBACK if the block raises.

        joins: for short ones that many threads need at the same time. On SQLite they may then share one COMMIT; what this
        promises is the same (store/group.py).
        """
        if self._writers is None:
            with self._connected() as conn, engine.begin(conn, engine.WRITING):
                yield conn
        else:
            with self._inside(), self._writers.transaction(joins=joins) as conn:
                yield conn

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hand out a connection that only reads, one state of the database throughout; what is written is lost."""
        with self._connected() as conn, engine.begin(conn, engine.READING) as begun:
            yield conn
            begun.rollback()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Hand out a connection to change the schema with, as in `transaction()`; foreign keys are off on SQLite meanwhile."""
        with self._connected() as conn:
            if self.kind == SQLITE:  # a rebuilt table is dropped, and its children with it
                engine.foreign_keys(conn, on=False)
            try:
                with engine.begin(conn, engine.WRITING):
                    yield conn
            finally:
                if self.kind == SQLITE:
                    engine.foreign_keys(conn, on=True)

    def in_transaction(self) -> bool:
        """Tell whether this thread is in a transaction() or reading() block."""
        return getattr(self._thread, "busy", False)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        if self.in_transaction():
            raise errors.OutOfState("a transaction was begun inside another one of the same thread")
        self._thread.busy = True
        try:
            yield
        except self._translated as error:
            raise failures.translate(error, self.kind, self.shown) from error
        finally:
            self._thread.busy = False

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._inside(), self._engine.connect() as conn:
            yield conn

    def free_octets(self) -> int | None:
        """Give the room left on the disk of an SQLite file; None for a server, whose disk is not ours to see."""
        path = engine.file_of(self._url)
        if path is None:
            return None
        room = os.statvfs(path.resolve().parent)
        return room.f_bavail * room.f_frsize

    def is_held(self) -> bool:
        """Tell whether some program keeps all others from writing to an SQLite file, for a second at least."""
        path = engine.file_of(self._url)
        return path is not None and engine.is_held(path)

    # --- others -----------------------------------------------------------------------------------------------------

    def watch(self) -> Watch:
        """Begin to watch for what others commit; close it after use."""
        return open_watch(self.kind, self._url, self.shown)

    @contextmanager
    def run_lock(self) -> Iterator[None]:
        """Be the only daemon on this SQLite file for the length of the block, or Busy. PostgreSQL knows leases only."""
        path = self.file
        if path is None:
            yield
            return
        path = path.with_name(path.name + ".lock")
        try:
            lock = open(path, "a+", encoding="ascii", opener=lambda name, flags: os.open(name, flags, engine.MODE))  # noqa: SIM115 -- closed by the `with` below
        except OSError as error:
            raise errors.DatabaseUnusable(
                f"{path}: {error.strerror}; the daemon needs to write beside its database"
            ) from error
        with lock:
            self._take(lock)
            yield
            lock.truncate(0)

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise errors.Busy(
                f"postroom run is already at work on {self.shown} (pid {lock.read().strip() or 'unknown'})"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

    def dispose(self) -> None:
        """Close all connections; the object can be used again."""
        self._engine.dispose()
