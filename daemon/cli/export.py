"""`postroom export`: copies of archived messages, as files that other programs read."""

from pathlib import Path

import click

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
@click.option("--account", metavar="NAME", help="Only messages of this account.")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.argument("query", nargs=-1)
def export(format_: str, account: str | None, destination: Path, query: tuple[str, ...]) -> None:
    """Copy archived messages into files: eml, mbox, Maildir, jsonl.

    Writes all messages to DEST, or those that QUERY finds.

    DEST is a directory for eml and maildir, a file for mbox and jsonl. QUERY is as in `postroom search`.
    """
    from daemon.store import export as exporting
    from daemon.store import search

    with house.archive() as database, database.reading() as conn, output.progress("messages") as advance:
        found = search.ids(conn, " ".join(query) or None, account=account)

        def told(done: int) -> None:
            if advance is not None:
                advance("export", done, len(found))

        written = exporting.write(conn, found, format=format_, destination=destination, progress=told)
    click.echo(f"{output.count(written, 'message')} written to {destination}")
