"""The clock and the hands: when each job runs, and the bounded pool that runs it. The only importer of apscheduler.

APScheduler is the clock only: a tick asks the `Hands` for a visit and returns in microseconds, so that a slow server never
delays another account's tick. A visit that is asked for while it runs is run once more afterwards, never twice at a time.
Each visit has a time budget; one that outlives it has its sockets closed. `except Exception` stands here and nowhere else:
a bug in one job is traced with its traceback, and the house goes on.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon import errors, trace
from daemon.jobs import drain, index, match, poll, routing, sweep
from daemon.jobs.connections import KEPT_SECONDS
from daemon.jobs.context import Context, Sessions
from daemon.jobs.turns import Turns
from daemon.mail.account import Account, Cron
from daemon.store import outbox

POLLS_AT_ONCE: Final = 32  # threads; each holds a socket and little else
DRAINS_AT_ONCE: Final = 32
HOUSEKEEPERS: Final = (
    3  # index, match and sweep; polls have hands of their own, so that slow maildrops never hold up the outbox
)
POLL_BUDGET_SECONDS: Final = poll.SESSION_SECONDS + 120.0
DRAIN_BUDGET_SECONDS: Final = drain.SESSION_SECONDS + 120.0
HOUSEWORK_BUDGET_SECONDS: Final = 3600.0  # a first index of a large archive
SAFETY_NET: Final = timedelta(seconds=60)  # drain, index and match also come by the clock, should a wake-up be lost
SWEEP_EVERY: Final = timedelta(seconds=30)
POLL_JITTER: Final = 0.1  # share of the interval, so that many accounts of one provider do not log in in one second
POLL_JITTER_MAX_SECONDS: Final = 30
FIRST_POLLS_APART_SECONDS: Final = 0.2
SHARE_AFTER_ABORT: Final = 0.2  # of the grace at a stop: what visits get to write down once their sockets were closed
WATCH_SECONDS: Final = 1.0  # longest sleep of the outbox watcher: a due time in the future is noticed this late at most


@dataclass(slots=True)
class _Visit:
    """One kind of work: at most one runs at a time."""

    name: str
    work: Callable[[Context], None]
    budget_seconds: float
    sessions: Sessions = field(default_factory=Sessions)
    running_since: float | None = None
    rerun: bool = False
    overdue: bool = False


class Hands:
    """A bounded pool of daemon threads that run visits by name."""

    def __init__(self, context: Context, workers: int) -> None:
        """`workers`: threads, started at once."""
        self._context = context
        self._visits: dict[str, _Visit] = {}
        self._queue: queue.SimpleQueue[_Visit | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name=f"hand-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def register(self, name: str, work: Callable[[Context], None], budget_seconds: float) -> None:
        """Make a visit known by its name."""
        self._visits[name] = _Visit(name, work, budget_seconds)

    def ask(self, name: str) -> None:
        """Have the visit run as soon as a hand is free; once more afterwards if it is running now."""
        visit = self._visits[name]
        with self._lock:
            if self._context.stop.is_set():
                return
            if visit.running_since is not None:
                visit.rerun = True
                return
            visit.running_since = self._context.monotonic()
        self._queue.put(visit)

    def busy(self) -> list[str]:
        """Return the names of the visits that run or wait for a hand."""
        with self._lock:
            return [visit.name for visit in self._visits.values() if visit.running_since is not None]

    def end_overdue(self) -> list[str]:
        """Close the sockets of visits that outlived their budget; return the names of all that are overdue."""
        now, late = self._context.monotonic(), []
        for visit in self._visits.values():
            since = visit.running_since
            if since is None or now - since < visit.budget_seconds:
                continue
            late.append(visit.name)
            if not visit.overdue:
                visit.overdue = True
                trace.job_overdue(job=visit.name, seconds=now - since)
            visit.sessions.abort_all()
        return late

    def stop(self, grace_seconds: float) -> bool:
        """Wait for the running visits, then close their sockets; True when all ended. `context.stop` is set before."""
        for _thread in self._threads:
            self._queue.put(None)
        now = self._context.monotonic()
        if self._have_ended_by(now + grace_seconds * (1 - SHARE_AFTER_ABORT)):
            return True
        trace.sessions_aborted(sessions=sum(visit.sessions.abort_all() for visit in self._visits.values()))
        return self._have_ended_by(now + grace_seconds)

    def _have_ended_by(self, deadline: float) -> bool:
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._context.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (visit := self._queue.get()) is not None:
            context = replace(self._context, sessions=visit.sessions)
            while not self._context.stop.is_set():
                visit.running_since = self._context.monotonic()  # what it waited for a hand is not its doing
                try:
                    visit.work(context)
                except errors.PostroomError as error:
                    trace.job_failed(job=visit.name, error=error)
                except Exception:  # noqa: BLE001 -- the one place: a bug in a job must not take the house down
                    trace.job_crashed(job=visit.name)
                self._context.pulse()
                with self._lock:
                    again = visit.rerun and not self._context.stop.is_set()
                    visit.rerun = visit.overdue = False
                    visit.running_since = self._context.monotonic() if again else None
                if not again:
                    break


class Schedule:
    """All jobs of the house on one clock."""

    def __init__(self, context: Context, houses_accounts: Iterable[Account]) -> None:
        """Nothing runs before `start`."""
        self._context = context
        self._accounts = {account.name: account for account in houses_accounts}
        self._senders = {name: account for name, account in self._accounts.items() if account.smtp is not None}
        fetchers = [account for account in self._accounts.values() if account.pop3 is not None]
        self._fetchers = {account.name for account in fetchers}
        self._turns = Turns.of(context)
        # Further connections of an account have hands of their own: one account's many never hold up another's first.
        extra = sum(len(_drain_names(account)) - 1 for account in self._senders.values())
        self._polls = Hands(context, min(POLLS_AT_ONCE, len(fetchers)))
        self._hands = Hands(context, min(DRAINS_AT_ONCE, len(self._senders)) + HOUSEKEEPERS)
        self._extra_hands = Hands(context, min(DRAINS_AT_ONCE, extra))
        self._pools = (self._polls, self._hands, self._extra_hands)
        self._clock = BackgroundScheduler(
            timezone=UTC,
            # Without these a tick that is late by a second is dropped until the next interval.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._clock.add_listener(_tick_lost, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._watcher = threading.Thread(target=self._watch, name="outbox-watcher", daemon=True)
        self.ticked_at = context.monotonic()
        self._hands.register("index", self._index, HOUSEWORK_BUDGET_SECONDS)
        self._hands.register("sweep", self._sweep, HOUSEWORK_BUDGET_SECONDS)
        self._hands.register("match", self._match, HOUSEWORK_BUDGET_SECONDS)
        self._every("index", SAFETY_NET)
        self._every("match", SAFETY_NET)
        self._every("sweep", SWEEP_EVERY)
        for account in self._senders.values():
            first, *extras = _drain_names(account)
            self._hands.register(first, _draining(account), DRAIN_BUDGET_SECONDS)
            for name in extras:
                self._extra_hands.register(name, _draining(account, is_extra=True), DRAIN_BUDGET_SECONDS)
            self._every(first, SAFETY_NET)
        for position, account in enumerate(fetchers):
            self._add_poll(account, position)
        self._clock.add_job(self._tick, IntervalTrigger(seconds=1, timezone=UTC), id="heartbeat")

    def start(self) -> None:
        """Start the clock; first visits begin at once."""
        self._clock.start()
        self._watcher.start()

    def stop(self, grace_seconds: float) -> bool:
        """End the clock, then the visits within the grace; True when all ended by themselves or by an abort."""
        self._context.stop.set()
        self._clock.shutdown(wait=False)
        self._watcher.join(grace_seconds)
        with ThreadPoolExecutor(len(self._pools)) as both:
            return all(list(both.map(lambda hands: hands.stop(grace_seconds), self._pools)))

    def is_progressing(self) -> bool:
        """Tell whether the watchdog may be fed: the clock has ticked lately and no visit is overdue."""
        late = [name for hands in self._pools for name in hands.end_overdue()]
        return self._context.monotonic() - self.ticked_at < 10.0 and not late

    # --- what the clock asks for ------------------------------------------------------------------------------------

    def _every(self, name: str, interval: timedelta) -> None:
        trigger = IntervalTrigger(seconds=interval.total_seconds(), timezone=UTC)
        self._clock.add_job(self._hands.ask, trigger, args=[name], id=name, next_run_time=datetime.now(UTC))

    def _add_poll(self, account: Account, position: int) -> None:
        assert account.pop3 is not None  # noqa: S101 -- chosen so by the caller
        name, when = f"poll {account.name}", account.pop3.poll
        self._polls.register(name, self._polling(account), POLL_BUDGET_SECONDS)
        if isinstance(when, Cron):
            self._clock.add_job(
                self._polls.ask, CronTrigger.from_crontab(when.expression, timezone=UTC), args=[name], id=name
            )
            return
        seconds = when.interval.total_seconds()
        jitter = min(seconds * POLL_JITTER, POLL_JITTER_MAX_SECONDS)
        first = datetime.now(UTC) + timedelta(seconds=position * FIRST_POLLS_APART_SECONDS)
        trigger = IntervalTrigger(seconds=seconds, jitter=jitter, timezone=UTC)
        self._clock.add_job(self._polls.ask, trigger, args=[name], id=name, next_run_time=first)

    def _polling(self, account: Account) -> Callable[[Context], None]:
        def visit(context: Context) -> None:
            if not self._turns.allows(account, context):
                return
            if poll.poll(account, context).new:
                self._hands.ask("index")

        return visit

    def _index(self, context: Context) -> None:
        if index.index(context.database, now=context.clock, stop=context.stop, progress=context.pulse).messages:
            self._hands.ask("match")

    def _match(self, context: Context) -> None:
        match.match(context, self._accounts.values())

    def _sweep(self, context: Context) -> None:
        sweep.sweep(context)

    def _tick(self) -> None:
        self.ticked_at = self._context.monotonic()

    def _watch(self) -> None:
        """Ask for a drain as soon as a row is due, for a visit as soon as a back-off is over or `postroom retry` ended it.

        Woken by the database, and at least every second.
        """
        context = self._context
        while not context.stop.is_set():
            try:
                self._watch_until_lost()
            except errors.StoreError as error:
                trace.job_failed(job="outbox watcher", error=error)
                context.stop.wait(WATCH_SECONDS)

    def _watch_until_lost(self) -> None:
        context = self._context
        watch = context.database.watch()
        try:
            while not context.stop.is_set():
                self._ask_for_drains()
                self._ask_for_visits()
                context.connections.close_idle(context.monotonic() - KEPT_SECONDS)
                watch.wait(WATCH_SECONDS)
        finally:
            watch.close()

    def _ask_for_visits(self) -> None:
        """Ask for the visits that are due apart from the regular ones; one that is under way is not asked for again."""
        busy = set(self._polls.busy())
        for name in sorted(self._turns.due(self._context) & self._fetchers):
            if f"poll {name}" not in busy:
                self._polls.ask(f"poll {name}")

    def _ask_for_drains(self) -> None:
        context = self._context
        with context.database.reading() as conn:
            due = outbox.due_accounts(conn, context.clock())
        if due - self._senders.keys():
            routing.route(context, self._senders)
            with context.database.reading() as conn:
                due = outbox.due_accounts(conn, context.clock())
        for account in due & self._senders.keys():
            first, *extras = _drain_names(self._senders[account])
            self._hands.ask(first)
            for name in extras:
                self._extra_hands.ask(name)


def _drain_names(account: Account) -> list[str]:
    """One drain for each connection that the relay may be given."""
    connections = account.smtp.max_connections if account.smtp is not None else 0
    return [f"drain {account.name}", *(f"drain {account.name} {n}" for n in range(2, connections + 1))]


def _draining(account: Account, *, is_extra: bool = False) -> Callable[[Context], None]:
    def visit(context: Context) -> None:
        drain.drain(account, context, is_extra=is_extra)

    return visit


def _tick_lost(event: JobExecutionEvent) -> None:
    trace.clock_event(
        job=event.job_id,
        what={EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "still running"}.get(event.code, "error"),
    )
