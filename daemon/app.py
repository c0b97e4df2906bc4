"""The composition root: Settings become a database, a context, a schedule, and they are taken down again in order.

Nothing below this module reads settings or decides who works with whom. The command line calls the functions here and
prints what they return; `run` is the daemon.
"""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from types import FrameType
from typing import Final

from daemon import errors, trace
from daemon.jobs import check as checking
from daemon.jobs import drain, index, match, poll, routing, standstill, sweep, visit
from daemon.jobs.context import Context
from daemon.jobs.retrieval import Report
from daemon.mail.account import Account
from daemon.schedule import Schedule
from daemon.service import Notifier
from daemon.settings import Settings
from daemon.store import accounts, outbox, overview, relays, upgrade
from daemon.store.database import Database
from daemon.store.lease import Owner

GRACE_SECONDS: Final = 9.0  # from SIGTERM until sockets are closed; systemd's TimeoutStopSec must be longer
GARBAGE_THRESHOLD: Final = 50_000  # objects between two looks; a listing of 20,000 messages makes some 100,000
STATUS_SECONDS: Final = 10.0  # how often `systemctl status` gets a new line


def version() -> str:
    """Return the version of the installed distribution."""
    return metadata.version("postroom")


def configure_trace(settings: Settings) -> None:
    """Send events where the settings want them."""
    trace.configure(log_format=settings.log_format, level=settings.log_level)


def open_database(settings: Settings) -> Database:
    """Open the database; a new one is made, an older or newer one is refused with what to do."""
    database = Database(settings.database_url)
    try:
        if upgrade.current(database) is None:
            upgrade.upgrade(database)
        upgrade.require_current(database)
        with database.transaction() as tx:
            accounts.register(tx, [(account.name, account.address) for account in settings.accounts.values()])
    except BaseException:
        database.dispose()
        raise
    return database


def context_of(settings: Settings, database: Database) -> Context:
    """Give jobs their surroundings."""
    return Context(database=database, owner=str(Owner.current()), backoff=settings.retry, trace_mode=settings.trace)


def chosen(settings: Settings, names: Sequence[str], *, able: Callable[[Account], object]) -> list[Account]:
    """Return the named accounts, or all that are able; NotFound names the ones that exist."""
    for name in names:
        if name not in settings.accounts:
            raise errors.NotFound(
                f"no account {name!r} in the settings; there are: {', '.join(settings.accounts) or 'none'}"
            )
    return [account for name, account in settings.accounts.items() if (name in names if names else able(account))]


# --- once -----------------------------------------------------------------------------------------------------------


def fetch(
    settings: Settings,
    database: Database,
    names: Sequence[str] = (),
    report: Callable[[str, int, int], None] | None = None,
    *,
    uidls: frozenset[str] = frozenset(),
    mark_seen: bool = False,
) -> list[visit.Result]:
    """Poll the named accounts once (all with POP3 if none is named), then index what came, and match it with what was sent.

    report: told (account, messages done, messages planned).  uidls, mark_seen: as poll.poll takes them.  An account whose
    polling is stopped is visited only by name, or when its settings changed: without names this may run unattended.
    """
    context = context_of(settings, database)
    sweep.sweep(context)
    results = []
    with _stop_on_signals(context.stop):
        for account in chosen(settings, names, able=lambda one: one.pop3):
            if context.stop.is_set():
                break
            if not names and (stopped := standstill.left_alone(account, context)) is not None:
                results.append(visit.Result(account=account.name, outcome="stopped", error=stopped))
                continue
            tell = None if report is None else _for_account(report, account.name)
            results.append(poll.poll(account, context, report=tell, uidls=uidls, mark_seen=mark_seen))
        index.index(database, now=context.clock, stop=context.stop, progress=context.pulse)
        match.match(context, settings.accounts.values())
    return results


def _for_account(report: Callable[[str, int, int], None], name: str) -> Report:
    return lambda done, planned: report(name, done, planned)


def send(
    settings: Settings, database: Database, report: Callable[[drain.Result], None] | None = None
) -> list[drain.Result]:
    """Send everything that is due now, whatever a relay's pause says."""
    context = context_of(settings, database)
    sweep.sweep(context)
    senders = {name: account for name, account in settings.accounts.items() if account.smtp is not None}
    for account in senders.values():
        _end_pause(context, account.name)
    results: list[drain.Result] = []
    with _stop_on_signals(context.stop):
        while routing.route(context, senders):
            pass
        for account in senders.values():
            if context.stop.is_set():
                break
            results.append(drain.drain(account, context, report=report, even_paused=True))
        context.connections.close_idle(float("inf"))
    return results


