"""The tables behind `messages.thread_id`: what ties messages together (mail/thread.py), as numbers. The daemon's own books.

A conversation is called by the `id` of its first message. The number of one that was joined to an older one leads there still.
"""

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Table

from daemon.store import columns
from daemon.store.dialect.types import COUNT, ID

# Every Message-ID that an indexed message has or refers to, and the conversation that it is of, as `thread_aliases` has it now.
thread_keys: Final[Table] = columns.table(
    "thread_keys",
    Column("key", ID, primary_key=True, autoincrement=False),
    Column("thread_id", ID, nullable=False),
)

# The same for each message: position 0 is its own Message-ID, behind it what it refers to, the nearest relative last.
thread_links: Final[Table] = columns.table(
    "thread_links",
    Column("message", ID, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("position", COUNT, primary_key=True, autoincrement=False),
    Column("key", ID, nullable=False),
    sqlite_with_rowid=False,
)

# What subject a message has, where it has one. asks: 1 for an answer that names no message.
thread_subjects: Final[Table] = columns.table(
    "thread_subjects",
    Column("message", ID, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("key", ID, nullable=False),
    Column("asks", COUNT, nullable=False),
)
Index(None, thread_subjects.c.key, thread_subjects.c.asks)

# Conversations that were joined to an older one.
thread_aliases: Final[Table] = columns.table(
    "thread_aliases",
    Column("alias", ID, primary_key=True, autoincrement=False),
    Column("thread_id", ID, nullable=False),
)
Index(None, thread_aliases.c.thread_id)
