"""The letters that are taken from the caller and not handed back: how many at once, and which is next. Pure.

Bounded by count and by octets, so that what a cut leaves in doubt, and what is held in memory, stays small. Parcels are taken
some at once, when a quarter of the window is free, so that the caller can do for many what costs the same for one.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from daemon.mail.envelope import Parcel
from daemon.smtp.features import Features
from daemon.smtp.transaction import Transaction

MAX_IN_FLIGHT: Final = 50  # letters that a caller should allow: at 50 ms they fill the line of one connection
WINDOW_OCTETS: Final = 8 * 1024 * 1024  # of letters taken and not handed back; beyond it none is taken, yet always one


class Window:
    """Letters in order. letters: how many there are, those that were begun included."""

    def __init__(self, parcels: Iterator[Parcel], features: Features) -> None:
        """Begin with none."""
        self._parcels: Iterator[Parcel] | None = parcels
        self._features = features
        self._octets = 0
        self.letters = 0
        self.ahead: deque[Transaction] = deque()  # not a word of these was said

    def take(self, most: int, allowed: int | None) -> bool:
        """Take parcels if there is room for some; True when one came.

        most: letters taken and not handed back.  allowed: how many may be taken now, None for any number.
        """
        most = max(1, most)
        if self.letters and most - self.letters < max(1, most // 4):
            return False
        before = self.letters
        while self._parcels is not None and self.letters < most and allowed != self.letters - before:
            if self.letters and self._octets >= WINDOW_OCTETS:
                break
            parcel = next(self._parcels, None)
            if parcel is None:
                self._parcels = None
                break
            letter = Transaction(parcel, self._features)
            self._octets += len(letter.normal)
            self.letters += 1
            self.ahead.append(letter)
        return self.letters > before

    def hand_back(self, letter: Transaction) -> None:
        """Count one less."""
        self._octets -= len(letter.normal)
        self.letters -= 1
