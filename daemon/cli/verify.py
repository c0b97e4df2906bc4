"""`postroom db verify`: whether the archive is what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.store.database import Database
    from daemon.store.verifying import Fault

MESSAGES = 100  # a look: short reads, and a progress that moves
BLOBS = 20


@click.command()
@click.option("--account", metavar="NAME", help="Only messages of this account.", shell_complete=completion.accounts)
@output.json_option
@click.pass_context
def verify(ctx: click.Context, account: str | None, as_json: bool) -> None:
    """Compare everything in the archive with its SHA-256.

    Reads all messages, dictionaries and shared attachments, and has the database check its pages, its search index and its
    references. Lists what is wrong; the exit code is 0 only if nothing is. The daemon may go on running.
    """
    from daemon.store import archive

    with house.archive() as database, output.progress("messages") as advance:
        with database.reading() as conn:
            total = archive.count(conn, account=account)
        read, faults = 0, []
        for done, found in _messages(database, account):
            read += done
            faults += found
            if advance is not None:
                advance("verify", read, max(read, total))
        if account is None:
            faults += _others(database)
    if as_json:
        output.print_json(output.fields(one) for one in faults)
    else:
        for one in faults:
            of_whom = f" ({one.account}: {one.subject or one.uidl or 'no subject'})" if one.account is not None else ""
            click.echo(output.plain(f"{one.what}{of_whom}"))
        broken = sum(one.kind == "message" for one in faults)
        others = f", {len(faults) - broken:,} other faults" if len(faults) > broken else ""
        click.echo(f"{output.count(read, 'message')} read, {broken:,} broken{others}", err=bool(faults))
    if faults:
        ctx.exit(errors.EX_DATAERR)


def _messages(database: Database, account: str | None) -> Iterator[tuple[int, list[Fault]]]:
    from daemon.store import archive, verifying

    after = 0
    while True:
        with database.reading() as conn:
            ids = archive.ids(conn, account=account, after=after, limit=MESSAGES)
            found = list(verifying.of_messages(conn, ids))
        if not ids:
            return
        yield len(ids), found
        after = ids[-1]


def _others(database: Database) -> Iterator[Fault]:
    from daemon.store import verifying

    looks: tuple[Callable[..., Iterator[Fault]], ...] = (verifying.of_dictionaries, verifying.of_database)
    for look in looks:
        with database.reading() as conn:
            yield from look(conn)
    after: int | None = 0
    while after is not None:
        with database.reading() as conn:
            found, after = verifying.of_blobs(conn, after, BLOBS)
        yield from found
