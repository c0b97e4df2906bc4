"""The clock: when each job runs. The only importer of apscheduler.

APScheduler is the clock only: a tick asks the `Hands` for a visit and returns in microseconds, so that a slow server never
delays another account's tick. `change` takes accounts in, out, and on with other settings while all others go on.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon import errors, trace
from daemon.hands import Hands, Work
from daemon.jobs import drain, extract, index, match, pack, poll, routing, sweep
from daemon.jobs.connections import KEPT_SECONDS
from daemon.jobs.context import Context
from daemon.jobs.turns import Turns
from daemon.mail.account import Account, Cron, Every
from daemon.store import daemons, outbox

POLLS_AT_ONCE: Final = 32  # threads; each holds a socket and little else
DRAINS_AT_ONCE: Final = 32
HOUSEKEEPERS: Final = 5  # index, match, extract, pack and sweep
POLL_BUDGET_SECONDS: Final = poll.SESSION_SECONDS + 120.0
DRAIN_BUDGET_SECONDS: Final = drain.SESSION_SECONDS + 120.0
HOUSEWORK_BUDGET_SECONDS: Final = float("inf")  # a first index of a large archive takes hours, and gets on all the time
PATIENCE_SECONDS: Final = (
    300.0  # without progress, beyond an account's TIMEOUT: name servers, proxies, password commands
)
HOUSEWORK_PATIENCE_SECONDS: Final = 900.0  # one huge message, on a busy machine
CLOCK_PATIENCE_SECONDS: Final = 10.0  # the clock ticks each second
SAFETY_NET: Final = timedelta(
    seconds=60
)  # drain, index, match and extract also come by the clock, should a wake-up be lost
SWEEP_EVERY: Final = timedelta(seconds=30)
PACK_EVERY: Final = timedelta(minutes=5)
POLL_JITTER: Final = 0.1  # share of the interval, so that many accounts of one provider do not log in in one second
POLL_JITTER_MAX_SECONDS: Final = 30
FIRST_POLLS_APART_SECONDS: Final = 0.2
WATCH_SECONDS: Final = 1.0  # longest sleep of the outbox watcher: a due time in the future is noticed this late at most


@dataclass(frozen=True, slots=True)
class _Job:
    """What the hands do again and again for an account; equal where a session that is under way may go on.

    kind: `poll`, `drain`, or `extra` for each further connection.  depends_on: what the sessions of this kind depend on.
    """

    name: str
    kind: str
    depends_on: Account
    account: Account = field(compare=False)

    @property
    def patience_seconds(self) -> float:
        """How long a session may be without progress: a server is waited for as long as its account's TIMEOUT."""
        server = self.account.pop3 if self.kind == "poll" else self.account.smtp
        return PATIENCE_SECONDS + (server.endpoint.timeout_seconds if server is not None else 0.0)

    @property
    def when(self) -> Every | Cron | None:
        """When it is done by the clock, for a poll."""
        return self.account.pop3.poll if self.kind == "poll" and self.account.pop3 is not None else None


def _jobs_of(account: Account) -> Iterator[_Job]:
    """One poll, and one drain for each connection that the relay may be given."""
    name = account.name
    if account.pop3 is not None:
        fetching = replace(account, smtp=None, pop3=replace(account.pop3, poll=Every(interval=timedelta(0))))
        yield _Job(f"poll {name}", "poll", fetching, account)
    if account.smtp is not None:
        sending = replace(account, pop3=None, forward=None, smtp=replace(account.smtp, max_connections=1))
        yield _Job(f"drain {name}", "drain", sending, account)
        for number in range(2, account.smtp.max_connections + 1):
            yield _Job(f"drain {name} {number}", "extra", sending, account)


