"""`postroom db`: the database's own care."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from daemon import errors
from daemon.cli import house, output
from daemon.cli.backup import backup, compact, restore
from daemon.cli.prune import prune
from daemon.cli.verify import verify


@click.group()
def db() -> None:
    """Upgrade, verify, back up, restore or prune the database."""


@db.command()
@click.option(
    "--backup",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Copy an SQLite database there first, if it is to be migrated.",
)
def upgrade(backup: Path | None) -> None:
    """Make the database, or migrate it to this version."""
    url = house.settings().database_url
    from daemon.store import upgrade as upgrading
    from daemon.store.database import Database

    database = Database(url)
    try:
        if backup is not None and (copy := upgrading.copy_before(database, backup, datetime.now(UTC))):
            click.echo(f"{database.shown} was copied to {copy}")
        before, after = upgrading.upgrade(database)
    finally:
        database.dispose()
    if before == after:
        click.echo(f"{database.shown} is current (revision {after})")
    else:
        click.echo(f"{database.shown} is now at revision {after} ({f'was {before}' if before else 'new'})")


@db.command()
@click.pass_context
def reindex(ctx: click.Context) -> None:
    """Build columns, conversations and search anew from the sources.

    The daemon may go on running. One that is stopped or killed goes on where it was when it is called again.
    """
    loaded = house.settings()
    from daemon import app

    with house.working(loaded) as database, output.progress("messages") as advance:
        report = None if advance is None else partial(advance, "reindex")
        done = app.reindex(loaded, database, report)
    click.echo(f"{output.count(done.messages, 'message')} indexed, {done.with_defects:,} with defects")
    if not done.is_complete:
        click.echo("stopped; `postroom db reindex` goes on where it was", err=True)
        ctx.exit(errors.EX_TEMPFAIL)


@db.command()
def recompress() -> None:
    """Store the octets of all messages as POSTROOM_COMPRESSION says.

    Attachments that repeat are stored once where octets are compressed. The daemon may go on running; it does the same by and by. Stopped in between, it goes on where it was.
    """
    loaded = house.settings()
    from daemon import app
    from daemon.jobs import pack

    with house.working(loaded) as database:
        context = app.context_of(loaded, database)
        done = pack.pack(context)
    stored = f"{output.size(done.before)} are now {output.size(done.after)}" if done.parts else "nothing was left to do"
    click.echo(f"{output.count(done.parts, 'part')} rewritten: {stored}" if done.parts else stored)


for _command in (verify, backup, restore, prune, compact):
    db.add_command(_command)
