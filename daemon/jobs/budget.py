"""How much an account may send: quotas, counted from the attempts in the database, so that a restart forgets nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from daemon.jobs.context import Context
from daemon.mail.account import Quota
from daemon.store import outbox

PATIENCE: Final = timedelta(seconds=2)  # a budget that has room again this soon is waited for with the line open


def full_until(
    context: Context, account: str, quotas: Sequence[Quota], *, longer_than: timedelta = timedelta(0)
) -> datetime | None:
    """Say when the account's budget has room again; None if it has room now, or will have within `longer_than`."""
    if not quotas:
        return None
    now, until = context.clock(), []
    with context.database.reading() as conn:
        for quota in quotas:
            started, earliest = outbox.attempts_since(conn, account, now - quota.period)
            if started >= quota.count and earliest is not None:
                until.append(earliest + quota.period)
    return max((one for one in until if one - now > longer_than), default=None)
