"""Rewriting what is stored: letters to train a dictionary on, and parts that are not stored as they should be.

A pass goes through the archive in the order of ids. `passes` says how far it has come, in the very transaction that rewrites,
so that a kill loses nothing and repeats nothing. All functions take the connection and never commit.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from daemon import errors
from daemon.store import packing, sources, zstd
from daemon.store.dialect import statements
from daemon.store.packing import BLOB, IDENTITY, SMALL_OCTETS, ZSTD, Packed, Packer
from daemon.store.schema import messages
from daemon.store.source_tables import message_sources, passes

COMPRESSING: Final = "compress"  # the name of the pass
IDS_AT_ONCE: Final = 1000  # messages looked through at once: their parts' sizes, not their octets
SAMPLES_AT_ONCE: Final = 200  # letters read in one statement

_T: Final = message_sources.c


class Part(NamedTuple):
    """A row of message_sources, without its octets."""

    message: int
    number: int
    octets: int


class Page(NamedTuple):
    """Some messages that follow. last: the id of the last, None where nothing follows.  parts: those to rewrite."""

    last: int | None
    parts: list[Part]


class Rewritten(NamedTuple):
    """What a transaction did. before, after: octets as they are stored, of what was rewritten."""

    parts: int
    before: int
    after: int


def done(conn: Connection, name: str, target: str) -> int:
    """Give the last id that a pass has done; 0 if it is to begin, or had another target."""
    query = select(passes.c.done).where(passes.c.name == name, passes.c.target == target)
    return int(conn.execute(query).scalar() or 0)


def note(tx: Connection, name: str, target: str, last: int, finished_at: datetime | None) -> None:
    """Write down how far a pass has come. finished_at: None while something follows."""
    values = {"target": target, "done": last, "finished_at": finished_at}
    insert = statements.upsert(tx, passes).values(name=name, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=[passes.c.name], set_=values))


# --- letters to learn from ------------------------------------------------------------------------------------------


def small_letters(conn: Connection) -> int:
    """Count the letters that a dictionary is for."""
    query = select(func.count()).select_from(messages).where(messages.c.octets <= SMALL_OCTETS)
    return int(conn.execute(query).scalar_one())


def samples(conn: Connection, letters: int, limit: int) -> Iterator[bytes]:
    """Give up to so many of the small letters, taken evenly from all there are. letters: how many there are."""
    key, every = messages.c.id, max(1, letters // limit)
    query = select(key).where(messages.c.octets <= SMALL_OCTETS, key % every == 0).order_by(key).limit(limit)
    ids = list(conn.execute(query).scalars())
    for start in range(0, len(ids), SAMPLES_AT_ONCE):
        yield from sources.several(conn, ids[start : start + SAMPLES_AT_ONCE]).values()


# --- rewriting ------------------------------------------------------------------------------------------------------


def page(conn: Connection, packer: Packer, after: int, until: int) -> Page:
    """Look through the messages above `after`, up to the id `until`, for parts that `packer` would store in another way."""
    query = select(messages.c.id).where(messages.c.id > after, messages.c.id <= until)
    ids = list(conn.execute(query.order_by(messages.c.id).limit(IDS_AT_ONCE)).scalars())
    if not ids:
        return Page(None, [])
    query_parts = select(_T.message, _T.part, _T.octets, _T.encoding, _T.dictionary)
    query_parts = query_parts.where(_T.message.between(ids[0], ids[-1])).order_by(_T.message, _T.part)
    found = [
        Part(message, number, octets)
        for message, number, octets, encoding, dictionary in conn.execute(query_parts)
        if _differs(packer, octets, encoding, dictionary)
    ]
    return Page(ids[-1], found)


def _differs(packer: Packer, octets: int, encoding: str, dictionary: int | None) -> bool:
    """Tell whether a part is worth a try. One with an older dictionary is not: the next one makes little of it."""
    if not packer.is_on:
        return encoding in {ZSTD, BLOB}
    return encoding == IDENTITY or (
        encoding == ZSTD and dictionary is None and octets <= SMALL_OCTETS and packer.has_dictionary
    )


def rewrite(tx: Connection, packer: Packer, parts: Sequence[Part]) -> Rewritten:
    """Store parts as `packer` does. What can't be read, or not be read back from its new form, stays as it is."""
    before = after = 0
    rows = []
    for message, number, stored in _stored(tx, parts):
        packed = _repacked(tx, packer, message, number, stored)
        if packed is not None:
            before, after = before + len(stored.content), after + len(packed.content)
            rows.append({"message": message, "part": number, "blob": None, **packed._asdict()})
    statements.renew(tx, message_sources, rows, by=("message", "part"))
    return Rewritten(len(rows), before, after)


def _stored(tx: Connection, parts: Sequence[Part]) -> Iterator[tuple[int, int, Packed]]:
    """Give (message, number, as it is stored) of parts, locked; those of whole messages in one statement."""
    query = select(_T.message, _T.part, _T.octets, _T.encoding, _T.dictionary, _T.content)
    whole = [one.message for one in parts if one.number == 0 and one.octets <= SMALL_OCTETS]
    queries = [query.where(_T.part == 0, statements.among(tx, _T.message, whole)).order_by(_T.message)] if whole else []
    large = (one for one in parts if one.number or one.octets > SMALL_OCTETS)
    queries += [query.where(_T.message == one.message, _T.part == one.number) for one in large]
    for one in queries:
        for message, number, *stored in tx.execute(statements.for_update(tx, one)):
            yield message, number, Packed(*stored)


def _repacked(conn: Connection, packer: Packer, message: int, number: int, stored: Packed) -> Packed | None:
    """Give a part's new form, None if it has it already."""
    try:
        is_shared = stored.encoding == BLOB
        octets = sources.part(conn, message, number) if is_shared else packing.unpacked(conn, stored)
        packed = packer.packed(octets)
        if packed == stored or packing.unpacked(conn, packed) != octets:
            return None
    except (zstd.Broken, errors.OctetsBroken):
        return None
    return packed
