"""Whose turn it is: which accounts the daemon visits now, apart from its regular ticks, and which must wait.

A tick or a due time only asks; `allows` decides, from the account's row, right before the visit:

    stopped                 no, unless its settings or its password changed (jobs/standstill.py): then the stop ends
    backed off              not before `next_poll_at`
    LOGIN-DELAY of CAPA     not before the last login and so many seconds (RFC 2449 section 6.5); the visit is kept for then

`due` names those that are to be asked for now: whose back-off has run out (so that a retry after a minute does not wait for an
hourly tick), whose visit was kept, and stopped ones, to be looked at. Both are called from several threads.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from daemon import trace
from daemon.jobs import standstill
from daemon.jobs.context import Context
from daemon.mail.account import Account, Pop3
from daemon.store import accounts

LOOK_EVERY: Final = timedelta(minutes=1)  # at the settings and the password file of a stopped account
ASK_EVERY: Final = timedelta(
    seconds=30
)  # for a visit that is due and does not come about: another process has the account


@dataclass(slots=True)
class Turns:
    """Memory of one daemon. began_at: accounts that were stopped before it are looked at at once."""

    began_at: datetime
    longest_wait: timedelta
    _looked: dict[str, datetime] = field(default_factory=dict)
    _asked: dict[str, tuple[datetime | None, datetime]] = field(default_factory=dict)
    _kept: dict[str, datetime] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, context: Context) -> "Turns":
        """Begin now."""
        return cls(began_at=context.clock(), longest_wait=context.backoff.longest)

    def begin_again(self, context: Context) -> None:
        """Forget what was looked at and asked for: the settings were read anew, so that a stopped account is looked at at once."""
        with self._lock:
            self.began_at, self.longest_wait = context.clock(), context.backoff.longest
            self._looked, self._asked = {}, {}

    def allows(self, account: Account, context: Context) -> bool:
        """Tell whether the account may be visited now; ends its stop if what it was for has changed."""
        assert account.pop3 is not None  # noqa: S101 -- only such accounts are asked for
        name, now = account.name, context.clock()
        with context.database.reading() as conn:
            standing = accounts.standing(conn, name)
        with self._lock:
            kept_for = self._kept.pop(name, None)
        if standing.stopped_since is not None:
            if not self._is_to_be_looked_at(account.pop3, name, standing.stopped_since, now):
                return False
            if standstill.is_unchanged(account.pop3, standing.stopped_settings):
                return False
            with context.database.transaction() as tx:
                accounts.resume(tx, name, now)
            trace.polling_resumed(account=name, stopped_since=standing.stopped_since)
        elif standing.next_poll_at is not None and standing.next_poll_at > now:
            return False
        not_before = standing.login_not_before
        if not_before is not None and not_before > now:
            with self._lock:
                self._kept[name] = not_before
            if kept_for != not_before:
                trace.login_delayed(account=name, seconds=standing.login_delay or 0, until=not_before)
            return False
        return True

    def _is_to_be_looked_at(self, pop3: Pop3, name: str, stopped_since: datetime, now: datetime) -> bool:
        """Tell whether a look is due: a minute after the last one, and a password command is not run more often than retried."""
        is_command = pop3.password is not None and pop3.password.command is not None
        with self._lock:
            last = max(stopped_since, self._looked.get(name, self.began_at))
            is_first = name not in self._looked and stopped_since < self.began_at
            if not is_first and now < last + (self.longest_wait if is_command else LOOK_EVERY):
                return False
            self._looked[name] = now
        return True

    def due(self, context: Context) -> set[str]:
        """Name the accounts to ask for now; the same one for the same reason at most every half minute."""
        now = context.clock()
        with context.database.reading() as conn:
            waiting: dict[str, datetime | None] = dict(accounts.due(conn, now))
        with self._lock:
            waiting |= {name: at for name, at in self._kept.items() if at <= now}
            asked = self._asked
            names = {
                name
                for name, at in waiting.items()
                if name not in asked or asked[name][0] != at or asked[name][1] + ASK_EVERY <= now
            }
            self._asked = {name: (at, now) if name in names else asked[name] for name, at in waiting.items()}
        return names
