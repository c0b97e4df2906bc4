"""What comes in is sent on (FORWARD): a row in the outbox for each message that is new, in the transaction that archives it.

What was in the maildrop when it was visited for the first time is not: whoever switches it on wants what comes from now on, and
not ten thousand letters at once. The first contact may take several visits; in the later ones a message's topmost Received
field tells, which the maildrop's own server wrote.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from daemon.jobs.context import Context
from daemon.mail.account import Account
from daemon.mail.resend import Journey
from daemon.store import archive, forwards, ledger

SKEW: Final = timedelta(hours=1)  # by which the clocks of the two houses may differ: better once too often than never
HEADER_OCTETS: Final = 64 * 1024  # of a large message, in which its topmost Received field is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """Where an account's new messages go, in one visit.

    since: what came before it was there before us.  is_first: whether this visit is the first contact; then what does not say
    when it came was there too.
    """

    target: str
    since: datetime
    is_first: bool

    def chosen(self, incoming: Sequence[archive.Incoming], filed: Sequence[archive.Filed]) -> Iterator[archive.Filed]:
        """Give those of a batch just archived that are sent on: new, whole, and not there before us. filed: their places."""
        for one, place in zip(incoming, filed, strict=True):
            if place.is_new and one.retrieved == "whole" and not self._was_there(one):
                yield place

    def _was_there(self, one: archive.Incoming) -> bool:
        came = Journey(next(one.spool.pieces(HEADER_OCTETS), b"")).came_at
        return self.is_first if came is None else came < self.since


def begin(account: Account, context: Context) -> Forwarding | None:
    """Decide for a visit that begins, and is written down already; None if the account sends nothing on."""
    if account.forward is None:
        return None
    with context.database.reading() as conn:
        is_first = ledger.is_first_contact(conn, account.name)
        since = context.clock() if is_first else forwards.first_visit(conn, account.name) - SKEW
    return Forwarding(target=account.forward, since=since, is_first=is_first)
