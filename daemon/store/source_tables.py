"""The tables that hold octets: the messages' own, what they are compressed with, and the attachments that repeat.

Public like those of `schema`, which makes them with its own: README says how each row is read by SQL and from Python.
"""

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, LargeBinary, Text, UniqueConstraint

from daemon.store import columns
from daemon.store.dialect.types import COUNT, ID, Instant

SOURCE_PART_OCTETS: Final = 4 * 1024 * 1024  # octets a row of message_sources: a large message is never held whole
SOURCE_ENCODINGS: Final = ("identity", "zstd", "blob")
BLOB_ENCODINGS: Final = ("identity", "zstd")

# What small letters of this archive have in common (RFC 8878 section 5): without its dictionary a frame can't be read.
dictionaries = columns.table(
    "dictionaries",
    Column("id", ID, primary_key=True),
    columns.now("trained_at"),
    Column("letters", COUNT, nullable=False),
    Column("octets", COUNT, nullable=False),
    columns.words("sha256"),
    Column("content", LargeBinary, nullable=False),
    columns.not_negative("letters", "octets"),
    CheckConstraint("length(sha256) = 64", name="sha256"),
    sqlite_autoincrement=True,
)

# Octets that several messages have: an attachment as it was sent, or a piece of a large one. sha256: of these octets.
blobs = columns.table(
    "blobs",
    Column("id", ID, primary_key=True),
    columns.words("sha256"),
    Column("octets", COUNT, nullable=False),
    columns.words("encoding", "identity"),
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("sha256"),
    columns.not_negative("octets"),
    CheckConstraint("length(sha256) = 64", name="sha256"),
    columns.one_of("encoding", BLOB_ENCODINGS),
    sqlite_autoincrement=True,
)

message_sources = columns.table(
    "message_sources",
    Column("message", ID, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("part", COUNT, primary_key=True, autoincrement=False),
    Column("octets", COUNT, nullable=False),
    columns.words("encoding", "identity"),
    Column("dictionary", ID, ForeignKey(dictionaries.c.id), nullable=True),
    Column("blob", ID, ForeignKey(blobs.c.id), nullable=True),
    Column("content", LargeBinary, nullable=False),
    columns.one_of("encoding", SOURCE_ENCODINGS),
    CheckConstraint("dictionary IS NULL OR encoding = 'zstd'", name="dictionary"),
    CheckConstraint("(blob IS NOT NULL) = (encoding = 'blob')", name="blob"),
)
columns.partial("ix_message_sources_blob", message_sources.c.blob)

# How far work on the whole archive has come that is done once, behind everything else. target: what it makes of it.
passes = columns.table(
    "passes",
    Column("name", Text, primary_key=True),
    columns.words("target"),
    columns.count("done"),
    columns.maybe("finished_at", Instant),
)
