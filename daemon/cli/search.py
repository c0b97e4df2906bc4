"""`postroom search`: find messages in the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import click

from daemon.cli import completion, house, output

if TYPE_CHECKING:
    from daemon.store.search import Hit

NEAR: Final = 12  # characters before what was found, where the column is narrow


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--account", metavar="NAME", help="Only messages of this account.", shell_complete=completion.accounts)
@click.option(
    "--sort",
    type=click.Choice(["relevance", "date"]),
    default="relevance",
    show_default=True,
    help="Best first, or newest.",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this many.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out this many first.")
@click.option("--page", type=click.IntRange(1), help="Leave out the pages before this one, of --limit each.")
@output.json_option
def search(
    query: tuple[str, ...],
    account: str | None,
    sort: Literal["relevance", "date"],
    limit: int,
    offset: int,
    page: int | None,
    as_json: bool,
) -> None:
    """Find messages, the best matches first.

    QUERY is words that must all occur, anywhere in headers, text, or attachments' names and texts. Beside words: "a phrase",
    begin*, -without, OR, (brackets).

    \b
    from: to: cc: bcc: subject: body:    words there; from:(bob OR carol)
    own:                                 in the text, but neither quoted nor in a signature
    attachment: filename:                words in attachments and their names, or names only
    has:attachment is:reply is:bounce    is:defective is:headers is:unindexed
    after:2026-01-31 before:2026-02      date:2026-01..2026-03, date:yesterday, after:7d, date:last-week
    larger:5M smaller:10k                account:work  thread:12  id:7  message-id:a@b.example

    Say -- before a QUERY that begins with a minus. Of more matches than 1,000, the newest ones are put into order by relevance.
    """  # noqa: D301 -- a real backspace: click leaves the lines behind it as they are
    if page is not None:
        offset += (page - 1) * limit
    from daemon.store import search as finding

    with house.archive() as database, database.reading() as conn:
        hits = finding.search(conn, " ".join(query), limit=limit, offset=offset, account=account, sort=sort)
    if as_json:
        output.print_json(hits)
        return
    pieces = [_piece(one) for one in hits] if output.is_terminal() else [(one.snippet, []) for one in hits]
    rows = [
        (str(one.id), output.moment(one.sent_at)[:16], one.from_name or one.from_address or "", one.subject or "", text)
        for one, (text, _) in zip(hits, pieces, strict=True)
    ]
    output.print_table(
        ("id", "sent", "from", "subject", "text"),
        rows,
        right=("id",),
        whole=("sent",),
        wide="text",
        bold={"text": [marks for _, marks in pieces]},
        none="nothing found",
    )
    if output.is_terminal() and len(hits) == limit:
        click.echo(f"The first {limit}; --offset {offset + limit} shows more.", err=True)


def _piece(hit: Hit) -> tuple[str, list[tuple[int, int]]]:
    """Give a snippet without its brackets, so that the first word that was found is near its beginning, and where those words are."""
    marks = [(start - 2 * place - 1, end - 2 * place - 1) for place, (start, end) in enumerate(hit.marks)]
    text, done = "", 0
    for start, end in hit.marks:
        text += hit.snippet[done : start - 1] + hit.snippet[start:end]
        done = end + 1
    text += hit.snippet[done:]
    cut = text.rfind(" ", 0, max(0, marks[0][0] - NEAR)) + 1 if marks else 0
    return (f"…{text[cut:]}", [(start - cut + 1, end - cut + 1) for start, end in marks]) if cut else (text, marks)
