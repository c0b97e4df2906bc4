"""Find messages in the archive, the best matches first: full text and filters, on both databases.

How a query is written stands in `query.py`, how each database is asked in `dialect/fulltext.py`. Takes the connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, select

from daemon.store import query as asking
from daemon.store.dialect import matching
from daemon.store.schema import messages

SNIPPET_CHARACTERS: Final = 160  # of the text, where no word was asked for that could be shown in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One message that was found. retrieved: whole, or headers if only its header section is here.  snippet: a piece of it, [found words] in brackets.  rank: the lower the better."""

    id: int
    account: str
    sent_at: datetime | None
    from_name: str | None
    from_address: str | None
    subject: str | None
    retrieved: str
    snippet: str
    rank: float


def search(conn: Connection, query: str, *, limit: int = 20, offset: int = 0, account: str | None = None) -> list[Hit]:
    """Give the messages that a query finds; InputInvalid says what is wrong with it. account: only its messages."""
    asked = asking.parse(query)
    wanted = [term for term in asked.terms if not term.is_negated]
    t = messages.c
    match = matching.ranked(conn, wanted, SNIPPET_CHARACTERS)
    columns = (
        t.id,
        t.account,
        t.sent_at,
        t.from_name,
        t.from_address,
        t.subject,
        t.retrieved,
        match.snippet,
        match.rank,
    )
    found = select(*columns).select_from(match.source).where(*match.conditions, *_filters(conn, asked, account))
    # The newest first where all match equally well, or nothing was asked that could match better or worse.
    found = found.order_by(match.rank, t.sent_at.desc().nulls_last(), t.id.desc())
    rows = conn.execute(found.limit(limit).offset(offset))
    return [Hit(**row._asdict()) for row in rows]


def ids(conn: Connection, query: str | None = None, *, account: str | None = None) -> Sequence[int]:
    """Give the ids of all messages that a query finds, or of all messages; in the order in which they were archived."""
    asked = asking.parse(query or "")
    wanted = [term for term in asked.terms if not term.is_negated]
    found: Select[Any] = select(messages.c.id)
    if wanted:
        found = found.where(matching.matches(conn, wanted))
    return list(conn.execute(found.where(*_filters(conn, asked, account)).order_by(messages.c.id)).scalars())


def _filters(conn: Connection, asked: asking.Query, account: str | None) -> list[ColumnElement[bool]]:
    t = messages.c
    conditions: list[ColumnElement[bool]] = [~matching.matches(conn, [term]) for term in asked.terms if term.is_negated]
    if asked.attachments is not None:
        conditions.append(t.attachment_count > 0 if asked.attachments else t.attachment_count == 0)
    if asked.after is not None:
        conditions.append(t.sent_at >= asked.after)
    if asked.before is not None:
        conditions.append(t.sent_at < asked.before)
    if asked.accounts:
        conditions.append(t.account.in_(asked.accounts))
    if asked.not_accounts:
        conditions.append(t.account.not_in(asked.not_accounts))
    if account is not None:
        conditions.append(t.account == account)
    return conditions
