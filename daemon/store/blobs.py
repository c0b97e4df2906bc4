"""Octets that several messages have, stored once: an attachment as it was sent, or a piece of a large one.

They are known by their own SHA-256; `sources` reads a message through them. A trigger frees one with the last part that points
at it. All functions take the connection and never commit.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from daemon.store import packing, zstd
from daemon.store.dialect import statements
from daemon.store.packing import Packed, Packer
from daemon.store.source_tables import blobs, message_sources

USERS_NAMED: Final = 10  # messages that a broken blob is named with

_T: Final = blobs.c


class Kept(NamedTuple):
    """A blob. added: octets that are stored for it now and were not before."""

    id: int
    added: int


class Broken(NamedTuple):
    """A blob that is not what it was. users: messages that need it, the first of them; one more than USERS_NAMED if there are."""

    id: int
    sha256: str
    users: list[int]


def keep(tx: Connection, packer: Packer, octets: bytes) -> Kept:
    """Store octets, or find them stored; nobody frees them before this transaction ends."""
    sha256 = hashlib.sha256(octets).hexdigest()
    query = select(_T.id).where(_T.sha256 == sha256)
    found = tx.execute(statements.for_share(tx, query)).scalar()
    if found is not None:
        return Kept(found, 0)
    packed = packer.alone(octets)
    values = {"octets": packed.octets, "encoding": packed.encoding, "content": packed.content}
    # If another daemon was quicker, this locks its row (PostgreSQL: DO NOTHING would not).
    insert = statements.upsert(tx, blobs).values(sha256=sha256, **values)
    insert = insert.on_conflict_do_update(index_elements=[_T.sha256], set_={"octets": packed.octets})
    return Kept(int(tx.execute(insert.returning(_T.id)).scalar_one()), len(packed.content))


def ids(conn: Connection, after: int, limit: int) -> list[int]:
    """Give the ids of some blobs above `after`, in their order."""
    return list(conn.execute(select(_T.id).where(_T.id > after).order_by(_T.id).limit(limit)).scalars())


def broken(conn: Connection, some: Sequence[int]) -> Iterator[Broken]:
    """Read blobs and hash them; give those that are not what they were."""
    query = select(_T.id, _T.sha256, _T.octets, _T.encoding, _T.content)
    for key in some:
        row = conn.execute(query.where(_T.id == key)).first()
        if row is None:
            continue
        try:
            octets = packing.unpacked(conn, Packed(row.octets, row.encoding, None, row.content))
        except zstd.Broken:
            octets = None
        if octets is None or len(octets) != row.octets or hashlib.sha256(octets).hexdigest() != row.sha256:
            users = select(message_sources.c.message).where(message_sources.c.blob == key).distinct()
            users = users.order_by(message_sources.c.message).limit(USERS_NAMED + 1)
            yield Broken(key, row.sha256, list(conn.execute(users).scalars()))
