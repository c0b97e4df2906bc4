"""Find messages in the archive: full text and filters, on both databases, the best matches or the newest first.

How a query is written stands in `query/grammar.py`, how each database is asked in `dialect/matching.py`. Takes the connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Literal

from sqlalchemy import Connection, func, select

from daemon.store import snippets
from daemon.store.dialect import matching
from daemon.store.query import grammar, tree
from daemon.store.schema import messages

SORTS: Final = ("relevance", "date")
TEXT_CHARACTERS: Final = 100_000  # of each text that are looked through for a piece to show

Sort = Literal["relevance", "date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One message that was found. retrieved: whole, or headers if only its header section is here.  rank: the lower the better.

    snippet: a piece of its text, [found words] in brackets.  marks: where these words are in it, (start, end) in characters.
    """

    id: int
    account: str
    sent_at: datetime | None
    from_name: str | None
    from_address: str | None
    subject: str | None
    retrieved: str
    snippet: str
    marks: tuple[tuple[int, int], ...]
    rank: float


def search(
    conn: Connection,
    query: str,
    *,
    limit: int = 20,
    offset: int = 0,
    account: str | None = None,
    sort: Sort = "relevance",
    today: date | None = None,
) -> list[Hit]:
    """Give the messages that a query finds; QueryInvalid says what is wrong with it. account: only its messages.

    By relevance the newest 1,000 matches are ranked, those archived last; by date there is no such limit.
    """
    node = _read(query, account, today)
    asked = tree.leaves(node)
    if sort == "relevance" and asked:
        found = matching.best(conn, node, limit=limit, offset=offset)
        ranks = {one.id: -float(one.score) for one in found}
    else:
        ranks = dict.fromkeys(matching.newest(conn, node, limit=limit, offset=offset), 0.0)
    return _hits(conn, ranks, asked)


def ids(
    conn: Connection, query: str | None = None, *, account: str | None = None, today: date | None = None
) -> Sequence[int]:
    """Give the ids of all messages that a query finds, or of all messages; in the order in which they were archived."""
    node = _read(query or "", account, today)
    return list(
        conn.execute(select(messages.c.id).where(matching.condition(conn, node)).order_by(messages.c.id)).scalars()
    )


def _read(query: str, account: str | None, today: date | None) -> tree.Node:
    node = grammar.parse(query, today or datetime.now(UTC).date())
    return node if account is None else tree.conjunction([node, tree.Exact("account", account)])


def _hits(conn: Connection, ranks: dict[int, float], asked: Sequence[tree.Words]) -> list[Hit]:
    """Read what is shown of messages, and cut a piece out of each one's text. ranks: by id, in the order wanted."""
    t, pattern = messages.c, snippets.sought(asked)
    shown = (t.account, t.sent_at, t.from_name, t.from_address, t.subject, t.retrieved)
    texts = [
        func.substr(func.coalesce(column, ""), 1, TEXT_CHARACTERS)
        for column in (t.body_text, t.attachment_text, t.attachment_names)
    ]
    rows = {row[0]: row[1:] for row in conn.execute(select(t.id, *shown, *texts).where(t.id.in_(list(ranks))))}
    hits = []
    for key, rank in ranks.items():
        account, sent_at, name, address, subject, retrieved, *several = rows[key]
        piece = snippets.snippet(several, pattern)
        hits.append(
            Hit(
                id=key,
                account=account,
                sent_at=sent_at,
                from_name=name,
                from_address=address,
                subject=subject,
                retrieved=retrieved,
                snippet=piece.marked("[", "]"),
                marks=tuple(
                    (start + 2 * place + 1, end + 2 * place + 1) for place, (start, end) in enumerate(piece.found)
                ),
                rank=rank,
            )
        )
    return hits
