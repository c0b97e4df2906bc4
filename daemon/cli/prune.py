"""`postroom db prune`: let messages go that were archived long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from daemon.cli import completion, house, output


def _age(_ctx: click.Context, option: click.Parameter, text: str) -> timedelta:
    from daemon import notation

    try:
        return notation.wait(text)
    except ValueError as error:
        why = f" ({error})" if str(error) else ""
        raise click.BadParameter(f"{text!r} is not an age like 365d{why}.", param=option) from error


@click.command()
@click.option("--older-than", required=True, callback=_age, metavar="AGE", help="Archived longer ago than this: 365d.")
@click.option("--account", metavar="NAME", help="Only messages of this account.", shell_complete=completion.accounts)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted (so it is without --yes).")
@click.option("--yes", is_flag=True, help="Delete.")
@click.argument("query", nargs=-1)
def prune(*, older_than: timedelta, account: str | None, dry_run: bool, yes: bool, query: tuple[str, ...]) -> None:
    """Delete messages that were archived long ago.

    All of them, or those that QUERY finds (as in `postroom search`). Their age counts from the day they were archived, not from
    their Date field, which anybody can write. What is on hold stays. The ledger keeps its rows, so that nothing is fetched
    again. What is deleted here is gone, unless the server still has it.
    """
    from daemon.jobs import prune as pruning

    if dry_run and yes:
        raise click.UsageError("Say --dry-run or --yes, not both.")
    before, words = datetime.now(UTC) - older_than, " ".join(query) or None
    with house.archive() as database, output.progress("messages") as advance:
        counted = pruning.count(database, before=before, account=account, query=words)
        what = f"{output.count(counted.messages, 'message')} ({output.size(counted.octets)})"
        held = f"; {counted.held:,} on hold stay" if counted.held else ""
        if not yes:
            how = "; --yes deletes them" if counted.messages else ""
            click.echo(f"{what} archived before {output.moment(before)} UTC would be deleted{how}{held}")
            return

        def told(done: int) -> None:
            if advance is not None:
                advance("prune", done, max(done, counted.messages))

        deleted = pruning.prune(database, before=before, account=account, query=words, progress=told)
    click.echo(f"{output.count(deleted, 'message')} deleted from the archive{held}")
