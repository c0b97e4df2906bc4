"""Notice that another connection has committed something, so that a new outbox row leaves at once.

SQLite: `PRAGMA data_version` changes with every commit of another connection, of any process; asking costs microseconds,
and it must be asked outside any transaction. PostgreSQL: LISTEN on a connection of its own; notices are hints, and after a
lost connection one may be missing, so a reconnect counts as a change.
"""

import time
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import URL

from daemon.store.dialect import engine, failures
from daemon.store.dialect.types import POSTGRESQL, SQLITE

ASK_SECONDS: Final = 0.05  # between two looks at SQLite's counter: 0.4 % of a core, and half of it is the mean delay
CHANNEL: Final = "postroom_outbox"


class Watch(Protocol):
    """A look-out for changes that others make."""

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a change; True if there was one since the last wait. Raises StoreError kinds."""

    def close(self) -> None:
        """Let the connection go."""


def open_watch(kind: str, url: URL, shown: str) -> Watch:
    """Begin to watch; raises StoreError kinds."""
    return _SqliteWatch(Path(str(url.database)), shown) if kind == SQLITE else _PostgresqlWatch(url, shown)


class _SqliteWatch:
    def __init__(self, path: Path, shown: str) -> None:
        from pysqlite3 import dbapi2  # noqa: PLC0415 -- each driver is loaded only where it is used

        self._faults, self._shown = dbapi2.Error, shown
        try:
            self._connection = engine.connect_sqlite(path)
            self._version = self._ask()
        except self._faults as error:
            raise failures.translate(error, SQLITE, shown) from error

    def _ask(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def wait(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        try:
            while (version := self._ask()) == self._version:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(ASK_SECONDS, left))
        except self._faults as error:
            raise failures.translate(error, SQLITE, self._shown) from error
        self._version = version
        return True

    def close(self) -> None:
        self._connection.close()


class _PostgresqlWatch:
    def __init__(self, url: URL, shown: str) -> None:
        import psycopg  # noqa: PLC0415 -- each driver is loaded only where it is used

        self._psycopg, self._shown = psycopg, shown
        self._address = url.set(drivername=POSTGRESQL).render_as_string(hide_password=False)
        self._connection = self._connect()

    def _connect(self) -> Any:
        try:
            connection = self._psycopg.connect(
                self._address,
                autocommit=True,
                connect_timeout=engine.CONNECT_SECONDS,
                application_name="postroom watch",
            )
            connection.execute(f"LISTEN {CHANNEL}")
        except self._psycopg.Error as error:
            raise failures.translate(error, POSTGRESQL, self._shown) from error
        return connection

    def wait(self, timeout_seconds: float) -> bool:
        try:
            return any(True for _ in self._connection.notifies(timeout=timeout_seconds, stop_after=1))
        except self._psycopg.OperationalError:
            self._connection.close()
            self._connection = self._connect()
            return True

    def close(self) -> None:
        self._connection.close()
