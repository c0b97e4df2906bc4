"""`postroom import`: archive mail from files, or take over what another client has fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.jobs.belongings import Broken

FORMATS = ("auto", "eml", "mbox", "mboxcl", "mboxcl2", "maildir", "jsonl")
BROKEN_SHOWN = 20  # each on a line of its own; the rest is counted


@click.command("import")
@click.option(
    "--account",
    "name",
    metavar="NAME",
    help="In whose name; not needed if there is one, or for JSON lines.",
    shell_complete=completion.accounts,
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    help="mbox is mboxrd and mboxo; in mboxcl, Content-Length counts.",
)
@click.option(
    "--seen-from",
    "program",
    type=click.Choice(["getmail", "fetchmail", "mpop"]),
    help="SOURCE is this program's seen list.",
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def import_(
    ctx: click.Context, *, name: str | None, format_: str, program: str | None, sources: tuple[Path, ...]
) -> None:
    """Archive mail from files, or another client's seen list.

    SOURCE is an eml, mbox or JSON lines file, a Maildir with its folders, or a directory of such. Content that the account has
    already is not stored again, so that the same may be said twice, or again after it was cut short. What can't be read is
    named, the rest goes on, and the exit code is 65.

    With --seen-from nothing is archived: what another POP3 client has fetched is marked as seen in the ledger, and so not
    fetched again. SOURCE is getmail's oldmail-HOST-PORT-USER, fetchmail's .fetchids, or mpop's ~/.mpop_uidls/USER_at_HOST. What
    the ledger knows already stays as it is. `postroom fetch NAME --uidl UIDL` fetches such a message after all.
    """
    if program is not None:
        if name is None or len(sources) != 1:
            raise click.UsageError("--seen-from wants --account NAME and one SOURCE.")
        _take_over(program, name, sources[0])
    elif not _bring_in(sources, name, format_):
        ctx.exit(errors.EX_DATAERR)


def _take_over(program: str, name: str, file: Path) -> None:
    from daemon import app
    from daemon.jobs import seen_list

    content = file.read_bytes()
    loaded = house.settings()
    account = house.account(loaded, name)
    with house.working(loaded) as database:
        try:
            listed, new = seen_list.take_over(account, program, content, app.context_of(loaded, database))
        except errors.InputInvalid as error:
            raise errors.InputInvalid(f"{file}: {error}") from error
    click.echo(f"{account.name}: {output.count(new, 'message')} marked as seen by {program}, {listed:,} in the list")


def _bring_in(sources: Sequence[Path], name: str | None, form: str) -> bool:
    """Return whether all could be read."""
    from daemon import app
    from daemon.jobs import belongings

    total = sum(map(belongings.octets, sources))  # and whoever names a file that is not there hears of it first
    loaded = house.settings()
    left_to_show = BROKEN_SHOWN

    def complain(piece: Broken) -> None:
        nonlocal left_to_show
        left_to_show -= 1
        if left_to_show >= 0:
            click.echo(f"postroom: {piece.place}: {piece.why}", err=True)

    with house.working(loaded) as database, output.progress("MB") as advance:

        def told(octets: int) -> None:
            if advance is not None:
                advance("import", octets // 1_000_000, max(octets, total) // 1_000_000)

        account = None if name is None else name.lower()
        done = app.bring_in(loaded, database, sources, account=account, form=form, progress=told, complain=complain)
    for account, new in done.accounts.items():
        click.echo(f"{account}: {output.count(new, 'message')} archived")
    left_out = f", {output.count(done.no_mail, 'file')} left out" if done.no_mail else ""
    unread = f", {done.broken:,} could not be read" if done.broken else ""
    click.echo(f"{output.count(done.new, 'message')} archived, {done.known:,} were there{left_out}{unread}")
    return not done.broken
