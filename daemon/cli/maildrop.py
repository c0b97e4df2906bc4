"""`postroom maildrop`: look into an account's maildrop on its server, or accept what it holds. The archive is not touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from daemon.jobs.context import Context
    from daemon.mail.account import Account


@click.group()
def maildrop() -> None:
    """List, read and delete messages on a POP3 server.

    A message is named by its UIDL, or as #12 by its number in the listing. POSTROOM_TRACE=all shows what is said.
    """


@contextmanager
def _surroundings(name: str) -> Iterator[tuple[Account, Context]]:
    from daemon import app

    loaded = house.settings()
    account = house.account(loaded, name)
    with house.working(loaded) as database:
        yield account, app.context_of(loaded, database)


@maildrop.command("list")
@click.argument("account", shell_complete=completion.accounts)
@output.json_option
def list_(account: str, as_json: bool) -> None:
    """List what the server holds now."""
    from daemon.jobs import maildrop as job

    with _surroundings(account) as (one, context):
        listing = job.listing(one, context)
    if as_json:
        output.print_json(entry._asdict() for entry in listing.entries)
        return
    rows = [
        (str(entry.number), entry.uidl or "", "" if entry.octets is None else str(entry.octets))
        for entry in listing.entries
    ]
    output.print_table(
        ("number", "uidl", "octets"), rows, right=("number", "octets"), wide="uidl", none="the maildrop is empty"
    )


@maildrop.command()
@click.argument("account", shell_complete=completion.accounts)
@click.argument("message")
@click.option("--lines", type=click.IntRange(0), default=10, show_default=True, help="Lines of the body.")
def top(account: str, message: str, lines: int) -> None:
    """Write a message's header and first lines (TOP)."""
    from daemon.jobs import maildrop as job

    with _surroundings(account) as (one, context):
        octets = job.top(one, message, lines, context)
    click.echo(octets, nl=False)


@maildrop.command()
@click.argument("account", shell_complete=completion.accounts)
@click.argument("message")
def show(account: str, message: str) -> None:
    """Write a whole message, without archiving it (RETR)."""
    from daemon.jobs import maildrop as job

    with _surroundings(account) as (one, context):
        octets = job.show(one, message, context)
    click.echo(octets, nl=False)


@maildrop.command()
@click.argument("account", shell_complete=completion.accounts)
@click.argument("uidls", metavar="UIDL...", nargs=-1, required=True)
def delete(account: str, uidls: tuple[str, ...]) -> None:
    """Delete messages by UIDL, all or none, archived or not.

    Each UIDL is looked up in a fresh listing; if one is missing there, or names two messages, nothing is deleted.
    """
    from daemon.jobs import maildrop as job

    with _surroundings(account) as (one, context):
        deleted = job.delete(one, uidls, context)
    click.echo(f"{output.count(len(deleted), 'message')} deleted on the server")


@maildrop.command()
@click.argument("account", shell_complete=completion.accounts)
def accept(account: str) -> None:
    """End a hold: the next visit fetches all that is there.

    An account is held when its maildrop holds other messages than those that were there. Content that is archived already is
    not stored again.
    """
    from datetime import UTC, datetime

    from daemon.store import relink

    loaded = house.settings()
    name = house.account(loaded, account).name
    with house.archive(loaded) as database:
        with database.reading() as conn:
            is_held = relink.standing(conn, name).held_since is not None
        if is_held:
            with database.transaction() as tx:
                relink.accept(tx, name, datetime.now(UTC))
    click.echo(f"{name}: accepted; the next visit fetches what is there" if is_held else f"{name}: is not held")
