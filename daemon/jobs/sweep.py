"""Put right what a dead process left: claims, leases and visits that nobody holds any more; end what has expired; forget old visits."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from daemon import trace
from daemon.jobs.context import Context
from daemon.store import accounts, outbox

DEFAULT_AGE: Final = timedelta(
    days=5
)  # a row without expires_at is tried this long (RFC 5321 section 4.5.4.1: 4-5 days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many rows were put right, or deleted."""

    requeued: int
    in_doubt: int
    expired: int
    interrupted_polls: int
    forgotten_polls: int


def sweep(context: Context) -> Swept:
    """Run all repairs in one short transaction."""
    now = context.clock()
    with context.database.transaction() as tx:
        rescued = outbox.rescue(tx, now)
        swept = Swept(
            requeued=rescued.requeued,
            in_doubt=rescued.in_doubt,
            expired=0 if context.steadiness.doubt else outbox.expire(tx, now, DEFAULT_AGE),
            interrupted_polls=accounts.interrupt_orphans(tx, now),
            forgotten_polls=0 if context.steadiness.doubt else accounts.forget_polls(tx, now - context.keep_polls),
        )
    if swept != Swept(requeued=0, in_doubt=0, expired=0, interrupted_polls=0, forgotten_polls=0):
        trace.swept(
            requeued=swept.requeued,
            in_doubt=swept.in_doubt,
            expired=swept.expired,
            interrupted_polls=swept.interrupted_polls,
            forgotten_polls=swept.forgotten_polls,
        )
    return swept
