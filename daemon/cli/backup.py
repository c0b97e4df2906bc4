"""`postroom db backup`, `restore` and `compact`: the whole database as a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from daemon.store.database import Database
    from daemon.store.frozen import Contents, Progress

_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


def _told(advance: output.Advance | None) -> Progress:
    """Give what the work calls: a bar for each of its steps, or nothing."""
    return advance or (lambda _what, _done, _total: None)


@click.command()
@_FILE
def backup(file: Path) -> None:
    """Copy the database into FILE, while the daemon runs.

    One consistent state, read back and compared with every message's SHA-256 before it gets its name; an earlier backup of that
    name stays until then. FILE is an SQLite database, readable by its owner alone.
    """
    from daemon.store import backup as backing_up

    with house.archive() as database, output.progress("") as advance:
        found = backing_up.back_up(database, file, _told(advance))
    click.echo(
        f"{output.count(found.messages, 'message')} in {file}, {output.size(file.stat().st_size)}, read back and compared"
    )
    _complain(found)


def _complain(found: Contents) -> None:
    if found.broken:
        ids = ", ".join(map(str, found.broken[:20]))
        click.echo(
            f"postroom: {len(found.broken):,} are not what was received, in the database neither: {ids}", err=True
        )
        click.get_current_context().exit(errors.EX_DATAERR)


@click.command()
@click.option(
    "--into",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Another file than the settings' database: for a drill.",
)
@click.option("--replace", is_flag=True, help="Even if there is a database; it is kept beside, under another name.")
@click.option("--send", is_flag=True, help="Rows of the outbox that waited then go on waiting; else they are held.")
@_FILE
def restore(file: Path, into: Path | None, *, replace: bool, send: bool) -> None:
    """Put a backup in the database's place.

    The daemon must not run, and no other program may have the database open. FILE is read and compared first, like a backup that
    is made. What waited to be sent may have been sent since: it is held, and says so, until `postroom outbox release`.
    """
    from daemon.store import restore as restoring

    database = _database(into)
    try:
        with output.progress("") as advance:
            done = restoring.restore(
                database, file, replace=replace, send=send, now=datetime.now(UTC), progress=_told(advance)
            )
    finally:
        database.dispose()
    click.echo(f"{output.count(done.contents.messages, 'message')} in {database.file}")
    if done.kept is not None:
        click.echo(f"what was there before is now {done.kept}")
    if done.held:
        click.echo(
            f"{output.count(done.held, 'row')} of the outbox held: look with `postroom outbox list --status held`"
        )
    if not done.contents.is_current:
        click.echo(f"it is at revision {done.contents.revision}: `postroom db upgrade`, then `postroom db verify`")
    _complain(done.contents)


@click.command()
def compact() -> None:
    """Give the room that deleted messages left back to the disk.

    The daemon must not run, and no other program may have the database open: it is written anew, which takes as much room again as
    is in use, read back and compared. Without this the room is used for new mail.
    """
    from daemon.store import compact as compacting

    with house.archive() as database:
        database.dispose()  # what looked at the schema is one more who has it open
        with output.progress("") as advance:
            before, after = compacting.compact(database, _told(advance))
    click.echo(f"{output.size(before)} before, {output.size(after)} now")


def _database(path: Path | None) -> Database:
    from daemon.store.database import Database

    return Database(house.settings().database_url if path is None else f"sqlite:///{path}")
