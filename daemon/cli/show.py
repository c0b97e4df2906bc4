"""`postroom show`: one archived message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from daemon import errors
from daemon.cli import completion, house, output, reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
# A sender's page tells him who reads it, and when, by the pictures that it loads; those that it carries itself are shown.
_SEALED: Final = (
    b'<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"'
    b" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
)


@click.command()
@click.argument("message", metavar="ID", type=click.IntRange(1), shell_complete=completion.messages)
@click.option("--raw", is_flag=True, help="Write the message's octets as archived.")
@click.option("--headers", is_flag=True, help="Show its header section as it came.")
@click.option("--html", metavar="[FILE]", is_flag=False, flag_value="-", help="Write its HTML text, to a new FILE.")
@output.json_option
def show(message: int, raw: bool, headers: bool, html: str | None, as_json: bool) -> None:
    """Show one archived message, its text and attachments.

    ID is the number that `search` shows; say it before --html. A FILE can be opened in a browser: it loads nothing from
    elsewhere, and runs nothing.
    """
    from daemon.store import archive, holds, sources

    if raw + headers + (html is not None) + as_json > 1:
        raise click.UsageError("Say one of --raw, --headers, --html and --json.")
    with house.archive() as database, database.reading() as conn:
        found = archive.get(conn, message)
        if raw:
            for part in sources.parts(conn, message):
                click.echo(part, nl=False)
            return
        if headers:
            head = sources.part(conn, message, 0)
            reading.show(
                output.plain(_HEADER_END.split(head, maxsplit=1)[0].decode("utf-8", "replace"), keep_lines=True).split(
                    "\n"
                )
            )
            return
        if html is not None:
            _write_html(sources.whole(conn, message), message, html)
            return
        attached, held = archive.attachments(conn, message), holds.on(conn, message)
    if as_json:
        more = {
            name: [output.fields(one) for one in rows] for name, rows in (("attachments", attached), ("holds", held))
        }
        click.echo(output.dump({**output.fields(found), **more}))
        return
    _print(found, attached, held)


def _write_html(source: bytes, message: int, destination: str) -> None:
    from daemon.mail import parse

    text = parse.html(source)
    if text is None:
        raise errors.NotFound(f"message {message} has no HTML text; `postroom show {message}` shows what it has")
    octets = text.encode("utf-8", "replace")
    if destination == "-":
        click.echo(octets, nl=False)
        return
    with Path(destination).open("xb") as file:
        file.write(_SEALED + octets)


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
    shown = [f"{output.styled(name + ':', bold=True)} {output.plain(str(value))}" for name, value in lines if value]
    if found.parser_version and found.body_text:
        shown += ["", *reading.text(found.body_text, found.quoted_ranges, found.signature_ranges)]
    reading.show(shown)
    if not found.parser_version:
        click.echo("This message is not indexed yet; `postroom db reindex` or the daemon does it.", err=True)


def _extent(found: Any) -> str:
    octets = output.size(found.octets)
    return octets if found.retrieved == "whole" else f"{octets} of header section; the rest is on the server only"


def _words(defects: Any) -> Sequence[str]:
    """Return the defects as names, whichever way the row holds its JSON."""
    import json

    words: Sequence[str] = json.loads(defects) if isinstance(defects, str) else defects or ()
    return words
