"""`postroom attachment`: list a message's attachments, or write them to files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LONGEST_NAME = 200  # octets of a file name; most file systems allow 255, and a number may have to fit


@click.command()
@click.argument("message", metavar="ID", type=click.IntRange(1), shell_complete=completion.messages)
@click.argument("parts", metavar="[PART]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Write all attachments.")
@click.option("-o", "--output", "destination", metavar="PATH", help="The file or directory to write to; - is stdout.")
@output.json_option
def attachment(message: int, parts: tuple[str, ...], every: bool, destination: str | None, as_json: bool) -> None:
    """List a message's attachments, or write them to files.

    PART names one as the list does, by its place or its file name.

    Files go to the working directory unless --output says otherwise, under their own names, made harmless; a file that is
    there is never overwritten.
    """
    from daemon.mail import parse
    from daemon.store import archive, sources

    with house.archive() as database, database.reading() as conn:
        archive.get(conn, message)
        attached = archive.attachments(conn, message)
        source = sources.whole(conn, message) if parts or every else b""
    if not parts and not every:
        _list(attached, as_json)
        return
    wanted = list(attached) if every else [_find(attached, part, message) for part in parts]
    if destination == "-" and len(wanted) != 1:
        raise click.UsageError("Only one attachment can go to stdout.")
    for one in wanted:
        content = parse.attachment(source, one.part)
        if content is None:
            raise errors.NotFound(
                f"part {one.part} of message {message} can't be taken out of it any more; `postroom db reindex` reads it anew"
            )
        if destination == "-":
            click.echo(content, nl=False)
        else:
            path = _write(content, one, destination, len(wanted) > 1)
            click.echo(f"{path}\t{output.size(len(content))}")


def _list(attached: Sequence[Any], as_json: bool) -> None:
    if as_json:
        output.print_json(attached)
        return
    rows = [(one.part, one.filename or "", one.content_type, str(one.octets)) for one in attached]
    output.print_table(
        ("part", "filename", "content_type", "octets"), rows, right=("octets",), wide="filename", none="no attachments"
    )


def _find(attached: Sequence[Any], which: str, message: int) -> Any:
    found = [one for one in attached if one.part == which] or [one for one in attached if one.filename == which]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{one.part} ({one.filename or one.content_type})" for one in attached) or "none"
    what = (
        f"{len(found)} attachments of message {message} are called {which!r}"
        if found
        else f"message {message} has no attachment {which!r}"
    )
    raise errors.NotFound(output.plain(f"{what}; there are: {there}"))


def _write(content: bytes, one: Any, destination: str | None, many: bool) -> Path:
    """Write to a file that was not there before, and return its path."""
    path = Path(destination or ".")
    if many or destination is None or destination.endswith("/") or path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path /= file_name(one.filename, one.part)
    numbered, number = path, 1
    while True:
        try:
            with numbered.open("xb") as file:
                file.write(content)
        except FileExistsError:
            if destination is not None and path == Path(destination):
                raise  # the very file that the caller named
            number += 1
            numbered = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return numbered


def file_name(name: str | None, part: str) -> str:
    """Return a name that stays in its directory and is no surprise: the sender chose it."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    harmless = "".join("_" if one == "\ufffd" or one in '<>:"|?*' else one for one in output.plain(last)).strip(" .")
    encoded = harmless.encode(sys.getfilesystemencoding(), "replace")
    if len(encoded) > LONGEST_NAME:
        stem, dot, suffix = harmless.rpartition(".")
        ending = f".{suffix}" if dot and len(suffix.encode()) <= 16 else ""
        harmless = (stem if ending else harmless).encode()[: LONGEST_NAME - len(ending.encode())].decode(
            "utf-8", "ignore"
        ) + ending
    return harmless or f"part-{part}"
