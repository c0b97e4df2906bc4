"""A large message's octets, read in parts when they are asked for, so that it is never held whole.

Has what the parser asks of `bytes` (length, slices, `in`, find, startswith, replace) and answers as bytes would, wherever
the parts are cut. Whatever the reading function raises passes through. Pure.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

PARTS_HELD: Final = 4  # in memory, 16 MiB: most large messages are read once; what is looked for may lie across two


class Source:
    """The octets of one message; to be used by one thread."""

    def __init__(self, octets: Sequence[int], read: Callable[[int], bytes]) -> None:
        """Read nothing yet. octets: of each part.  read: gives a part by its number, counted from 0."""
        self._begins = [0, *accumulate(octets)]  # of each part; the last is the end of all
        self._read = read
        self._held: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Count the octets."""
        return self._begins[-1]

    def __contains__(self, needle: bytes) -> bool:
        """Tell whether `needle` is in there."""
        return self.find(needle, 0, len(self)) >= 0

    def __getitem__(self, place: slice) -> bytes:
        """Give the octets of a slice without a step."""
        start, end, _ = place.indices(len(self))
        pieces = []
        while start < end:
            number = self._number(start)
            begin = self._begins[number]
            pieces.append(self._part(number)[start - begin : end - begin])
            start = self._begins[number + 1]
        return b"".join(pieces)

    def find(self, needle: bytes, start: int, end: int) -> int:
        """Give the first place of `needle` that lies within start and end, -1 for none; neither is negative."""
        end = min(end, len(self))
        while end - start >= len(needle):
            number = self._number(start)
            begin, following = self._begins[number], self._begins[number + 1]
            found = self._part(number).find(needle, start - begin, end - begin)
            if found >= 0:
                return begin + found
            across = max(start, following - len(needle) + 1)
            found = self[across : min(following + len(needle) - 1, end)].find(needle)
            if found >= 0:
                return across + found
            start = following
        return -1

    def startswith(self, prefix: bytes, start: int, end: int) -> bool:
        """Tell whether `prefix` stands at `start` and ends by `end`."""
        return self[start : min(start + len(prefix), end)] == prefix

    def replace(self, old: bytes, new: bytes) -> "Source":
        """Replace one octet by another throughout."""
        sizes = [after - before for before, after in zip(self._begins, self._begins[1:], strict=False)]
        return Source(sizes, lambda number: self._part(number).replace(old, new))

    def _number(self, place: int) -> int:
        return bisect_right(self._begins, place) - 1

    def _part(self, number: int) -> bytes:
        if number not in self._held:
            if len(self._held) == PARTS_HELD:
                del self._held[next(iter(self._held))]
            self._held[number] = self._read(number)
        return self._held[number]


Octets = bytes | Source
