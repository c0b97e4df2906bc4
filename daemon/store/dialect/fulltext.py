"""Full-text search: an FTS5 table beside `messages` on SQLite, a generated tsvector in it on PostgreSQL.

A message is in the index once it is parsed (`parser_version` above 0), so that archiving pays nothing for it. PostgreSQL's
column is generated from the head of long texts: a tsvector holds 1 MB at most, and a larger one would refuse the row.
Punctuation is turned into spaces there, so that `anna` finds `anna@example.org` on both. Accents: SQLite folds them.
"""

from typing import Final

from daemon.store.dialect.types import POSTGRESQL, SQLITE

COLUMNS: Final = (
    "subject",
    "from_name",
    "from_address",
    "to_addresses",
    "cc_addresses",
    "body_text",
    "attachment_names",
)

# --- SQLite ---------------------------------------------------------------------------------------------------------

_TABLE: Final = (
    f"CREATE VIRTUAL TABLE messages_fts USING fts5({', '.join(COLUMNS)},"
    " content='messages', content_rowid='id', tokenize=\"unicode61 remove_diacritics 2\")"
)


def _values(row: str) -> str:
    return ", ".join(f"{row}.{column}" for column in COLUMNS)


_ADD: Final = f"INSERT INTO messages_fts(rowid, {', '.join(COLUMNS)}) SELECT NEW.id, {_values('NEW')} WHERE NEW.parser_version > 0;"
# An external-content index must be told the very values that it holds to forget them.
_FORGET: Final = (
    f"INSERT INTO messages_fts(messages_fts, rowid, {', '.join(COLUMNS)})"
    f" SELECT 'delete', OLD.id, {_values('OLD')} WHERE OLD.parser_version > 0;"
)

TRIGGERS_SQLITE: Final = {
    "messages_fts_insert": f"CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN NEW.parser_version > 0 BEGIN\n  {_ADD}\nEND",
    "messages_fts_delete": f"CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages WHEN OLD.parser_version > 0 BEGIN\n  {_FORGET}\nEND",
    "messages_fts_update": f"CREATE TRIGGER messages_fts_update AFTER UPDATE OF {', '.join(COLUMNS)}, parser_version ON messages"
    f" BEGIN\n  {_FORGET}\n  {_ADD}\nEND",
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

PUNCTUATION: Final = "@.,:;/\\\\-_+=<>()[]{}\"''!?#*&|~"  # as it stands in an E'' literal


def plain(text: str) -> str:
    """Give the SQL that turns ASCII punctuation into spaces."""
    return f"translate({text}, E'{PUNCTUATION}', repeat(' ', {len(PUNCTUATION) - 2}))"


def _weighted(weight: str, *columns: tuple[str, int]) -> str:
    texts = " || ' ' || ".join(f"left(coalesce({column}, ''), {characters})" for column, characters in columns)
    return f"setweight(to_tsvector('simple', {plain(texts)}), '{weight}')"


# The weight tells the field in a query like from:anna.
WEIGHTS: Final = {"subject": "A", "from": "B", "to": "C"}
_SEARCH: Final = " || ".join(
    (
        _weighted("A", ("subject", 1000)),
        _weighted("B", ("from_name", 1000), ("from_address", 1000)),
        _weighted("C", ("to_addresses", 10000), ("cc_addresses", 10000)),
        _weighted("D", ("body_text", 150000), ("attachment_names", 5000)),
    )
)

# What create_all can't make; spelled out again in the migration that made it.
OBJECTS: Final[dict[str, list[str]]] = {
    SQLITE: [_TABLE],
    POSTGRESQL: [
        f"ALTER TABLE messages ADD COLUMN search tsvector GENERATED ALWAYS AS ({_SEARCH}) STORED",
        "CREATE INDEX ix_messages_search ON messages USING gin (search)",
    ],
}