class Schedule:
    """All jobs of the house on one clock."""

    def __init__(self, context: Context, houses_accounts: Iterable[Account], version: str = "") -> None:
        """Nothing runs before `start`. version: what others are told that this daemon is."""
        self._version = version
        self._context = context
        self._accounts: dict[str, Account] = {}
        self._senders: dict[str, Account] = {}
        self._jobs: dict[str, _Job] = {}
        self._unreachable: set[str] = set()  # accounts no server of which could be reached at the last try
        self._turns = Turns.of(context)
        # Polls have hands of their own, so that slow maildrops never hold up the outbox; so have further connections of an
        # account, so that one account's many never hold up another's first.
        self._polls, self._hands, self._extra_hands = Hands(context, 0), Hands(context, HOUSEKEEPERS), Hands(context, 0)
        self._pools = (self._polls, self._hands, self._extra_hands)
        self._clock = BackgroundScheduler(
            timezone=UTC,
            # Without these a tick that is late by a second is dropped until the next interval.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._clock.add_listener(_tick_lost, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._watcher = threading.Thread(target=self._watch, name="outbox-watcher", daemon=True)
        self.ticked_at = self.watched_at = context.monotonic()
        for name, work, interval in (
            ("index", self._index, SAFETY_NET),
            ("match", self._match, SAFETY_NET),
            ("extract", self._extract, SAFETY_NET),
            ("pack", self._pack, PACK_EVERY),
            ("sweep", self._sweep, SWEEP_EVERY),
        ):
            self._hands.register(name, work, HOUSEWORK_BUDGET_SECONDS, HOUSEWORK_PATIENCE_SECONDS)
            self._every(name, interval)
        self.change(houses_accounts, context)
        self._clock.add_job(self._tick, IntervalTrigger(seconds=1, timezone=UTC), id="heartbeat")

    def start(self) -> None:
        """Start the clock; first visits begin at once."""
        self._clock.start()
        self._watcher.start()

    def change(self, houses_accounts: Iterable[Account], context: Context) -> None:
        """Go on with these accounts: sessions of those that are new begin, others end, those that did not change see nothing.

        context: with the same database, stop and clocks as before.  Called by one thread at a time.
        """
        accounts = {account.name: account for account in houses_accounts}
        wanted = {job.name: job for account in accounts.values() for job in _jobs_of(account)}
        self._context = context
        for hands in self._pools:
            hands.surround(context)
        for kind, hands, most, further in (
            ("poll", self._polls, POLLS_AT_ONCE, 0),
            ("drain", self._hands, DRAINS_AT_ONCE, HOUSEKEEPERS),
            ("extra", self._extra_hands, DRAINS_AT_ONCE, 0),
        ):
            hands.grow(min(most, sum(job.kind == kind for job in wanted.values())) + further)
        for name, job in self._jobs.items():
            if name not in wanted:
                self._hands_of(job).dismiss(name)
                if self._clock.get_job(name) is not None:
                    self._clock.remove_job(name)
        self._turns.begin_again(context)
        self._accounts = accounts
        self._senders = {name: account for name, account in accounts.items() if account.smtp is not None}
        position = 0
        for name, job in wanted.items():
            before = self._jobs.get(name)
            if before != job:
                budget = POLL_BUDGET_SECONDS if job.kind == "poll" else DRAIN_BUDGET_SECONDS
                self._hands_of(job).register(name, self._work(job), budget, job.patience_seconds)
            if job.kind == "drain" and before != job:
                self._every(name, SAFETY_NET)
            elif job.when is not None and (before != job or before.when != job.when):
                self._visit_when(job, job.when, position)
                position += 1
        self._jobs = wanted

    def stop(self, grace_seconds: float) -> bool:
        """End the clock, then the visits within the grace; True when all ended by themselves or by an abort."""
        self._context.stop.set()
        self._clock.shutdown(wait=False)
        self._watcher.join(grace_seconds)
        with ThreadPoolExecutor(len(self._pools)) as both:
            return all(list(both.map(lambda hands: hands.stop(grace_seconds), self._pools)))

    def busy(self) -> list[str]:
        """Return the names of the visits that run or wait for a hand."""
        return [name for hands in self._pools for name in hands.busy()]

    def troubles(self) -> list[errors.StoreError]:
        """Return what the database had against the last run of each visit."""
        return [trouble for hands in self._pools for trouble in hands.troubles()]

    def degraded(self) -> dict[str, str]:
        """Name what keeps the house from its work, each with its reason: `disk full`, `database locked`, `no server reachable`, `clock set`, ..."""
        found = {trouble.state: str(trouble) for trouble in reversed(self.troubles())}
        if self._accounts and self._accounts.keys() <= self._unreachable:
            found["no server reachable"] = "of no account; is there a network?"
        if doubt := self._context.steadiness.doubt:
            found["clock set"] = f"it went forward by {doubt}: for an hour nothing is deleted or expires by age"
        return found

    def plan_anew(self) -> None:
        """Begin all intervals now: the clock was set, and what it says of the next visits may be long ago or never."""
        for job in self._clock.get_jobs():
            if isinstance(job.trigger, IntervalTrigger):
                job.modify(next_run_time=datetime.now(UTC))
            else:
                job.reschedule(job.trigger)
        self.ticked_at = self._context.monotonic()

    def stuck(self) -> list[str]:
        """Name what does not get on, so that the watchdog must not be fed: the clock, the watcher, visits.

        A session that is too long, or that hangs, is ended from here; it counts until it has ended.
        """
        now, found = self._context.monotonic(), [name for hands in self._pools for name in hands.end_overdue()]
        if now - self.ticked_at >= CLOCK_PATIENCE_SECONDS:
            found.append("clock")
        if now - self.watched_at >= PATIENCE_SECONDS:
            found.append("outbox watcher")
        return found

    def _hands_of(self, job: _Job) -> Hands:
        return {"poll": self._polls, "drain": self._hands, "extra": self._extra_hands}[job.kind]

    # --- what the clock asks for ------------------------------------------------------------------------------------

    def _every(self, name: str, interval: timedelta) -> None:
        trigger = IntervalTrigger(seconds=interval.total_seconds(), timezone=UTC)
        self._clock.add_job(
            self._hands.ask, trigger, args=[name], id=name, next_run_time=datetime.now(UTC), replace_existing=True
        )

    def _visit_when(self, job: _Job, when: Every | Cron, position: int) -> None:
        if isinstance(when, Cron):
            at = CronTrigger.from_crontab(when.expression, timezone=UTC)
            self._clock.add_job(self._polls.ask, at, args=[job.name], id=job.name, replace_existing=True)
            return
        seconds = when.interval.total_seconds()
        jitter = min(seconds * POLL_JITTER, POLL_JITTER_MAX_SECONDS)
        first = datetime.now(UTC) + timedelta(seconds=position * FIRST_POLLS_APART_SECONDS)
        trigger = IntervalTrigger(seconds=seconds, jitter=jitter, timezone=UTC)
        self._clock.add_job(
            self._polls.ask, trigger, args=[job.name], id=job.name, next_run_time=first, replace_existing=True
        )

    def _work(self, job: _Job) -> Work:
        name = job.account.name

        def fetch(context: Context) -> errors.PostroomError | None:
            account = self._accounts.get(name)
            if account is None or not self._turns.allows(account, context):
                return None
            result = poll.poll(account, context)
            self._note(name, is_reached=not isinstance(result.error, errors.Unreachable))
            if result.new:
                self._hands.ask("index")
            return result.error

        def send(context: Context) -> errors.PostroomError | None:
            account = self._accounts.get(name)
            if account is None:
                return None
            result = drain.drain(account, context, is_extra=job.kind == "extra")
            if result.error is not None or result.session is not None:
                self._note(name, is_reached=not isinstance(result.error, errors.Unreachable))
            return result.error

        return fetch if job.kind == "poll" else send

    def _note(self, account: str, *, is_reached: bool) -> None:
        (self._unreachable.discard if is_reached else self._unreachable.add)(account)

    def _index(self, context: Context) -> None:
        if index.index(context.database, now=context.clock, stop=context.stop, progress=context.pulse).messages:
            self._hands.ask("match")
            self._hands.ask("extract")

    def _extract(self, context: Context) -> None:
        extract.extract(context)

    def _match(self, context: Context) -> None:
        match.match(context, self._accounts.values())

    def _pack(self, context: Context) -> None:
        pack.pack(context)

    def _sweep(self, context: Context) -> None:
        sweep.sweep(context)
        with context.database.transaction() as tx:
            daemons.beat(tx, context.owner, self._version, context.clock(), ", ".join(self.degraded()))

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
                self.watched_at = context.monotonic()
                context.stop.wait(WATCH_SECONDS)

    def _watch_until_lost(self) -> None:
        context = self._context
        watch = context.database.watch()
        try:
            while not context.stop.is_set():
                self.watched_at = context.monotonic()
                self._ask_for_drains()
                self._ask_for_visits()
                context.connections.close_idle(context.monotonic() - KEPT_SECONDS)
                watch.wait(WATCH_SECONDS)
        finally:
            watch.close()

    def _ask_for_visits(self) -> None:
        """Ask for the visits that are due apart from the regular ones; one that is under way is not asked for again."""
        busy = set(self._polls.busy())
        for name in sorted(self._turns.due(self._context)):
            if f"poll {name}" in self._jobs and f"poll {name}" not in busy:
                self._polls.ask(f"poll {name}")

    def _ask_for_drains(self) -> None:
        context, senders, jobs = self._context, self._senders, self._jobs
        with context.database.reading() as conn:
            due = outbox.due_accounts(conn, context.clock())
        if due - senders.keys():
            routing.route(context, senders)
            with context.database.reading() as conn:
                due = outbox.due_accounts(conn, context.clock())
        for job in jobs.values():
            if job.kind != "poll" and job.account.name in due:
                self._hands_of(job).ask(job.name)


def _tick_lost(event: JobExecutionEvent) -> None:
    trace.clock_event(
        job=event.job_id,
        what={EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "still running"}.get(event.code, "error"),
    )
