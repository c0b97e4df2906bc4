"""Put a backup where the database is: copied, examined, then exchanged by one rename. What was there is kept beside it.

Nobody may have the database open, and no daemon may run. What waited to be sent when the backup was made may have been sent
since: such rows are held, unless it is said otherwise. Raises InputInvalid, Busy, DatabaseUnusable.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from pysqlite3 import dbapi2
from sqlalchemy import and_, or_, update

from daemon import errors
from daemon.store import exchange, frozen, upgrade
from daemon.store.backup import file_of
from daemon.store.database import Database
from daemon.store.dialect import engine, failures
from daemon.store.dialect.types import SQLITE
from daemon.store.frozen import Contents, Progress
from daemon.store.schema import outbox

PIECE_OCTETS: Final = 16 * 1024 * 1024  # copied between two words of progress
WAITING: Final = ("queued", "deferred", "sending")


class Restored(NamedTuple):
    """What was done. held: rows of the outbox.  kept: where the database is that was there before, if there was one."""

    contents: Contents
    held: int
    kept: Path | None


def restore(
    database: Database, backup: Path, *, replace: bool, send: bool, now: datetime, progress: Progress
) -> Restored:
    """Make the database what a backup has. replace: even if there is one.  send: rows that waited go on waiting."""
    path = file_of(database, "pg_restore --clean --if-exists FILE")
    if not backup.is_file():
        raise errors.InputInvalid(f"{backup}: no such file")
    beside = [backup.name + end for end in ("-wal", "-journal") if _octets(backup.with_name(backup.name + end))]
    if beside:
        raise errors.InputInvalid(f"{backup} is no backup, but a database in use: {beside[0]} is beside it")
    upgrade.refuse_newer(str(backup), frozen.looked_at(backup).revision)
    with database.run_lock():
        is_there = _has_tables(path)
        if is_there and not replace:
            raise errors.InputInvalid(
                f"{path} is there already, and not empty; --replace puts the backup in its place, and keeps it beside"
            )
        with exchange.cleared_away(path.with_name(f".{path.name}.part")) as part:
            _copy(backup, part, progress)
            contents = frozen.examined(part, progress)
            held = 0 if send or not contents.is_current else _hold(part, backup, now)
            exchange.synced(part)
            kept = path.with_name(f"{path.name}.replaced-{now:%Y%m%dT%H%M%SZ}") if is_there else None
            if kept is None:
                exchange.removed(path)
                exchange.put_in_place(part, path)
            else:
                with exchange.alone(path):
                    exchange.keep(path, kept)
                    exchange.put_in_place(part, path)
    return Restored(contents, held, kept)


def _octets(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_tables(path: Path) -> bool:
    """Tell whether anything is in the database that could be lost; what can't be read, could."""
    if not _octets(path) and not _octets(path.with_name(path.name + "-wal")):
        return False
    try:
        connection = engine.connect_sqlite(path)
        try:
            return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        finally:
            connection.close()
    except dbapi2.Error as error:
        if isinstance(busy := failures.translate(error, SQLITE, str(path)), errors.DatabaseBusy):
            raise busy from error
        return True


def _copy(backup: Path, part: Path, progress: Progress) -> None:
    total, done = backup.stat().st_size, 0
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, engine.MODE)
    with backup.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        while piece := source.read(PIECE_OCTETS):
            target.write(piece)
            done += len(piece)
            progress("copy MB", done // 1_000_000, total // 1_000_000)


def _hold(part: Path, backup: Path, now: datetime) -> int:
    """Let no row leave by itself that may have left since."""
    t = outbox.c
    waits = or_(t.status.in_(WAITING), and_(t.status == "in_doubt", t.next_attempt_at.is_not(None)))
    said = f"restored from {backup.name} on {now:%Y-%m-%d}; it may have been sent since the backup was made"
    values = {"status": "held", "next_attempt_at": None, "lease_owner": None, "lease_until": None}
    database = Database(f"sqlite:///{part}")
    try:
        with database.transaction() as tx:
            return tx.execute(update(outbox).where(waits).values(last_error=said, updated_at=now, **values)).rowcount
    finally:
        database.dispose()  # the last one out writes the log into the file
