"""`postroom outbox list`, `show` and `purge`: look at rows, and let go of those that are long over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES: Final = (
    "queued",
    "sending",
    "deferred",
    "sent",
    "partial",
    "failed",
    "in_doubt",
    "held",
    "cancelled",
    "expired",
)
FINISHED: Final = ("sent", "partial", "failed", "cancelled", "expired")
PURGE_ROWS: Final = 200  # a transaction: others that write wait no longer than for this


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only rows of this status.")
@click.option("--account", metavar="NAME", help="Only rows of this account.", shell_complete=completion.accounts)
@click.option("--to", metavar="ADDRESS", help="Only rows that name this recipient.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this many.")
@output.json_option
def list_(*, status: str | None, account: str | None, to: str | None, limit: int, as_json: bool) -> None:
    """List rows, the newest first."""
    from daemon.store import desk

    with house.archive() as database, database.reading() as conn:
        found = desk.listing(conn, status, limit, account=account, to=to)
    if as_json:
        output.print_json(found)
        return
    lines = [
        (
            str(one.id),
            one.status,
            one.recipients or "",
            one.subject or "",
            output.moment(one.next_attempt_at or one.sent_at),
            one.last_error or "",
        )
        for one in found
    ]
    output.print_table(
        ("id", "status", "recipients", "subject", "next or sent", "last error"),
        lines,
        right=("id",),
        whole=("status", "next or sent"),
        wide="last error",
        none="no such rows",
    )


@click.command()
@click.argument("row", metavar="ID", type=click.IntRange(1))
@click.option("--transcript", is_flag=True, help="Also what was said, in each attempt that did not go well.")
@output.json_option
def show(*, row: int, transcript: bool, as_json: bool) -> None:
    """Show one row with its verdicts and attempts.

    Secrets are not in a transcript, nor the letter itself. It is that of the whole session, so other rows may be in it.
    """
    from daemon.store import desk

    with house.archive() as database, database.reading() as conn:
        found = desk.show(conn, row)
    if as_json:
        click.echo(output.dump(output.fields(found)))
        return
    for name, value in output.fields(found.row).items():
        if value not in (None, "", b"", 0, {}):
            text = (
                output.moment(value)
                if isinstance(value, datetime)
                else f"{len(value):,} octets"
                if isinstance(value, bytes)
                else str(value)
            )
            click.echo(f"{output.styled(name + ':', bold=True)} {output.plain(text)}")
    _recipients(found.recipients)
    _attempts(found.attempts)
    _transcripts(found.attempts, whole=transcript)


def _recipients(recipients: Sequence[Any]) -> None:
    if recipients:
        click.echo()
        verdicts = [(one.address, one.status, _code(one), one.reply or "") for one in recipients]
        output.print_table(("recipient", "status", "code", "reply"), verdicts, whole=("status", "code"), wide="reply")


def _attempts(attempts: Sequence[Any]) -> None:
    if attempts:
        click.echo()
        lines = [
            (
                str(one.number),
                output.moment(one.started_at),
                one.account or "",
                one.relay or "",
                _took(one),
                one.outcome or "under way",
                _code(one),
                one.reply or "",
            )
            for one in attempts
        ]
        output.print_table(
            ("attempt", "started", "account", "relay", "took", "outcome", "code", "reply"),
            lines,
            right=("attempt", "took"),
            whole=("started", "took", "outcome", "code"),
            wide="reply",
        )


def _code(one: Any) -> str:
    return " ".join(str(part) for part in (one.code, one.enhanced_code) if part)


def _took(one: Any) -> str:
    return "" if one.finished_at is None else f"{(one.finished_at - one.started_at).total_seconds():.1f} s"


def _transcripts(attempts: Sequence[Any], *, whole: bool) -> None:
    kept = [one for one in attempts if one.transcript]
    if kept and not whole:
        click.echo(
            f"\nthe session of attempt {', '.join(str(one.number) for one in kept)} was kept: --transcript shows it"
        )
    for one in kept if whole else ():
        click.echo(f"\n{output.styled(f'attempt {one.number}, session {one.session}:', bold=True)}")
        click.echo(output.plain(one.transcript, keep_lines=True))


# --- let go ---------------------------------------------------------------------------------------------------------


def _age(_ctx: click.Context, option: click.Parameter, text: str) -> timedelta:
    from daemon import notation
    from daemon.store import purge

    try:
        age = notation.wait(text)
    except ValueError as error:
        why = f" ({error})" if str(error) else ""
        raise click.BadParameter(f"{text!r} is not an age like 90d{why}.", param=option) from error
    if age < purge.YOUNGEST:
        raise click.BadParameter("a day at least: budgets count its attempts.", param=option)
    return age


def _statuses(_ctx: click.Context, option: click.Parameter, text: str) -> list[str]:
    given = [one.strip() for one in text.split(",")]
    for one in given:
        if one not in FINISHED:
            raise click.BadParameter(f"{one!r} is not one of {', '.join(FINISHED)}.", param=option)
    return given


@click.command()
@click.option("--older-than", required=True, callback=_age, metavar="AGE", help="Over for longer than this: 90d.")
@click.option(
    "--status", default=",".join(FINISHED), callback=_statuses, metavar="LIST", help="Only these: sent,failed."
)
@click.option("--keys", is_flag=True, help="Also rows with an idempotency key, which could then be put in again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted (so it is without --yes).")
@click.option("--yes", is_flag=True, help="Delete.")
def purge(*, older_than: timedelta, status: list[str], keys: bool, dry_run: bool, yes: bool) -> None:
    """Delete rows that are long over, with their verdicts.

    A row with an idempotency key stays, with its verdicts, so that it is not put in again; its letter, its attachments and its
    transcripts are deleted. Rows that wait, are held, or are in doubt stay as they are.
    """
    from daemon.store import purge as purging

    if dry_run and yes:
        raise click.UsageError("Say --dry-run or --yes, not both.")
    before = datetime.now(UTC) - older_than
    with house.archive() as database, output.progress("rows") as advance:
        with database.reading() as conn:
            counted = purging.count(conn, before=before, statuses=status, keys=keys)
        what = f"{output.count(counted.deleted, 'row')} over before {output.moment(before)} UTC"
        rest = f"{output.count(counted.emptied, 'row')} with an idempotency key"
        if not yes:
            click.echo(f"{what} would be deleted, {rest} emptied" + ("; --yes does it" if any(counted) else ""))
            return
        deleted = emptied = after = 0
        while True:
            with database.transaction() as tx:
                done = purging.purge(tx, before=before, statuses=status, keys=keys, after=after, limit=PURGE_ROWS)
            if done.last is None:
                break
            deleted, emptied, after = deleted + done.deleted, emptied + done.emptied, done.last
            if advance is not None:
                advance("purge", deleted + emptied, max(deleted + emptied, counted.deleted + counted.emptied))
    click.echo(f"{output.count(deleted, 'row')} deleted, {output.count(emptied, 'row')} emptied")
