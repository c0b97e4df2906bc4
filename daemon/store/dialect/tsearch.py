"""A query for PostgreSQL's full-text search: as its tsquery.

The column `messages.search` knows four fields by their weights. Where several columns share one, their texts are looked at too.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, func, literal, literal_column

from daemon.store.dialect.fulltext import WEIGHTS, joined, plain
from daemon.store.query import ideographs, spelling
from daemon.store.query.tree import Words

CANDIDATES: Final = 1000  # matches that are ranked, the newest ones
_SHARED: Final = {
    "cc": ("C", ("cc_addresses",)),
    "body": ("D", ("body_text",)),
    "filename": ("D", ("attachment_names",)),
    "attachment": ("D", ("attachment_names", "attachment_text")),
}
_MOST_CHARACTERS: Final = 150_000  # of a column that is looked at again
_PLACES: Final = "{0.05, 0.3, 0.8, 1.0}"  # the weights of body, to, from, subject


def found(leaf: Words) -> ColumnElement[bool]:
    """Give the condition that words stand one after another in a message."""
    weight, columns = _SHARED.get(leaf.field, (WEIGHTS.get(leaf.field, ""), ()))
    in_index = literal_column("messages.search").op("@@", is_comparison=True)(_asked(leaf, weight))
    if not columns:
        return in_index
    texts = plain(joined(*((f"messages.{column}", _MOST_CHARACTERS) for column in columns)))
    again = func.to_tsvector("simple", literal_column(texts, Text))
    return and_(in_index, again.op("@@", is_comparison=True)(_asked(leaf, "")))


def has_characters(leaf: Words) -> ColumnElement[bool]:
    """Give the condition that all Chinese, Japanese and Korean characters of words are in a message, in whatever order."""
    characters = sorted({one for word in leaf.words for run in ideographs.runs(word) for one in run})
    asked = " & ".join(f"'{one}'" for one in characters)
    return literal_column("messages.search").op("@@", is_comparison=True)(
        literal_column(f"'{_quoted(asked)}'::tsquery")
    )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def rank(asked: list[Words]) -> ColumnElement[float]:
    """Give how well a message matches, the higher the better."""
    vector: ColumnElement[Any] = literal_column("messages.search")
    ranks = [func.ts_rank(literal_column(f"'{_PLACES}'::real[]"), vector, _asked(leaf, "")) for leaf in asked]
    total: ColumnElement[float] = sum(ranks[1:], start=ranks[0]) if ranks else literal(0.0)
    return total


def _asked(leaf: Words, weight: str) -> Any:
    pieces = []
    for words in spelling.spellings(leaf.words, leaf.field):
        last = len(words) - 1
        flags = [weight + ("*" if leaf.is_prefix and place == last else "") for place in range(last + 1)]
        marked = [f"'{word}'" + (f":{flag}" if flag else "") for word, flag in zip(words, flags, strict=True)]
        pieces.append(f"({' <-> '.join(marked)})")
    return func.to_tsquery("simple", " | ".join(pieces))
