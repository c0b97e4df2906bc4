"""`postroom fetch`: visit maildrops once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from daemon.jobs.visit import Result


@click.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@output.json_option
@click.pass_context
def fetch(ctx: click.Context, accounts: tuple[str, ...], as_json: bool) -> None:
    """Visit maildrops once: the named ones, or all.

    Archives what is new, deletes on the server what its policy wants gone, and indexes what came. The exit code is 0 only
    if every visit went well. POSTROOM_TRACE=all shows what is said.
    """
    loaded = house.settings()
    names = [one.name for one in house.accounts(loaded, accounts)]
    if not names:
        house.require_accounts(loaded, "pop3")
    from daemon import app

    with house.working(loaded) as database, output.progress("messages") as advance:
        results = app.fetch(loaded, database, names, advance)
    if as_json:
        output.print_json(results)
    failed: list[errors.PostroomError] = []
    for result in results:
        if not as_json:
            click.echo(_line(result))
        if result.error is not None:
            output.complain(result.error, result.account)
            failed.append(result.error)
    if failed:
        ctx.exit(failed[0].exit_code)
    if len(results) < len(names):
        raise errors.Stopped("stopped before every account was visited")


def _line(result: Result) -> str:
    parts = [f"{result.listed:,} listed", f"{result.fetched:,} fetched"]
    if result.fetched:
        parts[-1] += f" ({output.size(result.octets)}, {result.new:,} new)"
    parts += [
        f"{number:,} {word}" for number, word in ((result.skipped, "skipped"), (result.deleted, "deleted")) if number
    ]
    return f"{result.account}: {', '.join(parts)}"
