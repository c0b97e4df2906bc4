"""`postroom import`: take over what another client has fetched."""

from __future__ import annotations

from pathlib import Path

import click

from daemon import errors
from daemon.cli import house, output


@click.command("import")
@click.option(
    "--seen-from",
    "program",
    type=click.Choice(["getmail", "fetchmail", "mpop"]),
    required=True,
    help="Whose list it is.",
)
@click.option("--account", "name", metavar="NAME", required=True, help="The account that it is of.")
@click.argument("file", type=click.Path(path_type=Path))
def import_(program: str, name: str, file: Path) -> None:
    """Take over what another POP3 client has fetched.

    It is marked as seen in the ledger, and so not fetched again. FILE is getmail's oldmail-HOST-PORT-USER, fetchmail's .fetchids, or mpop's ~/.mpop_uidls/USER_at_HOST. What the ledger
    knows already stays as it is. `postroom fetch NAME --uidl UIDL` fetches such a message after all.
    """
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
