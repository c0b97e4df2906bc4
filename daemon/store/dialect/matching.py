"""Ask each database's full-text search for terms, and have it rank and show what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Text,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
)

from daemon.store.dialect.fulltext import WEIGHTS
from daemon.store.dialect.types import SQLITE
from daemon.store.query import Term
from daemon.store.schema import messages

_FTS: Final = table("messages_fts", column("rowid"), column("rank", Float))
_COLUMNS: Final = {"subject": "{subject}", "from": "{from_name from_address}", "to": "{to_addresses cc_addresses}"}
_SNIPPET: Final = "snippet(messages_fts, -1, '[', ']', '…', 12)"
_HEADLINE: Final = "StartSel=[, StopSel=], MaxFragments=1, MaxWords=14, MinWords=5, FragmentDelimiter=…"
_HEADLINE_CHARACTERS: Final = 20_000  # of the text, looked through for a piece to show


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The parts of a SELECT over messages that match: where from, on what conditions, and two columns."""

    source: FromClause
    conditions: tuple[ColumnElement[bool], ...]
    snippet: ColumnElement[str]
    rank: ColumnElement[float]


def ranked(conn: Connection, terms: Sequence[Term], characters: int) -> Ranked:
    """Match all terms; with none, every message matches equally, and its text is shown from the beginning."""
    t = messages.c
    if not terms:
        head = func.substr(func.coalesce(t.body_text, ""), 1, characters).label("snippet")
        return Ranked(source=messages, conditions=(), snippet=head, rank=literal(0.0, Float).label("rank"))
    if conn.dialect.name == SQLITE:
        return Ranked(
            source=messages.join(_FTS, _FTS.c.rowid == t.id),
            conditions=(_match(terms),),
            snippet=literal_column(_SNIPPET, Text).label("snippet"),
            rank=_FTS.c.rank.label("rank"),
        )
    asked = _tsquery(terms)
    shown = func.concat_ws(" ", t.subject, func.left(t.body_text, _HEADLINE_CHARACTERS))
    return Ranked(
        source=messages,
        conditions=(matches(conn, terms),),
        snippet=func.ts_headline("simple", shown, asked, _HEADLINE).label("snippet"),
        rank=(-func.ts_rank(literal_column("messages.search"), asked)).label("rank"),
    )


def matches(conn: Connection, terms: Sequence[Term]) -> ColumnElement[bool]:
    """Give the condition that a message matches all terms; it can be negated."""
    if conn.dialect.name == SQLITE:
        return messages.c.id.in_(select(_FTS.c.rowid).where(_match(terms)))
    # A message that is not indexed yet has an empty vector, not NULL.
    return literal_column("messages.search").op("@@", is_comparison=True)(_tsquery(terms))


def _match(terms: Sequence[Term]) -> ColumnElement[bool]:
    return literal_column("messages_fts").op("MATCH", is_comparison=True)(literal(_fts5(terms)))


def _fts5(terms: Sequence[Term]) -> str:
    """Write a query for FTS5; words hold letters and digits only, and are quoted all the same."""
    pieces = []
    for term in terms:
        where = f"{_COLUMNS[term.field]} : " if term.field else ""
        pieces.append(f'{where}"{" ".join(term.words)}"{"*" if term.is_prefix else ""}')
    return " AND ".join(pieces)


def _tsquery(terms: Sequence[Term]) -> Any:
    pieces = []
    for term in terms:
        weight = WEIGHTS.get(term.field, "")
        last = len(term.words) - 1
        flags = [weight + ("*" if term.is_prefix and n == last else "") for n in range(last + 1)]
        words = [f"'{word}'" + (f":{flag}" if flag else "") for word, flag in zip(term.words, flags, strict=True)]
        pieces.append("(" + " <-> ".join(words) + ")")
    return func.to_tsquery("simple", " & ".join(pieces))
