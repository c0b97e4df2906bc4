"""A query as conditions on `messages`, and its matches in an order: the newest first, or the best.

What each database's full-text search answers stands in `fts5.py` and `tsearch.py`; the rest is plain SQL.
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    column,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
)

from daemon.store import snippets
from daemon.store.dialect import fts5, statements, tsearch
from daemon.store.dialect.types import SQLITE
from daemon.store.query import ideographs
from daemon.store.query.tree import ANYWHERE, And, Bound, Exact, Node, Not, Or, Words, leaves
from daemon.store.schema import addresses, attachments, messages, outbox_recipients
from daemon.store.thread_tables import thread_aliases

# FTS5 matches up to which they are sorted by date; more are met soon enough on the way back from the newest message.
SORTED: Final = 1000
WALKED: Final = (
    20_000  # up to which they are first gathered; of more, each message on the way is asked whether it matches
)
DATED: Final = (
    300_000  # messages of the days that are asked for, up to which the first and the last of them are looked for
)
_FTS: Final = table("messages_fts", column("rowid"))
_PAIRS: Final = table("messages_pairs", column("rowid"))
_COLUMNS: Final = {
    "subject": ("subject",),
    "from": ("from_name",),
    "to": ("to_addresses", "cc_addresses"),
    "cc": ("cc_addresses",),
    "body": ("body_text",),
    "filename": ("attachment_names",),
    "attachment": ("attachment_names", "attachment_text"),
}
_KEYS: Final = {
    "account": messages.c.account,
    "id": messages.c.id,
    "message-id": messages.c.message_id,
}
_ALL_COLUMNS: Final = tuple(dict.fromkeys(one for several in _COLUMNS.values() for one in several))


def condition(conn: Connection, node: Node) -> ColumnElement[bool]:
    """Give the condition that a query holds of a message; where nothing is known, as of a date that is not there, it may be NULL."""
    match node:
        case And(parts):
            return and_(true(), *(condition(conn, part) for part in parts))
        case Or(parts):
            return or_(false(), *(condition(conn, part) for part in parts))
        case Not(part):
            return ~func.coalesce(condition(conn, part), false())
        case Exact(field, value):
            return _exact(field, value)
        case Bound(field, value):
            return _bound(field, value)
        case Words():
            return _words(conn, node)


def _exact(field: str, value: str) -> ColumnElement[bool]:
    t = messages.c
    if field in _KEYS:
        return _KEYS[field] == (int(value) if field == "id" else value)
    if field == "thread":  # also by a number that it had before it was merged into another
        a = thread_aliases.c
        return or_(t.thread_id == int(value), t.thread_id.in_(select(a.thread_id).where(a.alias == int(value))))
    properties: dict[str, ColumnElement[bool]] = {
        "attachment": t.attachment_count > 0,
        "reply": t.in_reply_to.is_not(None),
        "defective": t.defects != literal_column("'[]'"),
        "headers": t.retrieved == "headers",
        "bounce": _is_bounce(),
        "unindexed": t.parser_version == 0,
    }
    return properties[value]


def _is_bounce() -> ColumnElement[bool]:
    """Tell bounces by whom they are from, and those that were matched with what was sent."""
    t, r = messages.c, outbox_recipients.c
    sender = func.lower(func.coalesce(t.from_address, ""))
    matched = select(r.report).where(r.report.is_not(None), r.status.in_(["bounced", "delayed"]))
    return or_(sender.like("mailer-daemon@%"), sender == "mailer-daemon", t.id.in_(matched))


def _bound(field: str, value: Any) -> ColumnElement[bool]:
    t = messages.c
    bounds: dict[str, ColumnElement[bool]] = {
        "after": t.sent_at >= value,
        "before": t.sent_at < value,
        "larger": t.octets > value,
        "smaller": t.octets < value,
    }
    return bounds[field]


# --- words ----------------------------------------------------------------------------------------------------------


def _words(conn: Connection, leaf: Words) -> ColumnElement[bool]:
    t = messages.c
    if leaf.field == "bcc":
        a = addresses.c
        return t.id.in_(select(a.message).where(a.role == "bcc", _like(conn, a.name + " " + a.address, leaf.words)))
    if leaf.field == "own":
        return statements.among(conn, t.id, _own(conn, Words(leaf.words, "body", leaf.is_prefix)))
    if ideographs.are_in(" ".join(leaf.words)):
        return and_(_has_characters(conn, leaf), _in_texts(conn, leaf))
    found = tsearch.found(leaf) if conn.dialect.name != SQLITE else t.id.in_(_matching(fts5.phrase(leaf)))
    if leaf.field == "filename":  # parts of words too: nobody puts blanks into the names of files
        return or_(
            found, t.id.in_(select(attachments.c.message).where(_like(conn, attachments.c.filename, leaf.words)))
        )
    return found


def _own(conn: Connection, leaf: Words) -> list[int]:
    """Give the newest messages that have words in what their senders wrote themselves: not quoted, and in no signature."""
    t, pattern = messages.c, snippets.sought([leaf])
    found = {one.id for one in best(conn, leaf, limit=fts5.CANDIDATES, offset=0)}
    mixed = or_(t.quoted_ranges.is_not(None), t.signature_ranges.is_not(None))
    query = select(t.id, t.body_text, t.quoted_ranges, t.signature_ranges)
    for message, body, *ranges in conn.execute(query.where(statements.among(conn, t.id, sorted(found)), mixed)):
        left_out = sorted((start, end) for several in ranges for start, end in several or ())
        places = pairwise([0, *(place for one in left_out for place in one), len(body)])
        if pattern is None or not any(pattern.search(body[start:end]) for start, end in list(places)[::2]):
            found.discard(message)
    return sorted(found)


def _like(conn: Connection, texts: ColumnElement[str], words: Sequence[str]) -> ColumnElement[bool]:
    """Find words anywhere, in their order, whatever their case. They hold no wildcards."""
    pattern = f"%{'%'.join(words)}%"
    return texts.like(pattern) if conn.dialect.name == SQLITE else texts.ilike(pattern)  # SQLite's LIKE ignores case


def _matching(expression: str) -> Select[Any]:
    is_match = literal_column("messages_fts").op("MATCH", is_comparison=True)
    return select(_FTS.c.rowid).where(is_match(literal(expression)))


def _has_characters(conn: Connection, leaf: Words) -> ColumnElement[bool]:
    """Find the messages that may have the words: all their characters, or pairs of them, are there."""
    if conn.dialect.name != SQLITE:
        return tsearch.has_characters(leaf)
    return messages.c.id.in_(select(_PAIRS.c.rowid).where(_has_pairs(leaf)))


def _has_pairs(leaf: Words) -> ColumnElement[bool]:
    runs = [run for word in leaf.words for run in ideographs.runs(word)]
    pieces = {f'"{run}" *' for run in runs if len(run) == 1} | {
        f'"{run[at : at + 2]}"' for run in runs for at in range(len(run) - 1)
    }
    return literal_column("messages_pairs").op("MATCH", is_comparison=True)(literal(" AND ".join(sorted(pieces))))


def _in_texts(conn: Connection, leaf: Words) -> ColumnElement[bool]:
    names = _ALL_COLUMNS if leaf.field == ANYWHERE else _COLUMNS[leaf.field]
    # Composed, and as a Mac writes names of files.
    forms = sorted({tuple(unicodedata.normalize(form, word) for word in leaf.words) for form in ("NFC", "NFD")})
    return or_(*(_like(conn, messages.c[name], words) for name in names for words in forms))


# --- in an order ----------------------------------------------------------------------------------------------------


def newest(conn: Connection, node: Node, *, limit: int, offset: int) -> list[int]:
    """Give the ids of matches by their date, the newest first, those without one last."""
    t = messages.c
    found = select(t.id).order_by(t.sent_at.desc().nulls_last(), t.id.desc()).limit(limit).offset(offset)
    asked, rest = fts5.split(node) if conn.dialect.name == SQLITE else (None, [node])
    conditions = [condition(conn, one) for one in rest]
    if asked is not None:
        expression = fts5.expression(asked)
        assert expression is not None  # noqa: S101 -- what `split` gives is what FTS5 answers
        conditions.append(_met(conn, expression, limit + offset))
    return list(conn.execute(found.where(*conditions)).scalars())


def _met(conn: Connection, expression: str, wanted: int) -> ColumnElement[bool]:
    """Give the condition that FTS5 finds a message, in the form that is soon done for as many as match."""
    matching = _matching(expression)
    count = conn.execute(select(func.count()).select_from(matching.limit(WALKED).subquery())).scalar_one()
    if count < max(SORTED, wanted):
        return messages.c.id.in_(matching)
    if count < WALKED:  # a plus: not by way of the ids, but of the index of dates
        return literal_column("+messages.id").in_(matching)
    return exists(matching.where(_FTS.c.rowid == messages.c.id).correlate(messages))


def best(conn: Connection, node: Node, *, limit: int, offset: int) -> list[fts5.Ranked]:
    """Give matches by how well they match, the best first, of equal ones the newest; beyond CANDIDATES none are looked at."""
    t = messages.c
    if conn.dialect.name != SQLITE:
        asked = [one for one in leaves(node) if one.field != "bcc" and not ideographs.are_in(" ".join(one.words))]
        candidates = select(t.id, tsearch.rank(asked).label("score")).where(condition(conn, node))
        newest_ones = candidates.order_by(t.id.desc()).limit(tsearch.CANDIDATES).subquery()
        in_order = select(newest_ones).order_by(newest_ones.c.score.desc(), newest_ones.c.id.desc())
        return [fts5.Ranked(*row) for row in conn.execute(in_order.limit(limit).offset(offset))]
    found, rest = fts5.split(node)
    if found is not None:
        expression = fts5.expression(found) or ""
        return fts5.ranked(conn, found, _candidates(conn, expression, rest))[offset : offset + limit]
    drawn = [one for one in rest if isinstance(one, Words) and one.field in {ANYWHERE, *_COLUMNS}]
    drawn = [one for one in drawn if ideographs.are_in(" ".join(one.words))]
    ids = _drawn(conn, drawn[0], rest) if drawn else newest(conn, node, limit=limit + offset, offset=0)
    return [fts5.Ranked(one, 0.0) for one in ids[offset : offset + limit]]


def _candidates(conn: Connection, expression: str, rest: Sequence[Node]) -> list[int]:
    """Give the newest messages that FTS5 finds and of which the rest holds too, in the order of their ids."""
    query = _matching(expression).order_by(_FTS.c.rowid.desc()).limit(fts5.CANDIDATES)
    if rest:
        # A plus: from what FTS5 gives in its order to the messages, never the other way round.
        query = query.join_from(_FTS, messages, text("messages.id = +messages_fts.rowid"))
        query = query.where(*(condition(conn, one) for one in rest))
        first, last = _between(conn, rest)
        if first is not None:
            query = query.where(_FTS.c.rowid >= first, _FTS.c.rowid <= last)
    return list(conn.execute(query).scalars())


def _between(conn: Connection, rest: Sequence[Node]) -> tuple[int | None, int | None]:
    """Give the lowest and the highest id of the messages of some days: FTS5 need not come by all that are younger.

    (None, None) where no days are asked for, or too many messages are of them to look.
    """
    days = [_bound(one.field, one.value) for one in rest if isinstance(one, Bound) and one.field in {"after", "before"}]
    if not days:
        return None, None
    of_them = select(messages.c.id).where(*days).limit(DATED).subquery()
    first, last, count = conn.execute(select(func.min(of_them.c.id), func.max(of_them.c.id), func.count())).one()
    return (None, None) if count in {0, DATED} else (first, last)


def _drawn(conn: Connection, leaf: Words, rest: Sequence[Node]) -> list[int]:
    """Give the newest messages that have Chinese, Japanese or Korean words, by their dates."""
    t = messages.c
    others = [condition(conn, one) for one in rest if one is not leaf]
    query = select(t.id, t.sent_at).join_from(_PAIRS, messages, text("messages.id = +messages_pairs.rowid"))
    query = query.where(_has_pairs(leaf), _in_texts(conn, leaf), *others)
    newest_ones = query.order_by(_PAIRS.c.rowid.desc()).limit(fts5.CANDIDATES).subquery()
    c = newest_ones.c
    return list(conn.execute(select(c.id).order_by(c.sent_at.desc().nulls_last(), c.id.desc())).scalars())