def check(settings: Settings, names: Sequence[str] = ()) -> Iterator[checking.Finding]:
    """Try the settings' database and servers, one finding after another; nothing is changed or made."""
    database = Database(settings.database_url)
    try:
        yield _database_finding(settings, database)
        context = context_of(settings, database)
        for account in chosen(settings, names, able=lambda _one: True):
            yield from checking.account(account, context)
    finally:
        database.dispose()


def _database_finding(settings: Settings, database: Database) -> checking.Finding:
    subject = f"database {database.shown}"
    try:
        if not database.exists():
            return checking.Finding(
                subject=subject, text="does not exist yet; `postroom run` or `postroom db upgrade` makes it"
            )
        revision = upgrade.current(database)
        upgrade.require_current(database)
    except errors.PostroomError as error:
        return checking.Finding(subject=subject, text=str(error), error=error)
    return checking.Finding(
        subject=subject,
        text=f"ready; schema {revision}; {database.engine_version}; {len(settings.accounts)} accounts set",
    )


# --- the daemon -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pulse:
    """Counts progress, for the status line."""

    beats: int = 0

    def beat(self) -> None:
        self.beats += 1


def run(settings: Settings) -> None:
    """Be the daemon until SIGTERM or SIGINT: migrate, start the clock, wait, end sessions in order.

    Busy if another daemon is at work on the same SQLite database.
    """
    configure_trace(settings)
    database = Database(settings.database_url)
    try:
        with database.run_lock():
            trace.started(version=version(), database=database.shown, accounts=len(settings.accounts))
            before, after = upgrade.upgrade(database)
            if before != after:
                trace.migrated(before=before, after=after)
            serve(settings, database)
    finally:
        database.dispose()


def settle() -> None:
    """Look for garbage less often, and not among what is loaded now and stays: it would double the time of a large listing."""
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def serve(settings: Settings, database: Database, stop: threading.Event | None = None) -> None:
    """Run the schedule on a migrated database until `stop` or a signal."""
    notifier = Notifier(settings.notify_socket)
    context = replace(context_of(settings, database), pulse=_Pulse().beat)
    with database.transaction() as tx:
        accounts.register(tx, [(account.name, account.address) for account in settings.accounts.values()])
    for account in settings.accounts.values():
        _end_pause(context, account.name)
    sweep.sweep(context)
    for account in settings.accounts.values():
        for finding in checking.key(account):
            if finding.error is not None:  # its rows wait; whoever starts the house should know
                trace.job_failed(job=finding.subject, error=finding.error)
    schedule = Schedule(context, settings.accounts.values())
    settle()
    asked = stop or threading.Event()
    with _stop_on_signals(asked):
        schedule.start()
        trace.ready()
        notifier.ready("ready")
        _wait(settings, context, schedule, notifier, asked)
        notifier.stopping(GRACE_SECONDS)
        clean = schedule.stop(GRACE_SECONDS)
        context.connections.close_idle(float("inf"))
    trace.stopped(clean=clean)


def _wait(settings: Settings, context: Context, schedule: Schedule, notifier: Notifier, asked: threading.Event) -> None:
    """Feed the watchdog while there is progress, keep the status line true, until asked to stop."""
    interval = min(STATUS_SECONDS, (settings.watchdog_seconds or STATUS_SECONDS * 2) / 2)
    told_at = context.monotonic()
    while not asked.wait(interval):
        if schedule.is_progressing():
            notifier.alive()
        if context.monotonic() - told_at >= STATUS_SECONDS:
            told_at = context.monotonic()
            try:
                with context.database.reading() as conn:
                    notifier.status(overview.line(conn, context.clock()))
            except errors.StoreError as error:
                notifier.status(f"degraded: {error}")


def _end_pause(context: Context, name: str) -> None:
    """Let a paused relay and a backed-off account be tried at once: at a new start the operator may have mended it."""
    with context.database.transaction() as tx:
        until = relays.paused_until(tx, name)
        if until is not None:
            outbox.unpause(tx, name, until, context.clock())
        accounts.end_pauses(tx, name)
        relays.end_pauses(tx, name)


class _stop_on_signals:  # noqa: N801 -- reads as a verb in `with`
    """Set the event on SIGTERM and SIGINT for the length of the block, when this is the main thread."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGTERM, signal.SIGINT):
                self._before[one] = signal.signal(one, self._asked)

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]  # what signal() returned is what it takes

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if not self._stop.is_set():
            trace.stopping(signal=signal.Signals(number).name)
        elif number == signal.SIGINT:
            sys.exit(errors.EX_TEMPFAIL)  # asked twice: somebody at a terminal does not want to wait
        self._stop.set()
