"""Copy an SQLite database while others write it: consistent, examined, and under its name only when it is whole and safe.

One read transaction sees one state from the first page to the last (write-ahead log), so that a busy daemon neither waits nor
makes the copy begin anew. The copy is one file without a log beside it, page for page the database, so that what copies only
what has changed (rsync, restic, borg, a file system's snapshots) finds most of it unchanged. For each time all is written, as
all has to be read again to be sure of it. PostgreSQL has tools of its own.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2

from daemon import errors
from daemon.store import exchange, frozen, sources
from daemon.store.database import Database
from daemon.store.dialect import engine, failures
from daemon.store.dialect.types import SQLITE
from daemon.store.frozen import Contents, Progress

PAGES_A_STEP: Final = 2048  # 16 MiB between two words of progress
MODE: Final = 0o600  # of a backup: all mail is in it, and what envelope ids are signed with


def back_up(database: Database, path: Path, progress: Progress) -> Contents:
    """Write a backup of a database in use; an earlier backup of that name is replaced once the new one is sound.

    Contents.broken names messages that are broken in the database itself. InputInvalid for a place that is not ours to write.
    """
    source = file_of(database, "pg_dump --format=custom --file=FILE")
    _refuse_others(source, path)
    with _part(path) as part:
        _copy(source, part, progress)
        exchange.synced(part)
        found = frozen.examined(part, progress)
        if found.broken:
            with database.reading() as conn:
                spoilt = sources.proven(conn, found.broken, headers_too=True)
            if spoilt:
                raise errors.StoreError(
                    f"{path}: {len(spoilt)} messages were not copied as they are; the disk there may be failing"
                )
        exchange.put_in_place(part, path)
    return found


def file_of(database: Database, instead: str) -> Path:
    """Give the file of an SQLite database; InputInvalid says what does it instead on PostgreSQL."""
    if database.file is None:
        raise errors.InputInvalid(f"{database.shown} is PostgreSQL, which has its own tool for this: {instead}")
    return database.file


def _refuse_others(source: Path, path: Path) -> None:
    """Overwrite nothing but an earlier backup."""
    if not path.parent.is_dir():
        raise errors.InputInvalid(f"{path.parent}: no such directory")
    if not path.exists():
        return
    if path.samefile(source):
        raise errors.InputInvalid(f"{path} is the database itself")
    in_use = [path.name + end for end in exchange.SIDE_FILES if path.with_name(path.name + end).exists()]
    try:
        frozen.looked_at(path)
    except errors.StoreError as error:
        raise errors.InputInvalid(
            f"{path} is there already, and is no backup: {error}; nothing is overwritten"
        ) from error
    if in_use:
        raise errors.InputInvalid(f"{path} is a database in use ({in_use[0]} is beside it); nothing is overwritten")


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """Hold the name under which a backup is written; what a killed process left there is overwritten."""
    part = path.with_name(f".{path.name}.part")
    lock = os.open(part, os.O_CREAT | os.O_RDWR, MODE)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.Busy(f"{path}: another backup is being written there") from error
        try:
            os.fchmod(lock, MODE)
            os.ftruncate(lock, 0)
            yield part
        except BaseException:
            exchange.removed(part)
            raise
    finally:
        os.close(lock)


def _copy(source: Path, part: Path, progress: Progress) -> None:
    def told(_status: int, left: int, total: int) -> None:
        progress("copy pages", total - left, total)

    try:
        reader: Any = engine.connect_sqlite(source)
        writer = dbapi2.connect(str(part), isolation_level=None)
        try:
            # Nobody reads it before it is synced and examined, so that nothing of it needs a journal.
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):
                writer.execute(f"PRAGMA {pragma}").close()
            reader.execute("BEGIN").close()
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on, one state
            reader.backup(writer, pages=PAGES_A_STEP, progress=told)
            reader.execute("ROLLBACK").close()
            writer.execute(
                "PRAGMA journal_mode=DELETE"
            ).close()  # in its header: one file, that read-only media take, too
        finally:
            writer.close()
            reader.close()
    except dbapi2.Error as error:
        raise failures.translate(error, SQLITE, str(part)) from error
