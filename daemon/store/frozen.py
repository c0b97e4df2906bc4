"""An SQLite file that nobody writes, a backup: opened without a lock or a log beside it, and looked through from end to end.

Raises DatabaseUnusable for a file that is no database of ours, or a damaged one; StoreError kinds of the driver's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import Any, Final, NamedTuple

from pysqlite3 import dbapi2
from sqlalchemy import Connection, NullPool, create_engine

from daemon import errors
from daemon.store import archive, sources, upgrade
from daemon.store.dialect import failures
from daemon.store.dialect.types import SQLITE

MESSAGES_A_LOOK: Final = 200  # hashed between two words of progress
FAULTS_SHOWN: Final = 3  # of those that SQLite finds

Progress = Callable[[str, int, int], None]  # what is done, how far, of how much


class Contents(NamedTuple):
    """What is in a file. broken: ids of messages that are not what was received.  is_current: of this version's schema."""

    revision: str
    is_current: bool
    messages: int
    broken: tuple[int, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """Hand out a connection that reads the file as it lies there; what a log beside it holds is not seen."""

    def connect() -> Any:
        connection = dbapi2.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        connection.text_factory = methodcaller("decode", "utf-8", "replace")
        return connection

    engine = create_engine("sqlite://", module=dbapi2, creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as conn:
            yield conn
    except (*failures.TRANSLATED, dbapi2.Error) as error:
        raise failures.translate(error, SQLITE, str(path)) from error


def looked_at(path: Path) -> Contents:
    """Tell what a file says that it is, without looking further."""
    with opened(path) as conn:
        revision = upgrade.revision(conn)
        if revision is None:
            raise errors.DatabaseUnusable(f"{path}: not a database of postroom")
        is_current = revision == upgrade.head()
        return Contents(revision, is_current, archive.count(conn) if is_current else 0)


def examined(path: Path, progress: Progress) -> Contents:
    """Read it all: SQLite's own check of every page, and the SHA-256 of every message; DatabaseUnusable if a page is damaged.

    Of an older version's file the hashes are left out: `postroom db upgrade`, then `db verify`.
    """
    found = looked_at(path)
    with opened(path) as conn:
        progress("check pages", 0, 0)
        faults = list(conn.exec_driver_sql("PRAGMA integrity_check").scalars())
        if faults != ["ok"]:
            raise errors.DatabaseUnusable(f"{path}: damaged: {'; '.join(map(str, faults[:FAULTS_SHOWN]))}")
        broken: list[int] = []
        after = done = 0
        while found.is_current and (ids := archive.ids(conn, after=after, limit=MESSAGES_A_LOOK)):
            broken += sorted(set(ids) - sources.proven(conn, ids, headers_too=True))
            after, done = ids[-1], done + len(ids)
            progress("check messages", done, found.messages)
    return found._replace(broken=tuple(broken))
