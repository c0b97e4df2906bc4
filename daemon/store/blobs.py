"""Attachments that repeat, decoded and stored once, in pieces; `sources` says how a message is made of them.

A piece is freed with the last part that points at it, by a trigger. All functions take the connection and never commit.
"""

import hashlib
from typing import Final

from sqlalchemy import Connection, select

from daemon.store import packing, zstd
from daemon.store.packing import Packed
from daemon.store.source_tables import blobs

PIECE_OCTETS: Final = 57 * 51_200  # decoded; in lines of 76 characters less than 4 MiB, and lines end where pieces do


def hashes(conn: Connection, after: str, limit: int) -> list[str]:
    """Give the hashes of attachments above `after`, in their order."""
    t = blobs.c
    query = select(t.sha256).where(t.sha256 > after, t.piece == 0).order_by(t.sha256).limit(limit)
    return list(conn.execute(query).scalars())


def broken(conn: Connection, sha256: str) -> int | None:
    """Read an attachment and hash it; give the id of its first piece if it is not what it was."""
    t = blobs.c
    hashed, first, is_read = hashlib.sha256(), None, True
    query = select(t.id, t.octets, t.encoding, t.content).where(t.sha256 == sha256).order_by(t.piece)
    for key, octets, encoding, content in conn.execute(query, execution_options={"yield_per": 2}):
        first = key if first is None else first
        try:
            hashed.update(packing.unpacked(conn, Packed(octets, encoding, None, content)))
        except zstd.Broken:
            is_read = False
    return None if is_read and hashed.hexdigest() == sha256 else first
