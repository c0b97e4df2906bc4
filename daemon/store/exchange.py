"""Put another SQLite file where the database is, while nobody has it open: taken alone, then exchanged by one rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2

from daemon import errors
from daemon.store.dialect import engine, failures
from daemon.store.dialect.types import SQLITE

SIDE_FILES: Final = ("-wal", "-journal", "-shm")


def synced(path: Path) -> None:
    """Bring a file, or a directory's names, to the disk, and let it be read from there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def put_in_place(part: Path, path: Path) -> None:
    """Give a file its name, whoever had it before, and make that safe."""
    part.replace(path)
    synced(path.parent)


def removed(path: Path) -> None:
    """Remove a file with those that SQLite keeps beside it, where they are there."""
    for end in ("", *SIDE_FILES):
        with suppress(OSError):
            path.with_name(path.name + end).unlink()


@contextmanager
def cleared_away(part: Path) -> Iterator[Path]:
    """Let nothing be left under this name, neither of a run before nor if the block raises."""
    removed(part)
    try:
        yield part
    except BaseException:
        removed(part)
        raise


@contextmanager
def alone(path: Path) -> Iterator[Any]:
    """Be the only one who has the database open, its log written into it, for the length of the block; or Busy.

    Hands out the connection; None for a file that is damaged too badly to be opened.
    """
    connection: Any = None
    try:
        try:
            connection = engine.connect_sqlite(path)
            # SQLite does so for the only one who has the database open; its log is then in the file, and gone.
            for statement in (
                "PRAGMA journal_mode=DELETE",
                "PRAGMA locking_mode=EXCLUSIVE",
                "BEGIN EXCLUSIVE",
                "COMMIT",
            ):
                connection.execute(statement).fetchall()
        except dbapi2.Error as error:
            if isinstance(failures.translate(error, SQLITE, str(path)), errors.DatabaseBusy):
                raise errors.Busy(f"{path}: another program has it open; end it first") from error
            if connection is not None:
                connection.close()
            connection = None
        yield connection
    finally:
        if connection is not None:
            connection.close()


def keep(path: Path, kept: Path) -> None:
    """Give the database a second name, with what is beside it: for while `put_in_place` takes the first one away."""
    for end in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(kept.with_name(kept.name + end))
    try:
        kept.hardlink_to(path)
    except OSError:  # not on every file system; then there is none for an instant
        path.rename(kept)
