"""What was put off to a time that a wrong clock made too late: due again once the clock is right. Takes the connection.

Nothing of ours waits for longer than a day but what somebody dated (`send_after`): what does was planned by a clock that was ahead.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, or_, update

from daemon.store.schema import accounts, outbox, relays

LONGEST: Final = timedelta(hours=25)  # a budget of a day, the longest LOGIN-DELAY
LONGEST_LEASE: Final = timedelta(hours=1)  # they last ten minutes, and are renewed


def amend(tx: Connection, now: datetime, longest: timedelta) -> int:
    """Make due what waits for longer than anything may; give how many rows changed. longest: of the waits between attempts."""
    latest = now + max(longest * 2, LONGEST)
    a, o, r = accounts.c, outbox.c, relays.c
    waits = (o.next_attempt_at > latest) & or_(o.status == "deferred", (o.status == "queued") & o.send_after.is_(None))
    steps: tuple[tuple[Table, Any, dict[str, Any]], ...] = (
        (outbox, waits, {"next_attempt_at": now}),
        (outbox, o.lease_until > now + LONGEST_LEASE, {"lease_until": now + LONGEST_LEASE}),
        (accounts, a.lease_until > now + LONGEST_LEASE, {"lease_until": now + LONGEST_LEASE}),
        (accounts, a.next_poll_at > latest, {"next_poll_at": now}),
        (accounts, a.last_login_at > now, {"last_login_at": None}),
        (accounts, a.relay_paused_until > latest, {"relay_paused_until": now}),
        (relays, r.paused_until > latest, {"paused_until": now}),
    )
    return sum(tx.execute(update(table).where(which).values(**what)).rowcount for table, which, what in steps)
