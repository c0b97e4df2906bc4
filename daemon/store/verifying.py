"""Whether the archive is what came: every message, dictionary and blob read and hashed, every reference looked at.

All functions take the connection and never commit; each of them is one short look, but for `of_database`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from daemon import errors
from daemon.store import blobs, dictionaries, sources
from daemon.store.dialect import integrity
from daemon.store.schema import messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not as it should be. kind: message, dictionary, blob or database.  id: of its row.  what: in words."""

    kind: str
    what: str
    id: int | None = None
    account: str | None = None
    uidl: str | None = None
    sha256: str | None = None
    subject: str | None = None


def of_messages(conn: Connection, ids: Sequence[int]) -> Iterator[Fault]:
    """Read messages and hash them."""
    wrong = sorted(set(ids) - sources.proven(conn, ids, headers_too=True))
    t = messages.c
    query = select(t.id, t.account, t.uidl, t.sha256, t.subject, t.octets).where(t.id.in_(wrong)).order_by(t.id)
    for key, account, uidl, sha256, subject, octets in conn.execute(query):
        what = _fault_of(conn, key, octets)
        yield Fault(kind="message", id=key, account=account, uidl=uidl, sha256=sha256, subject=subject, what=what)


def _fault_of(conn: Connection, message: int, octets: int) -> str:
    found = 0
    try:
        for part in sources.parts(conn, message):
            found += len(part)
    except errors.StoreError as error:
        return str(error)
    except errors.NotFound as error:
        return str(error)
    if found != octets:
        return f"message {message}: {found:,} octets are there of {octets:,}"
    return f"message {message}: its octets are not those that came (SHA-256)"


def of_dictionaries(conn: Connection) -> Iterator[Fault]:
    """Read the dictionaries and hash them."""
    for key in dictionaries.broken(conn):
        yield Fault(kind="dictionary", id=key, what=f"dictionary {key}: it is not what was trained (SHA-256)")


def of_blobs(conn: Connection, after: str, limit: int) -> tuple[list[Fault], str | None]:
    """Read the attachments that are stored once, and hash them: some of those with a hash above `after`.

    Gives the faults and the last hash, None where nothing follows.
    """
    hashes = blobs.hashes(conn, after, limit)
    wrong = [(sha256, key) for sha256 in hashes if (key := blobs.broken(conn, sha256)) is not None]
    faults = [
        Fault(kind="blob", id=key, sha256=sha256, what=f"blob {key}: the attachment is not what came (SHA-256)")
        for sha256, key in wrong
    ]
    return faults, hashes[-1] if hashes else None


def of_database(conn: Connection) -> Iterator[Fault]:
    """Have the database check itself: all its pages, which takes as long as reading them."""
    for what in integrity.faults(conn):
        yield Fault(kind="database", what=f"database: {what}")
