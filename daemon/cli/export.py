"""`postroom export`: copies of archived messages, as files that other programs read."""

from pathlib import Path

import click

from daemon import errors
from daemon.cli import house, output

FORMATS = ("eml", "mbox", "maildir", "jsonl")


@click.command()
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    required=True,
    help="eml: one file a message, octets as archived.",
)
@click.option(
    "--account", "accounts", metavar="NAME", multiple=True, help="Only messages of this account; may be given again."
)
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.argument("query", nargs=-1)
@click.pass_context
def export(
    ctx: click.Context, format_: str, accounts: tuple[str, ...], destination: Path, query: tuple[str, ...]
) -> None:
    """Copy archived messages into files: eml, mbox, Maildir, jsonl.

    Writes all messages to DEST, or those that QUERY finds, octet for octet. Said again after it was cut short, it goes on where it was.

    DEST is a directory for eml and maildir, a file for mbox and jsonl. QUERY is as in `postroom search`.
    """
    from daemon.jobs import export as exporting

    with house.archive() as database, output.progress("messages") as advance:

        def told(done: int, total: int) -> None:
            if advance is not None:
                advance("export", done, total)

        done = exporting.export(
            database,
            form=format_,
            path=destination,
            query=" ".join(query) or None,
            accounts=accounts,
            progress=told,
        )
    before = f", {done.there:,} were there" if done.there else ""
    click.echo(f"{output.count(done.written, 'message')} written to {destination}{before}")
    if done.broken:
        broken = ", ".join(map(str, done.broken))
        click.echo(
            f"postroom: left out, for they are not what was received: {broken}; `show ID --raw` gives what there is",
            err=True,
        )
        ctx.exit(errors.EX_DATAERR)
