"""`postroom send`: drain the outbox once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from daemon.jobs.drain import Result

STATUSES = ("sent", "partial", "deferred", "failed", "in_doubt", "put_back")


@click.command()
@output.json_option
@click.pass_context
def send(ctx: click.Context, as_json: bool) -> None:
    """Send everything in the outbox that is due now.

    Prints how many rows came to which status; the verdict for each recipient is in the database (`postroom outbox show`).
    The exit code is 0 if every relay could be used, whatever it said about single letters.
    """
    loaded = house.settings()
    house.require_accounts(loaded, "smtp")
    from daemon import app

    with house.working(loaded) as database, output.progress("rows") as advance:

        def report(result: Result) -> None:
            if advance is not None:
                advance(result.account, result.rows, 0)

        results = app.send(loaded, database, report)
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


def _line(result: Result) -> str:
    parts = [f"{getattr(result, one):,} {one.replace('_', ' ')}" for one in STATUSES if getattr(result, one)]
    return f"{result.account}: {', '.join(parts) or 'nothing is due'}"
