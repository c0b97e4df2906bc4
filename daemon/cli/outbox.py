"""`postroom outbox`: put a row in, change what may be changed. Plain SQL does the same. Looking at rows is in `rows`."""

from __future__ import annotations

import mimetypes
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon import errors
from daemon.cli import completion, house, output, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.mail.entity import Attachment


@click.group()
def outbox() -> None:
    """Add rows to the outbox, list, hold, retry or cancel them."""


for _command in (rows.list_, rows.show, rows.purge):
    outbox.add_command(_command)


# --- add ------------------------------------------------------------------------------------------------------------


def _text_of(path: Path) -> str:
    return _utf8(path.read_bytes(), str(path))


def _utf8(octets: bytes, where: str) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise errors.InputInvalid(
            f"{where}: octet {error.start + 1} is not UTF-8; a complete message of any octets can be given by --raw"
        ) from error


def _moment(_ctx: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    """Read a time: ISO 8601 (UTC if it has no zone), or a wait from now."""
    if text is None:
        return None
    from daemon import notation

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) + notation.wait(text.removeprefix("+"))
        except ValueError as error:
            raise click.BadParameter(
                f"{text!r} is not a time like 2026-11-24T08:00:00Z, nor a wait from now like 2h.", param=option
            ) from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _header(_ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon:
            raise click.BadParameter(f"{text!r} is not 'Name: value'.", param=option)
        headers[name.strip()] = value.strip()
    return headers


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@outbox.command()
@click.option("--to", multiple=True, metavar="ADDRESSES", help="Recipients; may be given again, and hold a list.")
@click.option("--cc", multiple=True, metavar="ADDRESSES")
@click.option("--bcc", multiple=True, metavar="ADDRESSES", help="They stand in no header.")
@click.option("--subject", metavar="TEXT")
@click.option("--html", type=_FILE, metavar="FILE", help="An HTML text, beside the plain one or alone.")
@click.option("--attach", type=_FILE, multiple=True, metavar="FILE", help="May be given again.")
@click.option(
    "--raw",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="A complete message instead; - is stdin.",
)
@click.option("--forward", type=click.IntRange(1), metavar="ID", help="An archived message instead, as it came.")
@click.option(
    "--account",
    metavar="NAME",
    help="Send through this account.  [default: by sender]",
    shell_complete=completion.accounts,
)
@click.option("--sender", metavar="ADDRESS", help="From.  [default: the account's address]")
@click.option("--reply-to", metavar="ADDRESSES")
@click.option(
    "--header", "headers", multiple=True, callback=_header, metavar="'NAME: VALUE'", help="A further header field."
)
@click.option("--key", metavar="TEXT", help="A row with this key is put in once; its id is printed again.")
@click.option(
    "--send-after", callback=_moment, metavar="TIME", help="Not before: 2026-11-24T08:00:00Z, or from now: 2h."
)
@click.option("--expires-at", callback=_moment, metavar="TIME", help="Give up then.  [default: after 5 days]")
@click.option("--priority", type=int, default=0, metavar="NUMBER", help="Higher goes first.  [default: 0]")
@click.option(
    "--on-doubt",
    type=click.Choice(["retry", "hold"]),
    help="When nobody knows whether the relay took it.  [default: retry]",
)
@click.option("--hold", is_flag=True, help="Put it in, but send it only when released.")
def add(
    *,
    to: tuple[str, ...],
    cc: tuple[str, ...],
    bcc: tuple[str, ...],
    html: Path | None,
    attach: tuple[Path, ...],
    raw: Path | None,
    forward: int | None,
    key: str | None,
    hold: bool,
    **columns: Any,
) -> None:
    """Add a row and print its id; the text is read from stdin.

    The text must be UTF-8. It is not read where --raw or --forward is given, nor from a terminal where --html is.
    """  # fmt: skip
    if not to:
        raise click.UsageError("--to is missing; it takes one recipient or more.")
    from daemon.store import desk

    body = None
    if raw is None and forward is None and not (html is not None and sys.stdin.isatty()):
        if sys.stdin.isatty():
            click.echo("The text, then Ctrl-D:", err=True)
        body = _utf8(sys.stdin.buffer.read(), "stdin")
    with house.archive(make=True) as database:
        attachments = tuple(_attachment(path) for path in attach)
        columns |= {name: ", ".join(given) or None for name, given in (("cc", cc), ("bcc", bcc))}
        columns |= {
            "recipients": ", ".join(to),
            "body": body if body or html is None else None,
            "html": None if html is None else _text_of(html),
            "raw": None if raw is None else _octets(raw),
            "forwards": forward,
            "headers": columns["headers"] or None,
            "idempotency_key": key,
            "status": "held" if hold else "queued",
        }
        with database.transaction() as tx:
            number = desk.add(tx, attachments=attachments, **columns)
    click.echo(number)


def _octets(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


def _attachment(path: Path) -> Attachment:
    from daemon.mail.entity import Attachment

    guessed, encoding = mimetypes.guess_type(path.name)
    content_type = guessed if guessed and not encoding else "application/octet-stream"
    return Attachment(filename=path.name, content_type=content_type, content=path.read_bytes(), content_id=None)


# --- change ---------------------------------------------------------------------------------------------------------


def _change(what: str, change: Callable[[Any, Any], list[int]]) -> None:
    with house.archive() as database, database.transaction() as tx:
        from daemon.store import desk

        changed = change(desk, tx)
    click.echo(f"{output.count(len(changed), 'row')} {what}" + (f": {', '.join(map(str, changed))}" if changed else ""))


_IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))


@outbox.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="Every row that waits or has failed.")
def retry(ids: tuple[int, ...], every: bool) -> None:
    """Make rows due now, whatever the schedule said.

    Also rows that have failed, expired or are in doubt; recipients that have the letter are not sent it again.
    """
    if bool(ids) == every:
        raise click.UsageError("Say which rows: ID..., or --all.")
    _change("due now", lambda desk, tx: desk.retry(tx, None if every else ids, datetime.now(UTC)))


@outbox.command()
@_IDS
def hold(ids: tuple[int, ...]) -> None:
    """Keep rows from being sent until they are released."""
    _change("held", lambda desk, tx: desk.hold(tx, ids))


@outbox.command()
@_IDS
def release(ids: tuple[int, ...]) -> None:
    """Let held rows go."""
    _change("released", lambda desk, tx: desk.release(tx, ids, datetime.now(UTC)))


@outbox.command()
@_IDS
def cancel(ids: tuple[int, ...]) -> None:
    """End rows that are not sent yet, for good."""
    _change("cancelled", lambda desk, tx: desk.cancel(tx, ids))
