"""`postroom search`: find messages in the archive."""

import click

from daemon.cli import house, output


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--account", metavar="NAME", help="Only messages of this account.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this many.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out this many first.")
@output.json_option
def search(query: tuple[str, ...], account: str | None, limit: int, offset: int, as_json: bool) -> None:
    """Find messages, the best matches first.

    QUERY is words that must all occur, anywhere in headers, text or attachments' names. Beside words: "a phrase", begin*,
    -without, from:bob, to:anna, subject:invoice, has:attachment, after:2026-01-31, before:2026-02, account:work. Say -- before
    a QUERY that begins with a minus.
    """
    from daemon.store import search as finding

    with house.archive() as database, database.reading() as conn:
        hits = finding.search(conn, " ".join(query), limit=limit, offset=offset, account=account)
    if as_json:
        output.print_json(hits)
        return
    rows = [
        (
            str(one.id),
            output.moment(one.sent_at)[:16],
            one.from_name or one.from_address or "",
            one.subject or "",
            one.snippet or "",
        )
        for one in hits
    ]
    output.print_table(
        ("id", "sent", "from", "subject", "text"),
        rows,
        right=("id",),
        whole=("sent",),
        wide="text",
        none="nothing found",
    )
    if output.is_terminal() and len(hits) == limit:
        click.echo(f"The first {limit}; --offset {offset + limit} shows more.", err=True)
