"""What of a message is taken away: its octets as they were archived, and its columns as JSON has them. Takes the connection."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import merge
from typing import Any, NamedTuple

from sqlalchemy import Connection

from daemon.store import archive, search, sources
from daemon.store.dialect.types import instant_text


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


def copy(conn: Connection, message: int) -> Copy:
    """Give a message; NotFound if there is no such message any more."""
    row = archive.get(conn, message)
    return Copy(
        id=row.id,
        sha256=row.sha256,
        octets=row.octets,
        subject=row.subject or "",
        sender=row.from_address or "",
        sent_at=row.sent_at or row.archived_at,
        archived_at=row.archived_at,
        parts=sources.parts(conn, message),
    )


def columns(conn: Connection, message: int) -> dict[str, Any]:
    """Give a message's columns, addresses and attachments as JSON has them; times in ISO 8601."""
    row: dict[str, Any] = archive.get(conn, message)._asdict()
    row["addresses"] = [one._asdict() for one in archive.addresses_of(conn, message)]
    row["attachments"] = [one._asdict() for one in archive.attachments(conn, message)]
    return {name: instant_text(value) if isinstance(value, datetime) else value for name, value in row.items()}
