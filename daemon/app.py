"""The composition root: Settings become a database, a context, a schedule, and they are taken down again in order.

Nothing below this module reads settings or decides who works with whom. The command line calls the functions here and
prints what they return; `run` is the daemon.
"""

import ctypes
import faulthandler
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from daemon import errors, monitor, service, trace
from daemon.jobs import bringing, drain, extract, index, match, pack, poll, routing, standstill, sweep, visit
from daemon.jobs import check as checking
from daemon.jobs.belongings import Broken
from daemon.jobs.context import Context
from daemon.jobs.retrieval import Report
from daemon.keeper import Keeper, welcome
from daemon.mail.account import Account
from daemon.schedule import Schedule
from daemon.service import Notifier
from daemon.settings import Settings, load
from daemon.signals import Signals
from daemon.store import accounts, daemons, upgrade
from daemon.store.database import Database
from daemon.store.lease import Owner
from daemon.store.packing import Packer

GRACE_SECONDS: Final = 9.0  # from SIGTERM until sockets are closed; systemd's TimeoutStopSec must be longer
GARBAGE_THRESHOLD: Final = 50_000  # objects between two looks; a listing of 20,000 messages makes some 100,000
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h of glibc
HEAPS: Final = 2
RETURNED_OCTETS: Final = 2_097_152  # what is as large goes back to the system when it is freed
START_AGAIN_SECONDS: Final = 10.0  # between two looks at a database that does not answer yet
START_PATIENCE_SECONDS: Final = 300.0  # for one of them: a server that is there, and slow
PACK_SECONDS: Final = 1.0  # of a `fetch`: whoever runs it by cron stores less by and by, and does not wait for it


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
    return Context(
        database=database,
        owner=str(Owner.current()),
        backoff=settings.retry,
        trace_mode=settings.trace,
        keep_polls=settings.keep_polls,
        packer=Packer(settings.compression),
    )


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
    """Poll the named accounts once (all with POP3 if none is named), then index what came, match it with what was sent, and pack some.

    report: told (account, messages done, messages planned).  uidls, mark_seen: as poll.poll takes them.  An account whose
    polling is stopped is visited only by name, or when its settings changed: without names this may run unattended.
    """
    context = context_of(settings, database)
    sweep.sweep(context)
    results = []
    with Signals(context.stop):
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
        extract.extract(context)
        pack.pack(context, seconds=PACK_SECONDS)
    return results


def _for_account(report: Callable[[str, int, int], None], name: str) -> Report:
    return lambda done, planned: report(name, done, planned)


def bring_in(
    settings: Settings,
    database: Database,
    sources: Sequence[Path],
    *,
    account: str | None,
    form: str,
    progress: Callable[[int], None],
    complain: Callable[[Broken], None],
) -> bringing.Result:
    """Archive what is in files, then index it, and match it with what was sent. The rest as `bringing.bring_in` takes it."""
    context = context_of(settings, database)
    otherwise = next(iter(settings.accounts)) if len(settings.accounts) == 1 else None
    with database.reading() as conn:
        context.packer.learn(conn)
    with Signals(context.stop):
        done = bringing.bring_in(
            database,
            sources,
            account=account,
            otherwise=otherwise,
            form=form,
            packer=context.packer,
            now=context.clock,
            stop=context.stop,
            progress=progress,
            complain=complain,
        )
        index.index(database, now=context.clock, stop=context.stop, progress=context.pulse)
        match.match(context, settings.accounts.values())
        extract.extract(context)
        pack.pack(context, seconds=PACK_SECONDS)
    return done


def send(
    settings: Settings, database: Database, report: Callable[[drain.Result], None] | None = None
) -> list[drain.Result]:
    """Send everything that is due now, whatever a relay's pause says."""
    context = context_of(settings, database)
    sweep.sweep(context)
    senders = {name: account for name, account in settings.accounts.items() if account.smtp is not None}
    for account in senders.values():
        standstill.end_pause(database, account.name, context.clock())
    results: list[drain.Result] = []
    with Signals(context.stop):
        while routing.route(context, senders):
            pass
        for account in senders.values():
            if context.stop.is_set():
                break
            results.append(drain.drain(account, context, report=report, even_paused=True))
        context.connections.close_idle(float("inf"))
    return results


