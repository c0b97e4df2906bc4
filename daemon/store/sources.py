"""The octets of messages, as the servers sent them: the one place that reads and writes `message_sources`.

`proven` is what stands between a DELE and a lost letter: it reads the octets back and hashes them. A large message is in
parts of 4 MiB, and never held whole. All functions take the connection and never commit.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, Insert, func, insert, select

from daemon import errors
from daemon.store.dialect import statements
from daemon.store.schema import SOURCE_PART_OCTETS, message_sources, messages
from daemon.wire.spool import Spool

IDS_A_STATEMENT: Final = 500  # parameters of one IN list, so that few different statements are compiled
PARTS_AT_ONCE: Final = 8  # rows read ahead while hashing: at most 32 MiB


def _source(_tx: Connection) -> Insert:
    return insert(message_sources)


def add(tx: Connection, incoming: Iterable[tuple[int, Spool]]) -> None:
    """Store the octets of new messages. incoming: (message id, octets) of each."""
    small = []
    for message, spool in incoming:
        if spool.octets <= SOURCE_PART_OCTETS:
            small.append({"message": message, "part": 0, "octets": spool.octets, "content": spool.getvalue()})
            continue
        for part, content in enumerate(spool.pieces(SOURCE_PART_OCTETS)):
            tx.execute(
                insert(message_sources),
                [{"message": message, "part": part, "octets": len(content), "content": content}],
            )
    if small:
        statements.bulk(tx, _source, small)


# --- reading back ---------------------------------------------------------------------------------------------------


def proven(conn: Connection, ids: Sequence[int], *, headers_too: bool = False) -> set[int]:
    """Read the octets of messages back and hash them; give the ids of those that are what was received.

    headers_too: also those of which the header section alone was; they prove nothing of a message.
    """
    t, good = message_sources.c, set[int]()
    for start in range(0, len(ids), IDS_A_STATEMENT):
        some = ids[start : start + IDS_A_STATEMENT]
        wanted = select(messages.c.id, messages.c.sha256).where(statements.among(conn, messages.c.id, some))
        if not headers_too:
            wanted = wanted.where(messages.c.retrieved == "whole")
        hashes = dict(iter(statements.together(conn, wanted)))
        found = {message: hashlib.sha256() for message in hashes}
        query = select(t.message, t.content).where(statements.among(conn, t.message, some)).order_by(t.message, t.part)
        for message, content in conn.execute(query, execution_options={"yield_per": PARTS_AT_ONCE}):
            if message in found:
                found[message].update(content)
        good |= {message for message, sha256 in hashes.items() if found[message].hexdigest() == sha256}
    return good


def parts(conn: Connection, message: int) -> Iterator[bytes]:
    """Give the octets of a message in parts of at most 4 MiB; NotFound if there is no such message."""
    for number in range(len(part_octets(conn, message))):
        yield part(conn, message, number)


def part_octets(conn: Connection, message: int) -> list[int]:
    """Give the octets of each part of a message, in their order; NotFound if there is no such message."""
    if conn.execute(select(messages.c.id).where(messages.c.id == message)).first() is None:
        raise errors.NotFound(f"message {message}: not in the archive")
    t = message_sources.c
    return list(conn.execute(select(t.octets).where(t.message == message).order_by(t.part)).scalars())


def part(conn: Connection, message: int, number: int) -> bytes:
    """Give one part of a message, counted from 0; NotFound if there is none."""
    t = message_sources.c
    content: bytes | None = conn.execute(select(t.content).where(t.message == message, t.part == number)).scalar()
    if content is None:
        raise errors.NotFound(f"message {message}: part {number} is not in the archive")
    return content


def whole(conn: Connection, message: int) -> bytes:
    """Give the octets of a message whole; NotFound if there is no such message."""
    return b"".join(parts(conn, message))


def several(conn: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """Give the octets of several messages whole, by id, in one statement; ids that are not in the archive are left out."""
    key, t = messages.c.id, message_sources.c
    # Outer: a message whose octets somebody deleted is still there, and empty.
    query = select(key, t.content).outerjoin(message_sources).where(key.in_(ids)).order_by(key, t.part)
    found: dict[int, list[bytes]] = {}
    for message, content in statements.raw_rows(conn, query):
        found.setdefault(message, []).append(content or b"")
    return {message: b"".join(contents) for message, contents in found.items()}


def heads(conn: Connection, ids: Sequence[int], octets: int) -> Iterator[tuple[int, bytes]]:
    """Give (id, first octets) of archived messages, no more than so many of each."""
    t = message_sources.c
    for start in range(0, len(ids), IDS_A_STATEMENT):
        some = ids[start : start + IDS_A_STATEMENT]
        query = select(t.message, func.substr(t.content, 1, octets)).where(t.part == 0, t.message.in_(some))
        for message, head in conn.execute(query):
            yield message, bytes(head)
