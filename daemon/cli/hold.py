"""`postroom hold`: messages that must not be deleted from the archive."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from daemon import errors
from daemon.cli import house, output


@click.group()
def hold() -> None:
    """Put archived messages on legal hold, list holds, end one."""


@hold.command()
@click.option(
    "--account", metavar="NAME", help="All of this account, also what comes later; with QUERY, what it finds of it."
)
@click.option("--reason", required=True, metavar="TEXT", help="Shown in the list, and beside each message.")
@click.argument("query", nargs=-1)
def add(account: str | None, reason: str, query: tuple[str, ...]) -> None:
    """Keep what QUERY finds, or all of an account, from being deleted.

    QUERY is as in `postroom search`. `postroom db prune` asks it again before it deletes; a program that deletes rows is
    refused by the database for what was found last.
    """
    from daemon.jobs import hold as holding

    if not query and account is None:
        raise click.UsageError("Give a QUERY, or --account NAME.")
    if not reason.strip():
        raise click.UsageError("--reason is empty; whoever wants to delete is told it.")
    with house.archive() as database, output.progress("messages") as advance:

        def told(done: int, total: int) -> None:
            if advance is not None:
                advance("hold", done, total)

        done = holding.add(
            database,
            account=None if account is None else account.lower(),
            query=" ".join(query) or None,
            reason=reason,
            now=datetime.now(UTC),
            progress=told,
        )
    click.echo(f"hold {done.id}: {output.count(done.messages, 'message')}")


@hold.command("list")
@output.json_option
def list_(as_json: bool) -> None:
    """List them, the oldest first."""
    from daemon.store import holds

    with house.archive() as database, database.reading() as conn:
        found = holds.listing(conn)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("id", "account", "query", "since", "messages", "reason"),
        [
            (
                str(one.id),
                one.account or "",
                one.query or "",
                output.moment(one.added_at),
                f"{one.messages:,}",
                one.reason,
            )
            for one in found
        ],
        right=("id", "messages"),
        whole=("since", "messages"),
        wide="reason",
        none="nothing is on hold",
    )


@hold.command()
@click.argument("number", metavar="ID", type=click.IntRange(1))
def remove(number: int) -> None:
    """End one of the holds.

    What another one holds stays held.
    """
    from daemon.store import holds

    with house.archive() as database, database.transaction() as tx:
        if not holds.remove(tx, number):
            raise errors.NotFound(f"there is no hold {number}; `postroom hold list` shows all")
    click.echo(f"hold {number} ended")
