"""Where a message's octets wait between the socket and the archive: memory while small, an anonymous file when large.

The file has no name, so a killed process leaves nothing behind. SHA-256 is kept as octets come in. Raises StoreError kinds
only for a full or failing temporary directory. Never interprets what it holds.
"""

import errno
import hashlib
import tempfile
from collections.abc import Iterator
from typing import IO, Final, Self

from daemon.errors import DatabaseFull, StoreError

SPOOL_MEMORY_OCTETS: Final = 4 * 1024 * 1024  # octets held in memory per message; most mail is far below
PIECE_OCTETS: Final = 4 * 1024 * 1024  # octets a piece: bounded memory, and the size of a part in the archive


class Spool:
    """Octets of one message; appended to, then read any number of times, then closed."""

    __slots__ = ("_file", "_hash", "_joined", "_pieces", "_sha256", "octets")

    def __init__(self, octets: bytes | None = None) -> None:
        """Begin with octets that are already here, or empty; nothing is copied, nothing hashed until asked for."""
        self.octets = len(octets) if octets else 0
        self._joined = octets or b""
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._hash: hashlib._Hash | None = None
        self._sha256: str | None = None

    @classmethod
    def of(cls, octets: bytes) -> Self:
        """Hold a whole message; cheap, for the many small ones."""
        return cls(octets)

    def append(self, octets: bytes) -> None:
        """Add octets at the end."""
        if not octets:
            return
        if self._hash is None:
            self._hash = hashlib.sha256(self._joined)
            self._pieces = [self._joined]
        self._hash.update(octets)
        self._sha256 = None
        self.octets += len(octets)
        if self._file is None and self.octets <= SPOOL_MEMORY_OCTETS:
            self._pieces.append(octets)
            return
        try:
            if self._file is None:
                # Unbuffered: a full disk must show itself here, not at close.
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- lives as long as the spool
                pieces, self._pieces = self._pieces, []
                for piece in pieces:
                    self._write(piece)
            self._write(octets)
        except OSError as error:
            raise _translated(error) from error

    def _write(self, octets: bytes) -> None:
        assert self._file is not None  # noqa: S101 -- both callers have just made or checked it
        rest = memoryview(octets)
        while rest:
            rest = rest[self._file.write(rest) :]

    @property
    def sha256(self) -> str:
        """SHA-256 of everything so far, 64 lower-case hexadecimal digits."""
        if self._sha256 is None:
            hashed = self._hash if self._hash is not None else hashlib.sha256(self._joined)
            self._sha256 = hashed.hexdigest()
        return self._sha256

    @property
    def is_in_memory(self) -> bool:
        """True while no file was needed."""
        return self._file is None

    def pieces(self, size: int = PIECE_OCTETS) -> Iterator[bytes]:
        """Give the octets in pieces of `size`, the last one shorter; none for an empty spool."""
        if self._file is None:
            octets = self.getvalue()
            if 0 < len(octets) <= size:
                yield octets
                return
            for start in range(0, len(octets), size):
                yield octets[start : start + size]
            return
        for start in range(0, self.octets, size):
            yield self._read(start, min(size, self.octets - start))

    def _read(self, start: int, octets: int) -> bytes:
        assert self._file is not None  # noqa: S101 -- the caller has just checked it
        try:
            self._file.seek(start)
            pieces = []
            while octets:
                piece = self._file.read(octets)
                if not piece:
                    raise StoreError("a temporary file is shorter than what was written to it")
                pieces.append(piece)
                octets -= len(piece)
            self._file.seek(0, 2)
        except OSError as error:
            raise _translated(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def getvalue(self) -> bytes:
        """Return everything as one bytes object; for messages whose size the caller has looked at."""
        if self._file is not None:
            return self._read(0, self.octets)
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else self._joined

    def close(self) -> None:
        """Let the octets go; safe to call twice. The size and the hash stay."""
        _ = self.sha256
        self._joined, self._pieces = b"", []
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _translated(error: OSError) -> StoreError:
    place = tempfile.gettempdir()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DatabaseFull(f"no room for a large message in {place}; free some, or set TMPDIR to a larger place")
    return StoreError(f"temporary file in {place}: {error.strerror or error}")
