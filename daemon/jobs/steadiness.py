"""Whether the wall clock is to be believed: it is set by people, by NTP after hours without it, and by a battery that is empty.

What was planned by a clock that was ahead would wait for ever when it is set back, so that whoever notices (the keeper) plans anew. A clock
that goes forward by half a day may be wrong, or the machine was asleep: for an hour nothing is done that can't be taken back by its
word alone, which is to delete on a server by age, and to let rows expire.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

JUMP: Final = timedelta(seconds=60)  # less is drift, or somebody's `date` by hand: nobody waits for it
DOUBTED_BEYOND: Final = timedelta(hours=12)  # forward
DOUBTED_FOR_SECONDS: Final = 3600.0


class Steadiness:
    """Compares the wall clock with one that nobody sets. passed: seconds, from any beginning."""

    def __init__(self, clock: Callable[[], datetime], passed: Callable[[], float]) -> None:
        self._clock, self._passed = clock, passed
        self._wall, self._steady = clock(), passed()
        self._doubted_until: float | None = None
        self._set_by = timedelta(0)

    def look(self) -> timedelta:
        """Return by how much the clock was set since the last look: zero mostly."""
        wall, steady, set_by = self._compared()
        self._wall, self._steady = wall, steady
        if abs(set_by) < JUMP:
            return timedelta(0)
        if set_by > DOUBTED_BEYOND:
            self._doubted_until, self._set_by = steady + DOUBTED_FOR_SECONDS, set_by
        elif set_by < timedelta(0):
            self._doubted_until = None  # put right
        return set_by

    @property
    def doubt(self) -> timedelta | None:
        """By how much the clock went forward of late, if that much is not to be believed yet; also before anybody has looked."""
        _wall, steady, set_by = self._compared()
        if abs(set_by) >= JUMP:
            return set_by if set_by > DOUBTED_BEYOND else None
        is_over = self._doubted_until is None or steady >= self._doubted_until
        return None if is_over else self._set_by

    def _compared(self) -> tuple[datetime, float, timedelta]:
        wall, steady = self._clock(), self._passed()
        return wall, steady, wall - self._wall - timedelta(seconds=steady - self._steady)
