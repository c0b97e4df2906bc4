"""The keeper of a running house: feeds the watchdog, keeps the status line true, reads the settings again when asked.

It is the main thread, and does nothing else. New settings are taken whole or not at all: with one mistake in them those from
before stay in force, which the log and the status line say until better ones come.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from daemon import errors, trace
from daemon.jobs import check as checking
from daemon.jobs import standstill
from daemon.jobs.context import Context
from daemon.schedule import Schedule
from daemon.service import Notifier
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.store import accounts, foretold, overview
from daemon.store.packing import Packer

STATUS_SECONDS: Final = 10.0  # how often `systemctl status` gets a new line


def welcome(context: Context, settings: Settings) -> None:
    """Make the accounts known, and let each be tried at once: whoever starts or reloads the house may have mended it."""
    database, now = context.database, context.clock()
    with database.transaction() as tx:
        accounts.register(tx, [(account.name, account.address) for account in settings.accounts.values()])
    for account in settings.accounts.values():
        standstill.end_pause(database, account.name, now)
        for finding in checking.key(account):
            if finding.error is not None:  # its rows wait; whoever starts the house should know
                trace.job_failed(job=finding.subject, error=finding.error)


class Keeper:
    """Holds what is in force. `keep` returns when the house is to stop."""

    def __init__(
        self,
        settings: Settings,
        context: Context,
        schedule: Schedule,
        notifier: Notifier,
        signals: Signals,
        reread: Callable[[], Settings],
    ) -> None:
        """`schedule` runs already.  reread: gives the settings as they are now, or SettingsInvalid."""
        self._settings, self._context, self._schedule = settings, context, schedule
        self._notifier, self._signals, self._reread = notifier, signals, reread
        self._refused = ""
        self._stuck: list[str] = []
        self._amends = True  # at the start too: nobody knows what clock the last daemon had
        self._restart_for: list[str] = []

    def keep(self) -> None:
        """Say that the house is ready, and look after it until it is to stop."""
        interval = min(STATUS_SECONDS, (self._settings.watchdog_seconds or STATUS_SECONDS * 2) / 2)
        self._notifier.ready(self._line([]))
        told: list[str] = []
        told_at = self._context.monotonic()
        while not self._signals.wait(interval):
            if self._signals.wants_reload():
                self._reload()
            self._look_at_the_clock()
            stuck = self._stuck = self._schedule.stuck()
            if not stuck:
                self._notifier.alive()
            states = [*stuck, *self._schedule.degraded()]
            if states != told or self._context.monotonic() - told_at >= STATUS_SECONDS:
                told, told_at = states, self._context.monotonic()
                self._notifier.status(self._line(stuck))

    def stuck(self) -> list[str]:
        """Name what did not get on at the last look."""
        return self._stuck

    def troubles(self) -> list[str]:
        """Say what keeps the house from its work."""
        return [f"{state}: {why}" for state, why in self._schedule.degraded().items()]

    def _look_at_the_clock(self) -> None:
        if set_by := self._context.steadiness.look():
            trace.clock_set(seconds=set_by.total_seconds())
            self._schedule.plan_anew()
            self._amends = True
        if self._amends:
            with (
                contextlib.suppress(errors.StoreError),
                self._context.database.transaction() as tx,
            ):  # else at the next look
                foretold.amend(tx, self._context.clock(), self._context.backoff.longest)
                self._amends = False

    # --- the status line --------------------------------------------------------------------------------------------

    def _line(self, stuck: list[str]) -> str:
        """Say how it stands, what is wrong first."""
        parts = [f"stuck: {', '.join(stuck)}"] if stuck else []
        degraded = self._schedule.degraded()
        try:
            with self._context.database.reading() as conn:
                standing = overview.line(conn, self._context.clock(), self._settings.accounts)
        except errors.StoreError as error:
            degraded, standing = degraded | {error.state: str(error)}, ""
        parts += [f"degraded: {state}: {why}" for state, why in degraded.items()]
        if self._refused:
            parts.append(f"new settings refused: {self._refused}")
        if self._restart_for:
            parts.append(f"restart for a new {', '.join(self._restart_for)}")
        return "; ".join([*parts, standing] if standing else parts)

    # --- new settings -----------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Take the settings as they are now, or go on with those in force."""
        self._notifier.reloading()
        try:
            self._take(self._reread())
            self._refused = ""
        except errors.PostroomError as error:
            first, *others = str(error).splitlines()
            self._refused = f"{first} (and {len(others)} more: see the log)" if others else first
            trace.reload_refused(error=error)
        self._notifier.ready(self._line([]))

    def _take(self, settings: Settings) -> None:
        if not settings.accounts:
            raise errors.SettingsInvalid(("no account is set any more; to stop fetching and sending, stop the daemon",))
        before, now = self._settings.accounts, settings.accounts
        context = replace(
            self._context,
            backoff=settings.retry,
            trace_mode=settings.trace,
            keep_polls=settings.keep_polls,
            packer=Packer(settings.compression),
        )
        welcome(context, settings)  # before anything has changed: the database may refuse
        trace.configure(log_format=settings.log_format, level=settings.log_level)
        self._schedule.change(now.values(), context)
        changed = [name for name in now if name in before and before[name] != now[name]]
        removed = [name for name in before if name not in now]
        for name in changed + removed:
            context.connections.close_idle(float("inf"), account=name)
        fixed = ("database_url", "listen", "ping_url")
        self._restart_for = [
            f"POSTROOM_{name.upper()}" for name in fixed if getattr(settings, name) != getattr(self._settings, name)
        ]
        self._settings = replace(settings, **{name: getattr(self._settings, name) for name in fixed})
        self._context = context
        trace.reloaded(
            added=[name for name in now if name not in before],
            removed=removed,
            changed=changed,
            unchanged=len(now.keys() & before.keys()) - len(changed),
            restart_for=self._restart_for,
        )
