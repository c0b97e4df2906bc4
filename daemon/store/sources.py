"""The octets of messages, as the servers sent them: the one place that reads and writes `message_sources`.

`proven` is what stands between a DELE and a lost letter: it reads the octets back and hashes them. A large message is in
parts of at most 4 MiB, and never held whole; how a part is stored is `packing`'s business, and where it begins may change from
one transaction to the next (`sharing`). All functions take the connection and never commit.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Insert, func, insert, select

from daemon import errors
from daemon.mail.source import Source
from daemon.store import packing, zstd
from daemon.store.dialect import statements
from daemon.store.packing import Packed, Packer
from daemon.store.schema import messages
from daemon.store.source_tables import SOURCE_PART_OCTETS, blobs, message_sources
from daemon.wire.spool import Spool

IDS_A_STATEMENT: Final = 500  # parameters of one IN list, so that few different statements are compiled
PARTS_AT_ONCE: Final = 8  # rows read ahead while hashing: at most 32 MiB

_T: Final = message_sources.c
_ENCODING: Final = func.coalesce(blobs.c.encoding, _T.encoding)
_CONTENT: Final = func.coalesce(blobs.c.content, _T.content)
# Of a part, from _PARTS; `Packed` has them in this order.
_STORED: Final[tuple[ColumnElement[Any], ...]] = (_T.octets, _ENCODING, _T.dictionary, _CONTENT)
_PARTS: Final = message_sources.outerjoin(blobs, blobs.c.id == _T.blob)


def _source(_tx: Connection) -> Insert:
    return insert(message_sources)


def add(tx: Connection, incoming: Iterable[tuple[int, Spool, Packed | None]], packer: Packer) -> None:
    """Store the octets of new messages. incoming: message id, octets, and these as they are to be stored, if that is known."""
    small = []
    for message, spool, ready in incoming:
        if spool.octets <= SOURCE_PART_OCTETS:
            small.append(_row(message, 0, ready or packer.at_once(spool.getvalue())))
            continue
        for number, content in enumerate(spool.pieces(SOURCE_PART_OCTETS)):
            tx.execute(insert(message_sources), [_row(message, number, packer.at_once(content))])
    if small:
        statements.bulk(tx, _source, small)


def _row(message: int, number: int, packed: Packed) -> dict[str, Any]:
    return {"message": message, "part": number, **packed._asdict()}


# --- reading back ---------------------------------------------------------------------------------------------------


def proven(conn: Connection, ids: Sequence[int], *, headers_too: bool = False) -> set[int]:
    """Read the octets of messages back and hash them; give the ids of those that are what was received.

    headers_too: also those of which the header section alone was; they prove nothing of a message.
    """
    good = set[int]()
    for start in range(0, len(ids), IDS_A_STATEMENT):
        some = ids[start : start + IDS_A_STATEMENT]
        wanted = select(messages.c.id, messages.c.sha256).where(statements.among(conn, messages.c.id, some))
        if not headers_too:
            wanted = wanted.where(messages.c.retrieved == "whole")
        hashes = dict(iter(statements.together(conn, wanted)))
        found = {message: hashlib.sha256() for message in hashes}
        query = select(_T.message, *_STORED).select_from(_PARTS).where(statements.among(conn, _T.message, some))
        query = query.order_by(_T.message, _T.part)
        for message, *stored in conn.execute(query, execution_options={"yield_per": PARTS_AT_ONCE}):
            if message in found:
                try:
                    found[message].update(packing.unpacked(conn, Packed(*stored)))
                except zstd.Broken:
                    del found[message], hashes[message]
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
    return list(conn.execute(select(_T.octets).where(_T.message == message).order_by(_T.part)).scalars())


def part(conn: Connection, message: int, number: int) -> bytes:
    """Give one part of a message, counted from 0; NotFound if there is none, OctetsBroken if it is not what was stored."""
    query = select(*_STORED).select_from(_PARTS).where(_T.message == message, _T.part == number)
    stored = conn.execute(query).first()
    if stored is None:
        raise errors.NotFound(f"message {message}: part {number} is not in the archive")
    try:
        return packing.unpacked(conn, Packed(*stored))
    except zstd.Broken as error:
        raise errors.OctetsBroken(
            f"message {message}: part {number} can't be read ({error}); see `postroom db verify`"
        ) from error


def span(conn: Connection, message: int, start: int, end: int) -> bytes:
    """Give the octets of a message from `start` to before `end`, or to its end; errors as of `part`."""
    return Source(part_octets(conn, message), lambda number: part(conn, message, number))[start:end]


def whole(conn: Connection, message: int) -> bytes:
    """Give the octets of a message whole; NotFound if there is no such message, OctetsBroken if they are not what was stored."""
    return b"".join(parts(conn, message))


def several(conn: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """Give the octets of several messages whole, by id, in one statement; ids that are not in the archive are left out.

    A part that can't be read, or that somebody deleted, is empty: it is no reason to keep the others from whoever asks.
    """
    key = messages.c.id
    tables = messages.outerjoin(message_sources).outerjoin(blobs, blobs.c.id == _T.blob)
    query = select(key, *_STORED).select_from(tables).where(key.in_(ids)).order_by(key, _T.part)
    found: dict[int, list[bytes]] = {}
    for message, *stored in statements.raw_rows(conn, query):
        packed, octets = Packed(*stored), b""
        if packed.content is not None:
            try:
                octets = packing.unpacked(conn, packed)
            except zstd.Broken:
                octets = b""
        found.setdefault(message, []).append(octets)
    return {message: b"".join(contents) for message, contents in found.items()}


def heads(conn: Connection, ids: Sequence[int], octets: int) -> Iterator[tuple[int, bytes]]:
    """Give (id, first octets) of archived messages, no more than so many of each; none of what can't be read.

    What stands behind the header section may be missing, where a shared attachment follows it.
    """
    begin = func.substr(_CONTENT, 1, octets + zstd.BLOCK_OCTETS + 1024)  # 1,024: what is around the blocks
    for start in range(0, len(ids), IDS_A_STATEMENT):
        some = ids[start : start + IDS_A_STATEMENT]
        query = select(_T.message, _T.octets, _ENCODING, _T.dictionary, begin).select_from(_PARTS)
        query = query.where(_T.part == 0, _T.message.in_(some))
        for message, of_part, encoding, dictionary, content in conn.execute(query):
            try:
                stored = Packed(of_part, encoding, dictionary, content or b"")  # SQLite: substr of nothing is NULL
                head = packing.head(conn, stored, octets)
            except zstd.Broken:
                continue
            yield message, head
