"""`postroom suppress`: addresses that are never sent to."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from daemon import errors
from daemon.cli import house, output

_ADDRESSES = click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")


@click.group()
def suppress() -> None:
    """Add, list or remove addresses that are never sent to."""


@suppress.command()
@_ADDRESSES
@click.option("--reason", default="", metavar="TEXT", help="Shown in the list, and in rows that name the address.")
def add(addresses: tuple[str, ...], reason: str) -> None:
    """Never send to these addresses.

    A row that names one fails for it, with the reason, and goes to its other recipients.
    """
    from daemon.mail import address
    from daemon.store import suppression

    wanted = [address.parse_one(one).address for one in addresses]
    with house.archive(make=True) as database, database.transaction() as tx:
        new = suppression.add(tx, wanted, now=datetime.now(UTC), reason=reason)
    click.echo(f"{output.count(len(new), 'address', 'addresses')} suppressed")


@suppress.command("list")
@output.json_option
def list_(as_json: bool) -> None:
    """List them, the newest first."""
    from daemon.store import suppression

    with house.archive() as database, database.reading() as conn:
        found = suppression.listing(conn)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("address", "by", "since", "report", "reason"),
        [
            (one.address, one.suppressed_by, output.moment(one.added_at), str(one.report or ""), one.reason)
            for one in found
        ],
        right=("report",),
        whole=("by", "since"),
        wide="reason",
        none="no address is suppressed",
    )


@suppress.command()
@_ADDRESSES
def remove(addresses: tuple[str, ...]) -> None:
    """Let these addresses be sent to again.

    A bounce that was read before does not bring one back.
    """
    from daemon.mail import address
    from daemon.store import suppression

    with house.archive() as database, database.transaction() as tx:
        removed = suppression.remove(tx, addresses)
        missing = [one for one in addresses if address.folded(one) not in removed]
        if missing:
            raise errors.NotFound(f"not suppressed: {', '.join(missing)}")
    click.echo(f"{output.count(len(removed), 'address', 'addresses')} removed")
