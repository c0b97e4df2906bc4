"""Which messages have attachments with text in them that nobody has read yet, and what is written in them.

All functions take the connection and never commit. The text stands in `messages.attachment_text`, where search finds it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, select, update

from daemon.store.dialect import fulltext, statements
from daemon.store.schema import extraction_queue, messages

MOST_CHARACTERS: Final = 400_000  # of a message: two long documents


def note(tx: Connection, ids: Collection[int]) -> None:
    """Queue messages."""
    if ids:
        tx.execute(statements.insert_missing(tx, extraction_queue), [{"message": one} for one in sorted(ids)])


def waiting(conn: Connection, after: int, limit: int) -> list[int]:
    """Give the messages of the queue above this id, in their order."""
    t = extraction_queue.c
    return list(conn.execute(select(t.message).where(t.message > after).order_by(t.message).limit(limit)).scalars())


def write(tx: Connection, texts: Mapping[int, Sequence[str]]) -> None:
    """Write the texts of messages' attachments, and take these off the queue. texts: by message, empty for nothing."""
    found = {key: "\n".join(several)[:MOST_CHARACTERS] for key, several in sorted(texts.items())}
    for key, text in found.items():
        tx.execute(update(messages).where(messages.c.id == key).values(attachment_text=text or None))
    fulltext.note_pairs(tx, ((key, [text]) for key, text in found.items()))
    tx.execute(delete(extraction_queue).where(extraction_queue.c.message.in_(list(texts))))
