"""Sessions with relays that are kept open between drains, so that the next letter need not wait for a login.

A relay that a drain has finished with stays here for KEPT_SECONDS; whoever takes it looks whether it is still there. `close_idle`
is called every second or so. Thread-safe; a relay is held by one thread at a time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from daemon.smtp.relay import Relay

KEPT_SECONDS: Final = (
    30.0  # without a letter: relays close after some minutes (RFC 5321 section 4.5.3.2.7: 5), some sooner
)
PARTING_SECONDS: Final = 1.0  # for a good bye that nobody needs
WIDEST: Final = 50  # letters in flight: what one cut may leave in doubt

Key: TypeAlias = tuple[str, str]  # an account, and one of its relays


@dataclass(slots=True)
class Pace:
    """How many letters may be under way at once: one at first, doubled as they go well; 0: one, word by word, after a cut.

    without: extensions that the relay offers and does not know.  alone_until: of the monotonic clock; the relay has refused a
    further connection beside the one that there was.
    """

    letters: int = 1
    alone_until: float = 0.0
    without: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many rows are claimed at once: what is claimed is soon marked."""
        return max(1, self.letters)

    def quicken(self) -> None:
        """Go on faster, after as many went well."""
        self.letters = min(max(1, self.letters * 2), WIDEST)

    def ease(self) -> None:
        """Go on more slowly, with a relay that puts letters off."""
        self.letters = self.letters // 2 or min(self.letters, 1)

    def is_wide(self, now: float) -> bool:
        """Tell whether a further connection may be tried. now: of the monotonic clock."""
        return now >= self.alone_until

    def slacken(self) -> None:
        """Begin anew, after a session was cut: what the next cut leaves in doubt must be small."""
        self.letters = 0


@dataclass(slots=True)
class Connections:
    """The idle sessions of this process, and the pace of each relay."""

    _idle: dict[Key, list[tuple[float, Relay]]] = field(default_factory=dict)
    _paces: dict[Key, Pace] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pace(self, key: Key) -> Pace:
        """Return the pace of a relay."""
        with self._lock:
            return self._paces.setdefault(key, Pace())

    def keep(self, key: Key, relay: Relay, now: float) -> None:
        """Keep a usable session. now: of the monotonic clock."""
        with self._lock:
            self._idle.setdefault(key, []).append((now, relay))

    def take(
        self,
        key: Key,
        *,
        deadline: float,
        progress: Callable[[], None],
        opened: Callable[[Relay], None],
    ) -> Relay | None:
        """Return a kept session that is still there, None if there is none; the one used last goes first."""
        while True:
            with self._lock:
                kept = self._idle.get(key)
                if not kept:
                    return None
                _since, relay = kept.pop()
            opened(relay)
            if relay.resume(deadline=deadline, progress=progress):
                return relay
            relay.close()

    def close_idle(self, before: float, account: str | None = None) -> None:
        """Close the sessions, of one account or all, that were not used since a time of the monotonic clock; `float("inf")`: at all."""
        with self._lock:
            old, left = [], {}
            for key, kept in self._idle.items():
                is_meant = account in {None, key[0]}
                old += [relay for since, relay in kept if is_meant and since < before]
                if staying := [one for one in kept if not is_meant or one[0] >= before]:
                    left[key] = staying
            self._idle = left
        for relay in old:
            relay.resume(deadline=time.monotonic() + PARTING_SECONDS, progress=lambda: None)
            relay.quit()
