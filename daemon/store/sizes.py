"""How much room the archive takes: what came, and what is stored of it."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from daemon.store.dialect import integrity, statements
from daemon.store.schema import messages
from daemon.store.source_tables import blobs, message_sources

SAMPLE: Final = (
    2000  # messages whose stored octets are counted: all of a large archive would take as long as reading it
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """raw_octets: as they came.  stored_octets: of these as they are stored, blobs included.  is_estimate: from SAMPLE messages.

    shared_octets: of messages that stand in blobs, as they came.  shared_stored_octets: of these blobs, each once, as they are stored.
    database_octets: of the whole database, indexes and texts included.  unused_octets: of its file, free for what comes next.
    """

    raw_octets: int
    stored_octets: int
    is_estimate: bool
    shared_octets: int
    shared_stored_octets: int
    database_octets: int
    unused_octets: int


def sizes(conn: Connection) -> Sizes:
    """Look at all of it; quick, however large the archive is."""
    key, t, b = messages.c.id, message_sources.c, blobs.c
    # As `overview` has it: one index holds the octets of all messages.
    raw = int(conn.execute(select(func.coalesce(func.sum(messages.c.octets), 0))).scalar_one())
    first, last = conn.execute(select(func.min(key), func.max(key))).one()
    every = 1 if first is None else max(1, (last - first) // SAMPLE)
    chosen = [] if first is None else list(range(first, last + 1, every))
    query = select(func.sum(t.octets), func.sum(func.length(t.content))).where(t.blob.is_(None))
    octets, stored = conn.execute(query.where(statements.among(conn, t.message, chosen))).one()
    # By way of the partial index: the messages' own rows are long.
    of_users = select(func.coalesce(func.sum(b.octets), 0)).select_from(message_sources).join(blobs, b.id == t.blob)
    shared = conn.execute(of_users.where(t.blob.is_not(None))).scalar_one()
    kept = conn.execute(select(func.coalesce(func.sum(func.length(b.content)), 0))).scalar_one()
    share = 1.0 if not octets else int(stored) / int(octets)
    database, unused = integrity.octets(conn)
    return Sizes(
        raw_octets=raw,
        stored_octets=int(kept) + round((raw - int(shared)) * share),
        is_estimate=every > 1,
        shared_octets=int(shared),
        shared_stored_octets=int(kept),
        database_octets=database,
        unused_octets=unused,
    )
