"""What of a message is taken away: its octets as they were archived, and its columns as JSON has them. Takes the connection."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import merge
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from daemon import errors
from daemon.store import archive, search, sources
from daemon.store.dialect import statements
from daemon.store.dialect.types import instant_text
from daemon.store.schema import messages

SMALL_OCTETS: Final = 64 * 1024  # of a message that is read together with others
_T: Final = messages.c
_COLUMNS: Final = (_T.id, _T.sha256, _T.octets, _T.subject, _T.from_address, _T.sent_at, _T.archived_at)


class Copy(NamedTuple):
    """One message. sent_at: of its Date field, else when it was archived.  parts: its octets, to be read once."""

    id: int
    sha256: str
    octets: int
    subject: str
    sender: str
    sent_at: datetime
    archived_at: datetime
    parts: Iterator[bytes]


def ids(conn: Connection, query: str | None, accounts: Sequence[str] = ()) -> list[int]:
    """Give the ids of what a query finds, or of everything, in their order. accounts: only of these, if any."""
    if not accounts:
        return list(search.ids(conn, query))
    return list(merge(*(search.ids(conn, query, account=one) for one in dict.fromkeys(accounts))))


def copies(conn: Connection, wanted: Sequence[int]) -> Iterator[Copy]:
    """Give those of some messages that are there, in the order asked for. Few at a time: what is small is read at once.

    The octets are hashed again as they go out: behind the last of them stands ProofMissing if they are not what was received.
    NotFound or OctetsBroken where they are not all there.
    """
    query = select(*_COLUMNS).where(statements.among(conn, messages.c.id, wanted))
    rows = {row.id: row for row in conn.execute(query)}
    small = sources.several(conn, [key for key, row in rows.items() if row.octets <= SMALL_OCTETS])
    for row in (rows[key] for key in wanted if key in rows):
        octets = small.get(row.id)
        is_sound = octets is not None and hashlib.sha256(octets).hexdigest() == row.sha256
        yield Copy(
            id=row.id,
            sha256=row.sha256,
            octets=row.octets,
            subject=row.subject or "",
            sender=row.from_address or "",
            sent_at=row.sent_at or row.archived_at,
            archived_at=row.archived_at,
            parts=iter([octets]) if is_sound and octets is not None else _proven(conn, row.id, row.sha256),
        )


def _proven(conn: Connection, message: int, sha256: str) -> Iterator[bytes]:
    hashed = hashlib.sha256()
    for part in sources.parts(conn, message):
        hashed.update(part)
        yield part
    if hashed.hexdigest() != sha256:
        raise errors.ProofMissing(f"message {message} is not what was received")


def columns(conn: Connection, message: int) -> dict[str, Any]:
    """Give a message's columns, addresses and attachments as JSON has them; times in ISO 8601."""
    row: dict[str, Any] = archive.get(conn, message)._asdict()
    row["addresses"] = [one._asdict() for one in archive.addresses_of(conn, message)]
    row["attachments"] = [one._asdict() for one in archive.attachments(conn, message)]
    return {name: instant_text(value) if isinstance(value, datetime) else value for name, value in row.items()}
