"""What the daemon remembers of maildrops from one visit to the next, within a bound (pop3/settled.py says what, and why it holds)."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from daemon.pop3.settled import Settled

MOST_OCTETS: Final = 64 * 1024 * 1024  # kept of all maildrops together: of some 500,000 messages, of 130 octets each


@dataclass(slots=True)
class Recollections:
    """What is settled in each account's maildrop; the one not visited for longest goes first. Safe to use from many threads."""

    most_octets: int = MOST_OCTETS
    _kept: OrderedDict[str, Settled] = field(default_factory=OrderedDict)
    _octets: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, account: str) -> Settled | None:
        """Give what was kept."""
        with self._lock:
            return self._kept.get(account)

    def keep(self, account: str, settled: Settled | None) -> None:
        """Keep it instead of what was kept; None forgets."""
        with self._lock:
            before = self._kept.pop(account, None)
            self._octets -= before.octets if before is not None else 0
            if settled is None:
                return
            self._kept[account] = settled
            self._octets += settled.octets
            while self._octets > self.most_octets:
                _account, oldest = self._kept.popitem(last=False)
                self._octets -= oldest.octets
