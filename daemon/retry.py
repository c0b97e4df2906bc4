"""When to try again: pure back-off, the clock and the jitter are parameters.

The wait doubles from `first` to `longest`, spread by up to a fifth either way, so that a thousand rows deferred in one
second do not come back in one second (RFC 5321 section 4.5.4.1 asks for a back-off; the figures are the operator's).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

JITTER: Final = 0.2  # share of the wait, either way
MAX_DOUBLINGS: Final = 32  # 2**32 times any first wait is beyond any longest one; keeps the arithmetic finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """First and longest wait between attempts; first <= longest, both above zero."""

    first: timedelta
    longest: timedelta

    def wait(self, failures: int, jitter: float) -> timedelta:
        """Return the wait after that many failures in a row.

        failures: >= 1.  jitter: in [0, 1); 0.5 is the plain doubling.
        """
        doublings = min(max(failures, 1) - 1, MAX_DOUBLINGS)
        # Compared as logarithms would be: timedelta overflows at about 2.7 million years.
        seconds = min(self.first.total_seconds() * 2.0**doublings, self.longest.total_seconds())
        return timedelta(seconds=seconds * (1 + JITTER * (2 * jitter - 1)))

    def next_attempt(self, failures: int, now: datetime, jitter: float) -> datetime:
        """Return the time of the next try, after that many failures in a row."""
        return now + self.wait(failures, jitter)