def reindex(settings: Settings, database: Database, report: Callable[[int, int], None] | None = None) -> index.Indexed:
    """Index every message anew, or go on where such a run was stopped. report: told (messages done, of how many)."""
    context = context_of(settings, database)
    settle()
    with Signals(context.stop):
        done = index.reindex(database, now=context.clock, stop=context.stop, progress=context.pulse, report=report)
        extract.extract(context)
    return done


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


def run(settings: Settings, reread: Callable[[], Settings] = load) -> None:
    """Be the daemon until SIGTERM or SIGINT: migrate, start the clock, wait, end sessions in order.

    reread: gives the settings as they are now, at a SIGHUP.  Busy if another daemon is at work on the same SQLite database.
    """
    service.forbid_core_dumps()
    faulthandler.enable()  # the watchdog's SIGABRT leaves where every thread was; no values
    configure_trace(settings)
    database, notifier = Database(settings.database_url), Notifier(settings.notify_socket)
    try:
        with Signals(threading.Event(), reloads=True) as signals, database.run_lock():
            trace.started(version=version(), database=database.shown, accounts=len(settings.accounts))
            if not _migrate(database, notifier, signals):
                return
            serve(settings, database, signals.stop, reread=reread)
    finally:
        database.dispose()


def _migrate(database: Database, notifier: Notifier, signals: Signals) -> bool:
    """Bring the database to this version; False when it is to stop before.

    Under systemd a database that does not answer yet is waited for: it would take us for broken, and give up after some starts.
    """
    notifier.status("migrating the database")
    while True:
        try:
            before, after = upgrade.upgrade(database)
        except errors.StoreError as error:
            if error.permanent or not notifier.is_heard:
                raise
            trace.start_postponed(error=error, seconds=START_AGAIN_SECONDS)
            notifier.status(f"degraded: {error}; trying again")
            notifier.extend(START_AGAIN_SECONDS + START_PATIENCE_SECONDS)
            if signals.wait(START_AGAIN_SECONDS):
                return False
            continue
        if before != after:
            trace.migrated(before=before, after=after)
        return not signals.stop.is_set()


def settle() -> None:
    """Look for garbage less often, and not among what is loaded now and stays: it would double the time of a large listing."""
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def share_heaps() -> None:
    """Of glibc, ask for two heaps in place of eight a core, before there are threads, and to keep nothing large in them.

    What each of sixty threads needs for a moment (16 MiB to fingerprint a password) it would keep for ever: 200 MB after one
    password was changed on a server. Another libc is asked nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, HEAPS)
        mallopt(M_MMAP_THRESHOLD, RETURNED_OCTETS)
        mallopt(M_TRIM_THRESHOLD, 4 * RETURNED_OCTETS)


def serve(
    settings: Settings,
    database: Database,
    stop: threading.Event | None = None,
    *,
    reread: Callable[[], Settings] = load,
) -> None:
    """Run the schedule on a migrated database until `stop` or a signal; SIGHUP reads the settings again."""
    notifier, context = Notifier(settings.notify_socket), context_of(settings, database)
    with Signals(stop or threading.Event(), reloads=True) as signals:
        sweep.sweep(context)
        welcome(context, settings)
        share_heaps()
        schedule = Schedule(context, settings.accounts.values(), version())
        settle()
        schedule.start()
        trace.ready()
        keeper = Keeper(settings, context, schedule, notifier, signals, reread)
        house = monitor.House(
            database=database, version=version(), now=context.clock, stuck=keeper.stuck, troubles=keeper.troubles
        )
        with monitor.monitored(house, settings.listen, settings.ping_url):
            keeper.keep()
        notifier.stopping(GRACE_SECONDS)
        clean = schedule.stop(GRACE_SECONDS)
        context.connections.close_idle(float("inf"))
        with suppress(errors.StoreError), database.transaction() as tx:  # what can't be written is seen to be dead
            daemons.leave(tx, context.owner)
    trace.stopped(clean=clean)
