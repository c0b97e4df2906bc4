"""How the octets of a part are stored: as they came, or as a zstd frame, small letters with a trained dictionary.

What stands in `blobs`, for several messages, is stored in the same way, but never with a dictionary.

A poll compresses what it costs next to nothing to compress: what is large, while the line is waited for, and small letters once
there is a dictionary. Small letters that come before it are stored as they are, and `jobs/pack` compresses them behind it.
What does not get smaller stays as it is.
"""

from typing import Final, NamedTuple

from sqlalchemy import Connection

from daemon.store import dictionaries, zstd

ZSTD: Final = "zstd"
IDENTITY: Final = "identity"
BLOB: Final = "blob"  # of a part whose octets stand in `blobs`: `sources` reads them from there
SMALL_OCTETS: Final = 32 * 1024  # of a letter that a dictionary is for: it makes little difference to larger ones
SAVED: Final = 0.03  # share of the octets that a frame must save, or reading is not made dearer for it


class Packed(NamedTuple):
    """A part as it is stored. octets: of what it holds.  dictionary: id."""

    octets: int
    encoding: str
    dictionary: int | None
    content: bytes


class Packer:
    """Compresses as the settings want it, with the newest dictionary that it has seen; one for all threads."""

    def __init__(self, compression: str = ZSTD) -> None:
        """compression: zstd or none."""
        self.is_on = compression == ZSTD
        self._dictionary: tuple[int, zstd.Dictionary] | None = None

    @property
    def has_dictionary(self) -> bool:
        """Tell whether small letters are compressed with what others of them have in common."""
        return self._dictionary is not None

    @property
    def target(self) -> str:
        """Name what it makes of small letters, for the record: none, zstd, or zstd and the id of the dictionary."""
        if not self.is_on:
            return "none"
        return ZSTD if self._dictionary is None else f"{ZSTD} {self._dictionary[0]}"

    def learn(self, conn: Connection) -> None:
        """Look for a newer dictionary; one that can't be used is as good as none."""
        newest = dictionaries.newest(conn) if self.is_on else None
        if newest is not None and (self._dictionary is None or self._dictionary[0] != newest):
            try:
                self._dictionary = newest, dictionaries.get(conn, newest)
            except zstd.Broken:
                self._dictionary = None

    def at_once(self, octets: bytes) -> Packed:
        """Store a part that comes in."""
        if self._dictionary is None and len(octets) <= SMALL_OCTETS:
            return Packed(len(octets), IDENTITY, None, octets)
        return self.packed(octets)

    def packed(self, octets: bytes) -> Packed:
        """Store a part as small as it gets."""
        if self.is_on and self._dictionary is not None and len(octets) <= SMALL_OCTETS:
            return _smaller(octets, self._dictionary[1].compressed(octets), self._dictionary[0])
        return self.alone(octets)

    def alone(self, octets: bytes) -> Packed:
        """Store octets as small as they get without a dictionary."""
        return (
            _smaller(octets, zstd.compressed(octets), None)
            if self.is_on
            else Packed(len(octets), IDENTITY, None, octets)
        )


def _smaller(octets: bytes, frame: bytes, dictionary: int | None) -> Packed:
    if len(frame) <= len(octets) * (1 - SAVED):
        return Packed(len(octets), ZSTD, dictionary, frame)
    return Packed(len(octets), IDENTITY, None, octets)


def unpacked(conn: Connection, stored: Packed) -> bytes:
    """Give the octets of a part; zstd.Broken if they can't be had."""
    octets, encoding, dictionary, content = stored
    if encoding == IDENTITY:
        return content
    if encoding == BLOB:
        raise zstd.Broken("its blob is not in the database")
    if dictionary is None:
        return zstd.decompressed(content, octets)
    return dictionaries.get(conn, dictionary).decompressed(content, octets)


def head(conn: Connection, stored: Packed, octets: int) -> bytes:
    """Give the first octets of a part. stored: its content may end zstd.BLOCK_OCTETS behind what is wanted."""
    if stored.encoding == IDENTITY:
        return stored.content[:octets]
    if stored.encoding == BLOB:
        raise zstd.Broken("its blob is not in the database")
    if stored.dictionary is None:
        return zstd.head(stored.content, octets)
    return dictionaries.get(conn, stored.dictionary).head(stored.content, octets)
