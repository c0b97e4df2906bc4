"""`postroom show`: one archived message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


@click.command()
@click.argument("message", metavar="ID", type=click.IntRange(1))
@click.option("--raw", is_flag=True, help="Write the message's octets as archived.")
@click.option("--html", is_flag=True, help="Write its HTML text.")
@output.json_option
def show(message: int, raw: bool, html: bool, as_json: bool) -> None:
    """Show one archived message, its text and attachments.

    ID is the number that `search` shows.
    """
    from daemon.store import archive, holds, sources

    if raw + html + as_json > 1:
        raise click.UsageError("Say one of --raw, --html and --json.")
    with house.archive() as database, database.reading() as conn:
        found = archive.get(conn, message)
        if raw:
            for part in sources.parts(conn, message):
                click.echo(part, nl=False)
            return
        if html:
            _write_html(sources.whole(conn, message), message)
            return
        attached, held = archive.attachments(conn, message), holds.on(conn, message)
    if as_json:
        more = {
            name: [output.fields(one) for one in rows] for name, rows in (("attachments", attached), ("holds", held))
        }
        click.echo(output.dump({**output.fields(found), **more}))
        return
    _print(found, attached, held)


def _write_html(source: bytes, message: int) -> None:
    from daemon.mail import parse

    text = parse.html(source)
    if text is None:
        raise errors.NotFound(f"message {message} has no HTML text; `postroom show {message}` shows what it has")
    click.echo(text.encode("utf-8", "replace"), nl=False)


def _print(found: Any, attached: Sequence[Any], held: Sequence[Any]) -> None:
    """Print the message for a person; the names are those of the table's columns where a header has none."""
    sender = (
        f"{found.from_name} <{found.from_address}>"
        if found.from_name and found.from_address
        else found.from_name or found.from_address
    )
    lines = (
        ("From", sender),
        ("To", found.to_addresses),
        ("Cc", found.cc_addresses),
        ("Sent", output.moment(found.sent_at)),
        ("Subject", found.subject),
        ("Account", f"{found.account}, archived {output.moment(found.archived_at)}, {_extent(found)}"),
        ("Defects", ", ".join(_words(found.defects))),
        *(("On hold", f"{one.id}: {one.reason}") for one in held),
        *(
            (
                "Attached",
                f"{one.part}  {one.filename or 'without a name'}  {one.content_type}, {output.size(one.octets)}",
            )
            for one in attached
        ),
    )
    for name, value in lines:
        if value:
            click.echo(f"{output.styled(name + ':', bold=True)} {output.plain(str(value))}")
    if not found.parser_version:
        click.echo("This message is not indexed yet; `postroom db reindex` or the daemon does it.", err=True)
    elif found.body_text:
        click.echo()
        click.echo(output.plain(found.body_text, keep_lines=True).rstrip())


def _extent(found: Any) -> str:
    octets = output.size(found.octets)
    return octets if found.retrieved == "whole" else f"{octets} of header section; the rest is on the server only"


def _words(defects: Any) -> Sequence[str]:
    """Return the defects as names, whichever way the row holds its JSON."""
    import json

    words: Sequence[str] = json.loads(defects) if isinstance(defects, str) else defects or ()
    return words
