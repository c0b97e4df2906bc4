"""A query for SQLite's FTS5: as its MATCH expression, and ranked.

A match ranks by where the words stand: in the subject, in the sender's name or address. FTS5's own bm25 refines that where all words
are rare: it counts in how many messages each word stands, which in a million takes 0.1 s for a common one. The newest CANDIDATES
matches are ranked, no more: FTS5 gives these in a millisecond.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from daemon.store.query import ideographs, spelling
from daemon.store.query.tree import ANYWHERE, And, Node, Not, Or, Words, conjunction, leaves

CANDIDATES: Final = 1000  # matches that are ranked, the newest ones
COMMON: Final = 5000  # messages that a rare word stands in at most: as many are counted in 2 ms
RANKED_LEAVES: Final = 4  # words that are looked for in subjects and names
IN_SUBJECT: Final = (
    6.0  # what a word is worth there, in the name or address of the sender, and the best of bm25 beside that
)
IN_NAME: Final = 4.0
IN_TEXT: Final = 4.0
_SUBJECT: Final = "{subject}"
_NAMES: Final = "{from_name from_address}"
_PLACES: Final = {
    "subject": _SUBJECT,
    "from": _NAMES,
    "to": "{to_addresses cc_addresses}",
    "cc": "{cc_addresses}",
    "body": "{body_text}",
    "filename": "{attachment_names}",
    "attachment": "{attachment_names attachment_text}",
}


class Ranked(NamedTuple):
    """A message and how well it matches: the higher the better."""

    id: int
    score: float


def expression(node: Node) -> str | None:
    """Write what FTS5 alone can answer as it wants it; None for anything else."""
    match node:
        case Words(words, field):
            is_alone = field not in {"bcc", "filename", "own"} and not any(map(ideographs.are_in, words))
            return phrase(node) if is_alone else None
        case And(parts) if parts:
            wanted = [expression(part) for part in parts if not isinstance(part, Not)]
            unwanted = [expression(part.part) for part in parts if isinstance(part, Not)]
            if not wanted or None in {*wanted, *unwanted}:
                return None
            found = f"({' AND '.join(filter(None, wanted))})"
            return f"({found} NOT ({' OR '.join(filter(None, unwanted))}))" if unwanted else found
        case Or(parts):
            pieces = [expression(part) for part in parts]
            return None if None in pieces else f"({' OR '.join(filter(None, pieces))})"
        case _:
            return None


def phrase(leaf: Words) -> str:
    """Write words one after another; they hold letters and digits only, and are quoted all the same."""
    star = " *" if leaf.is_prefix else ""
    phrases = " OR ".join(f'"{" ".join(one)}"{star}' for one in spelling.spellings(leaf.words, leaf.field))
    where = _PLACES.get(leaf.field)
    return f"({where} : ({phrases}))" if where else f"({phrases})"


def split(node: Node) -> tuple[Node | None, list[Node]]:
    """Divide what must hold into what FTS5 answers, None if that is nothing, and the rest."""
    parts: list[Node] = list(node.parts) if isinstance(node, And) else [node]
    answered = [part for part in parts if expression(part) is not None]
    if not answered:
        return None, parts
    absent = [part for part in parts if isinstance(part, Not) and expression(part.part) is not None]
    rest = [part for part in parts if part not in answered and part not in absent]
    return conjunction([*answered, *absent]), rest


def ranked(conn: Connection, found: Node, candidates: list[int]) -> list[Ranked]:
    """Put candidates into order, the best first, of equal ones the newest. found: what `split` gave; candidates: ids that match."""
    if not candidates:
        return []
    scores = _by_place(conn, found, min(candidates))
    if _are_rare(conn, leaves(found)):
        by_bm25 = _by_bm25(conn, found, min(candidates))
        best = max(by_bm25.values()) or 1.0
        for message, score in by_bm25.items():
            scores[message] += IN_TEXT * score / best
    return sorted((Ranked(one, scores.get(one, 0.0)) for one in candidates), key=lambda one: (-one.score, -one.id))


def _are_rare(conn: Connection, asked: Iterable[Words]) -> bool:
    """Tell whether bm25 is soon done: whether every word that it would count is rare."""
    for leaf in asked:
        if leaf.is_prefix or len(leaf.words) > 1:
            return False
        query = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? LIMIT 1 OFFSET ?"
        if conn.exec_driver_sql(query, (phrase(Words(leaf.words)), COMMON)).first() is not None:
            return False
    return True


def _by_bm25(conn: Connection, found: Node, oldest: int) -> dict[int, float]:
    query = "SELECT rowid, -bm25(messages_fts) FROM messages_fts WHERE messages_fts MATCH ? AND rowid >= ?"
    return dict(iter(conn.exec_driver_sql(query, (expression(found), oldest))))


def _by_place(conn: Connection, found: Node, oldest: int) -> dict[int, float]:
    scores = defaultdict[int, float](float)
    query = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? AND rowid >= ? ORDER BY rowid DESC LIMIT ?"
    for leaf in [one for one in leaves(found) if one.field == ANYWHERE][:RANKED_LEAVES]:
        for place, weight in ((_SUBJECT, IN_SUBJECT), (_NAMES, IN_NAME)):
            asked = f"{expression(found)} AND ({place} : {phrase(leaf)})"
            for message in conn.exec_driver_sql(query, (asked, oldest, CANDIDATES)).scalars():
                scores[message] += weight
    return scores
