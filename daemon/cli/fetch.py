"""`postroom fetch`: visit maildrops once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from daemon.jobs.visit import Result


@click.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...", shell_complete=completion.accounts)
@click.option("--uidl", "uidls", metavar="UIDL", multiple=True, help="Only this message, whole; again for more.")
@click.option("--mark-seen", is_flag=True, help="Fetch nothing: mark what the maildrop holds as seen.")
@output.json_option
@click.pass_context
def fetch(
    ctx: click.Context, accounts: tuple[str, ...], uidls: tuple[str, ...], mark_seen: bool, as_json: bool
) -> None:
    """Visit maildrops once: the named ones, or all.

    Archives what is new, deletes on the server what its policy wants gone, and indexes what came. The exit code is 0 only
    if every visit went well. POSTROOM_TRACE=all shows what is said.

    --uidl fetches what was left on the server, whatever its size; --mark-seen leaves what is there now for good, and fetches
    only what comes later. Both take one account.
    """
    if (uidls or mark_seen) and len(accounts) != 1:
        raise click.UsageError(f"{'--uidl' if uidls else '--mark-seen'} wants one ACCOUNT.")
    if uidls and mark_seen:
        raise click.UsageError("Say one of --uidl and --mark-seen.")
    loaded = house.settings()
    names = [one.name for one in house.accounts(loaded, accounts)]
    if not names:
        house.require_accounts(loaded, "pop3")
    from daemon import app

    with house.working(loaded) as database, output.progress("messages") as advance:
        results = app.fetch(loaded, database, names, advance, uidls=frozenset(uidls), mark_seen=mark_seen)
    if as_json:
        output.print_json(results)
    failed: list[errors.PostroomError] = []
    for result in results:
        if not as_json:
            click.echo(_line(result))
        if result.error is not None:
            output.complain(result.error, result.account)
            failed.append(result.error)
        failed += _missing(result)
    if failed:
        ctx.exit(failed[0].exit_code)
    if len(results) < len(names):
        raise errors.Stopped("stopped before every account was visited")


def _missing(result: Result) -> list[errors.PostroomError]:
    found: list[errors.PostroomError] = [
        errors.NotFound(f"{uidl}: not in the maildrop ({result.listed} messages are)") for uidl in result.missing
    ]
    for error in found:
        output.complain(error, result.account)
    return found


def _line(result: Result) -> str:
    parts = [f"{result.listed:,} listed", f"{result.fetched:,} fetched"]
    if result.fetched:
        parts[-1] += f" ({output.size(result.octets)}, {result.new:,} new)"
    words = ((result.seen, "marked as seen"), (result.skipped, "skipped"), (result.deleted, "deleted"))
    parts += [f"{number:,} {word}" for number, word in words if number]
    return f"{result.account}: {', '.join(parts)}"
