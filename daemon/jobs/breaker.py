"""A circuit breaker: a relay that puts off letter after letter for reasons of its own is to be left alone for a while. Pure.

Greylisting, a full mailbox, too many recipients are reasons of the letter, and open nothing. A relay that has failed before is
only tried: there one letter is enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from daemon.smtp.replies import Deferred, Outcome, Reply, is_about_the_relay

BROKEN_AFTER: Final = 20  # letters in a row: fewer may be chance, and each has its attempt counted


@dataclass(slots=True)
class Breaker:
    """What a relay has done with letters lately.

    borne: so many in a row may be put off.  in_a_row: how many were.  said: what it said last, if it took nothing.  went: letters of
    this session that it did not put off so.
    """

    borne: int = BROKEN_AFTER
    in_a_row: int = 0
    said: Reply | None = None
    went: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the relay should be left alone."""
        return self.in_a_row >= self.borne

    def close(self, *, is_doubted: bool) -> None:
        """Begin anew, with another relay. is_doubted: it has failed, and has taken nothing since."""
        self.borne, self.in_a_row, self.said = 1 if is_doubted else BROKEN_AFTER, 0, None

    def judge(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take what came of a letter."""
        replies = [
            one.reply for one in outcomes.values() if isinstance(one, Deferred) and is_about_the_relay(one.reply)
        ]
        if len(replies) == len(outcomes):
            self.said, self.in_a_row = replies[-1], self.in_a_row + 1
        else:
            self.said, self.in_a_row, self.borne, self.went = None, 0, BROKEN_AFTER, self.went + 1

    def __str__(self) -> str:
        """As it is said of the relay, behind its name."""
        return f"it puts off letter after letter ({self.in_a_row}) for reasons of its own: {self.said}"
