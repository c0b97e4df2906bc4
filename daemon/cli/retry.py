"""`postroom retry`: let accounts be tried again at once."""

from datetime import UTC, datetime

import click

from daemon.cli import completion, house


@click.command()
@click.argument("accounts", nargs=-1, required=True, metavar="ACCOUNT...", shell_complete=completion.accounts)
def retry(accounts: tuple[str, ...]) -> None:
    """Try accounts again at once: end what stopped or delays them.

    Ends a stop of the polling (after a refused login), the back-off after failures and the pause of a relay. A running daemon
    notices within a second or so; without one, `postroom fetch` and `postroom send` do the work.
    """
    loaded = house.settings()
    names = [one.name for one in house.accounts(loaded, accounts)]
    from daemon.jobs import standstill

    with house.archive(loaded) as database:
        for name in names:
            standstill.retry(database, name, datetime.now(UTC))
            click.echo(f"{name}: due now")
