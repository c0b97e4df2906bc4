"""Full-text search: an FTS5 table beside `messages` on SQLite, a generated tsvector in it on PostgreSQL.

A message is in the index once it is parsed (`parser_version` above 0), so that archiving pays nothing for it. PostgreSQL's
column is generated from the head of long texts: a tsvector holds 1 MB at most, and a larger one would refuse the row.
Punctuation is turned into spaces there, so that `anna` finds `anna@example.org` on both, and accents are taken off, as FTS5 does.

Chinese, Japanese and Korean are indexed by characters (`query/ideographs.py`): PostgreSQL's tsvector has each, `messages_pairs` each
neighbouring pair. That table has no content, and no trigger, since SQL can't cut a text into pairs: `note_pairs` fills it when a
message is indexed. What is deleted or changed stays in it, and is never shown: whatever is found there is looked for in the text too.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from daemon.store.dialect.types import POSTGRESQL, SQLITE
from daemon.store.query import ideographs

COLUMNS: Final = (
    "subject",
    "from_name",
    "from_address",
    "to_addresses",
    "cc_addresses",
    "body_text",
    "attachment_names",
    "attachment_text",
)

# --- SQLite ---------------------------------------------------------------------------------------------------------

_TABLE: Final = (
    f"CREATE VIRTUAL TABLE messages_fts USING fts5({', '.join(COLUMNS)},"
    " content='messages', content_rowid='id', tokenize=\"unicode61 remove_diacritics 2\")"
)
# Which messages have a pair, and nothing else: some octets a message.
_PAIRS: Final = (
    "CREATE VIRTUAL TABLE messages_pairs USING fts5(pairs, content='', detail=none, columnsize=0,"
    ' tokenize="unicode61 remove_diacritics 0")'
)


def _values(row: str) -> str:
    return ", ".join(f"{row}.{column}" for column in COLUMNS)


_ADD: Final = f"INSERT INTO messages_fts(rowid, {', '.join(COLUMNS)}) SELECT NEW.id, {_values('NEW')} WHERE NEW.parser_version > 0;"
# An external-content index must be told the very values that it holds to forget them.
_FORGET: Final = (
    f"INSERT INTO messages_fts(messages_fts, rowid, {', '.join(COLUMNS)})"
    f" SELECT 'delete', OLD.id, {_values('OLD')} WHERE OLD.parser_version > 0;"
)

_DIFFERS: Final = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in COLUMNS)

TRIGGERS_SQLITE: Final = {
    "messages_fts_insert": f"CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN NEW.parser_version > 0 BEGIN\n  {_ADD}\nEND",
    "messages_fts_delete": f"CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages WHEN OLD.parser_version > 0 BEGIN\n  {_FORGET}\nEND",
    # A new parser that reads the same leaves the index alone.
    "messages_fts_update": f"CREATE TRIGGER messages_fts_update AFTER UPDATE OF {', '.join(COLUMNS)}, parser_version ON messages"
    f" WHEN OLD.parser_version = 0 OR NEW.parser_version = 0 OR {_DIFFERS} BEGIN\n  {_FORGET}\n  {_ADD}\nEND",
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

# As it stands between the brackets of a regular expression: of ASCII, and its like elsewhere. One pass over a text takes a
# tenth of what translate() does.
_PUNCTUATION: Final = (
    r"\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2010-\u206f\u3000-\u3004"
    r"\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)


def plain(text: str) -> str:
    """Give the SQL that takes accents off a text, and turns punctuation and the characters of ideographs.py into spaces."""
    words = f"regexp_replace({text}, '[{ideographs.CHARACTERS}{_PUNCTUATION}]+', ' ', 'g')"
    return f"regexp_replace(normalize({words}, NFKD), '[\\u0300-\\u036f]+', '', 'g')"


def characters(text: str) -> str:
    """Give the SQL for a tsvector of the characters of ideographs.py in a text."""
    return f"array_to_tsvector(string_to_array(regexp_replace(normalize({text}, NFC), '[^{ideographs.CHARACTERS}]+', '', 'g'), NULL))"


def joined(*columns: tuple[str, int]) -> str:
    """Give the SQL for texts of so many characters at most, with blanks between them."""
    return " || ' ' || ".join(f"left(coalesce({column}, ''), {most})" for column, most in columns)


def _weighted(weight: str, *columns: tuple[str, int]) -> str:
    most = sum(characters for _, characters in columns)
    return f"setweight(to_tsvector('simple', left({plain(joined(*columns))}, {most})), '{weight}')"


# The weight tells the field in a query like from:anna.
WEIGHTS: Final = {"subject": "A", "from": "B", "to": "C"}
_HEAD: Final = (("subject", 1000), ("from_name", 1000), ("to_addresses", 10000), ("cc_addresses", 10000))
_BODY: Final = (("body_text", 150000), ("attachment_names", 5000), ("attachment_text", 100000))
_SEARCH: Final = " || ".join(
    (
        _weighted("A", ("subject", 1000)),
        _weighted("B", ("from_name", 1000), ("from_address", 1000)),
        _weighted("C", ("to_addresses", 10000), ("cc_addresses", 10000)),
        _weighted("D", *_BODY),
        characters(joined(*_HEAD, *_BODY)),
    )
)

# What create_all can't make; spelled out again in the migration that made it.
OBJECTS: Final[dict[str, list[str]]] = {
    SQLITE: [_TABLE, _PAIRS],
    POSTGRESQL: [
        f"ALTER TABLE messages ADD COLUMN search tsvector GENERATED ALWAYS AS ({_SEARCH}) STORED",
        "CREATE INDEX ix_messages_search ON messages USING gin (search)",
    ],
}


def note_pairs(tx: Connection, texts: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Index pairs of characters in the texts of messages, in the order of their ids; PostgreSQL's column does it by itself."""
    if tx.dialect.name != SQLITE:
        return
    found = ((message, ideographs.pairs(several)) for message, several in texts)
    rows = [(message, " ".join(pairs)) for message, pairs in found if pairs]
    if rows:
        tx.exec_driver_sql("INSERT INTO messages_pairs(rowid, pairs) VALUES (?, ?)", rows)
