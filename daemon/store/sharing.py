"""Attachments that repeat: which they are, and a message's parts cut anew so that it has them from `blobs`.

What is stored once are octets as they were sent, in base64 as a rule: letters with the same attachment mostly have the same of
them, and nothing has to be encoded again to read a message. All functions take the connection and never commit.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, exists, func, insert, select

from daemon import errors
from daemon.mail.source import Source
from daemon.store import blobs, sources
from daemon.store.dialect import statements
from daemon.store.packing import BLOB, Packed, Packer
from daemon.store.repacking import Rewritten
from daemon.store.schema import attachments
from daemon.store.source_tables import SOURCE_PART_OCTETS, message_sources

SHARING: Final = "share"  # the name of the pass, which goes through attachments.id
SHARED_OCTETS: Final = 16 * 1024  # decoded, of an attachment that is worth two more rows in each letter
IDS_AT_ONCE: Final = 1000  # attachments looked through at once: their sizes and hashes

_A: Final = attachments.c
_T: Final = message_sources.c


class Repeated(NamedTuple):
    """An attachment that an earlier one is equal to. messages: that are to be cut anew."""

    id: int
    messages: list[int]


class Page(NamedTuple):
    """Some attachments that follow. last: the id of the last, None where nothing follows."""

    last: int | None
    found: list[Repeated]


class Piece(NamedTuple):
    """A part of a message as it is to be: its octets from `start` to before `end`."""

    start: int
    end: int
    is_shared: bool


class Cut(NamedTuple):
    """A message as it is cut now. octets: of each part.  is_shared: of each part."""

    octets: list[int]
    is_shared: list[bool]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> "Cut":
        """Give what pieces come to."""
        made = list(pieces)
        return cls([one.end - one.start for one in made], [one.is_shared for one in made])


# --- what repeats ---------------------------------------------------------------------------------------------------


def last_attachment(conn: Connection) -> int:
    """Give the highest id of an attachment; 0 if there is none."""
    return int(conn.execute(select(func.max(_A.id))).scalar() or 0)


def page(conn: Connection, after: int) -> Page:
    """Look through the attachments above the id `after` for those that came before."""
    ids = list(conn.execute(select(_A.id).where(_A.id > after).order_by(_A.id).limit(IDS_AT_ONCE)).scalars())
    if not ids:
        return Page(None, [])
    twin = attachments.alias()
    earlier = exists().where(twin.c.sha256 == _A.sha256, twin.c.id < _A.id)
    query = select(_A.id, _A.message, _A.sha256).where(_A.id.between(ids[0], ids[-1]), _A.octets >= SHARED_OCTETS)
    found = []
    for key, message, sha256 in conn.execute(query.where(earlier).order_by(_A.id)):
        before = select(_A.message).where(_A.sha256 == sha256, _A.id < key).limit(2)
        twins = list(conn.execute(before).scalars())
        # The very first was alone when the pass came by; the others it had as their turn came.
        found.append(Repeated(key, [*twins, message] if len(twins) == 1 else [message]))
    return Page(ids[-1], found)


def repeated_parts(conn: Connection, message: int) -> set[str]:
    """Name the parts of a message (`attachments.part`) that are in the archive once more."""
    twin = attachments.alias()
    again = exists().where(twin.c.sha256 == _A.sha256, twin.c.id != _A.id)
    query = select(_A.part).where(_A.message == message, _A.octets >= SHARED_OCTETS, again)
    return set(conn.execute(query).scalars())


# --- cutting --------------------------------------------------------------------------------------------------------


def cut(conn: Connection, message: int) -> Cut:
    """Look how a message is cut; no parts if it is not there. In a transaction that writes nobody cuts it meanwhile."""
    query = select(_T.octets, _T.blob.is_not(None)).where(_T.message == message).order_by(_T.part)
    rows = conn.execute(query).all()
    return Cut([octets for octets, _ in rows], [bool(is_shared) for _, is_shared in rows])


def pieces(now: Cut, segments: Iterable[tuple[int, int]]) -> list[Piece]:
    """Cut a message so that each of the segments, and what is shared already, stands in parts of its own.

    segments: (start, before the end) of octets to be shared, in any order.  There are no fewer parts than before, and none begins behind
    the old one of its number: so, written from the last to the first, none is written over what is still to be read.
    """
    begins = [sum(now.octets[:number]) for number in range(len(now.octets) + 1)]
    shared = [(begins[n], begins[n + 1]) for n, is_shared in enumerate(now.is_shared) if is_shared]
    for start, end in sorted(segments):
        # Not from the first octet: there stands the header section, for whoever reads no more than a message's head.
        if 0 < start < end <= begins[-1] and all(end <= begin or behind <= start for begin, behind in shared):
            shared.append((start, end))
    shared.sort()
    marks = sorted({place for one in shared for place in one} | {begins[-1]})
    found: list[Piece] = []
    place = mark = segment = 0
    while place < begins[-1]:
        while marks[mark] <= place:
            mark += 1
        while segment < len(shared) and shared[segment][1] <= place:
            segment += 1
        end = min(place + SOURCE_PART_OCTETS, marks[mark])
        if len(found) + 1 < len(now.octets):  # after changes of the setting it may be cut more finely than it need be
            end = min(end, begins[len(found) + 1])
        found.append(Piece(place, end, segment < len(shared) and shared[segment][0] <= place))
        place = end
    return found


def recut(tx: Connection, packer: Packer, message: int, now: Cut, wanted: Sequence[Piece]) -> Rewritten:
    """Store a message in other parts, and read it back whole; OctetsBroken if it is not what came, and nothing may be committed.

    now: as the pieces were made from; nothing is done if it is so no longer.  Holds a few parts in memory.
    """
    tx.execute(statements.for_update(tx, select(_T.part).where(_T.message == message).order_by(_T.part)))
    if cut(tx, message) != now:
        return Rewritten(0, 0, 0)
    source = Source(now.octets, lambda number: sources.part(tx, message, number))
    parts = after = 0
    before = _stored_octets(tx, message)
    for number, piece in reversed(list(enumerate(wanted))):
        is_there = number < len(now.octets)
        if is_there and piece == Piece(sum(now.octets[:number]), sum(now.octets[: number + 1]), now.is_shared[number]):
            continue
        octets, blob = source[piece.start : piece.end], None
        if piece.is_shared:
            blob, added = blobs.keep(tx, packer, octets)
            after += added
            packed = Packed(len(octets), BLOB, None, b"")
        else:
            packed = packer.packed(octets)
        row = {"message": message, "part": number, "blob": blob, **packed._asdict()}
        if is_there:
            statements.renew(tx, message_sources, [row], by=("message", "part"))
        else:
            tx.execute(insert(message_sources), [row])
        parts += 1
    if not sources.proven(tx, [message], headers_too=True):
        raise errors.OctetsBroken(
            f"message {message}: it can't be read back from other parts; see `postroom db verify`"
        )
    return Rewritten(parts, before, after + _stored_octets(tx, message))


def _stored_octets(conn: Connection, message: int) -> int:
    """Count the octets that a message's own rows hold."""
    return int(conn.execute(select(func.sum(func.length(_T.content))).where(_T.message == message)).scalar() or 0)
