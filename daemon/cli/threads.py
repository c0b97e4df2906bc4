"""`postroom threads`: conversations, and one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.store.conversations import Turn

DEEPEST_SHOWN: Final = 8  # steps; what stands deeper stands there


@click.command()
@click.argument("query", nargs=-1, metavar="[QUERY | ID]")
@click.option(
    "--account", metavar="NAME", help="Only conversations of this account.", shell_complete=completion.accounts
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this many.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out this many first.")
@output.json_option
def threads(query: tuple[str, ...], account: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List conversations, or show one.

    Without a QUERY all of them, the one with the latest message first; QUERY is as in `search`. ID is the number that the
    list shows, or that of any message: the conversation that it is in, every answer below what it answers.
    """
    from daemon.store import conversations, search

    asked = " ".join(query)
    with house.archive() as database, database.reading() as conn:
        if asked.isascii() and asked.isdigit():
            _show(conversations.turns(conn, conversations.resolve(conn, int(asked))), as_json=as_json)
            return
        among = search.ids(conn, asked, account=account) if asked else None
        found = conversations.listed(conn, among=among, account=account, limit=limit, offset=offset)
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            str(one.thread_id),
            output.moment(one.last_at)[:16],
            str(one.messages),
            ", ".join(one.people),
            one.subject or "",
        )
        for one in found
    ]
    output.print_table(
        ("id", "last", "messages", "people", "subject"),
        rows,
        right=("id", "messages"),
        whole=("last",),
        wide="subject",
        none="nothing found",
    )
    if output.is_terminal() and len(found) == limit:
        click.echo(f"The first {limit}; --offset {offset + limit} shows more.", err=True)


def _show(turns: Sequence[Turn], *, as_json: bool) -> None:
    if as_json:
        output.print_json(turns)
        return
    rows = [
        (
            str(one.id),
            output.moment(one.sent_at)[:16],
            f"{'>' * min(one.depth, DEEPEST_SHOWN)} {one.from_name or one.from_address or ''}",
            one.subject or "",
        )
        for one in turns
    ]
    output.print_table(("id", "sent", "from", "subject"), rows, right=("id",), whole=("sent",), wide="subject")
