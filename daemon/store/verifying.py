"""Whether the archive is what came: every message, dictionary and blob read and hashed, every reference looked at.

All functions take the connection and never commit; each of them is one short look, but for `of_database`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from daemon import errors
from daemon.store import blobs, dictionaries, sources
from daemon.store.dialect import integrity
from daemon.store.schema import messages

_NOT_WHAT_CAME: Final = "its octets are not those that came (SHA-256)"


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
    return f"message {message}: {_NOT_WHAT_CAME}"


def of_dictionaries(conn: Connection) -> Iterator[Fault]:
    """Read the dictionaries and hash them."""
    for key in dictionaries.broken(conn):
        yield Fault(kind="dictionary", id=key, what=f"dictionary {key}: it is not what was trained (SHA-256)")


def of_blobs(conn: Connection, after: int, limit: int) -> tuple[list[Fault], int | None]:
    """Read what is stored once for several messages, and hash it: some of the blobs with an id above `after`.

    Gives the faults and the last id, None where nothing follows.
    """
    some = blobs.ids(conn, after, limit)
    faults = [
        Fault(
            kind="blob", id=one.id, sha256=one.sha256, what=f"blob {one.id}: {_NOT_WHAT_CAME}; {_needed_by(one.users)}"
        )
        for one in blobs.broken(conn, some)
    ]
    return faults, some[-1] if some else None


def _needed_by(messages: Sequence[int]) -> str:
    if not messages:
        return "no message needs it"
    named = ", ".join(str(one) for one in messages[: blobs.USERS_NAMED])
    return f"needed by message{'s' if len(messages) > 1 else ''} {named}{' and more' if len(messages) > blobs.USERS_NAMED else ''}"


def of_database(conn: Connection) -> Iterator[Fault]:
    """Have the database check itself: all its pages, which takes as long as reading them."""
    for what in integrity.faults(conn):
        yield Fault(kind="database", what=f"database: {what}")
