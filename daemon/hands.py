"""The hands: a bounded pool of threads that runs visits by name, and knows which of them get on.

A visit that is asked for while it runs is run once more afterwards, never twice at a time. Each has a time budget, and must
show progress (`Context.pulse`) within its patience; one that outlives either has its sockets closed, and until it ends the
house counts as stuck. A visit may be given other work while it runs: it is asked to end, as at a stop, and the new work begins
behind it. `except Exception` stands here and nowhere else: a bug in one job is traced with its traceback, and the house goes on.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from daemon import errors, trace
from daemon.jobs.context import Context, Sessions

SHARE_AFTER_ABORT: Final = 0.2  # of the grace at a stop: what visits get to write down once their sockets were closed
PARTING_SECONDS: Final = 10.0  # for a visit that is to end for the sake of new settings, before its sockets are closed

Work: TypeAlias = Callable[[Context], errors.PostroomError | None]  # what it could not do, where it has said so itself


@dataclass(slots=True)
class _Visit:
    """One kind of work: at most one runs at a time.

    work: None once it is dismissed.  stop: of the run that is under way.  running_since: also while it waits for a hand, which
    is not its doing: progressed_at is None until it has one.  ends_by: when its sockets are closed, if it was asked to end.
    trouble: the database's, at the last run.  Times are of the monotonic clock.
    """

    name: str
    work: Work | None
    budget_seconds: float
    patience_seconds: float
    sessions: Sessions = field(default_factory=Sessions)
    stop: threading.Event = field(default_factory=threading.Event)
    running_since: float | None = None
    progressed_at: float | None = None
    ends_by: float | None = None
    rerun: bool = False
    overdue: bool = False
    trouble: errors.StoreError | None = None

    def is_late(self, now: float) -> bool:
        """Tell whether it runs for longer than it may, or without getting on."""
        since, progressed_at = self.running_since, self.progressed_at
        if since is None or progressed_at is None:
            return False
        return now - since >= self.budget_seconds or now - progressed_at >= self.patience_seconds


class Hands:
    """A bounded pool of daemon threads that run visits by name."""

    def __init__(self, context: Context, workers: int) -> None:
        """`workers`: threads, started at once."""
        self._context = context
        self._visits: dict[str, _Visit] = {}
        self._queue: queue.SimpleQueue[_Visit | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.grow(workers)

    def grow(self, workers: int) -> None:
        """Have at least so many threads."""
        for number in range(len(self._threads), workers):
            thread = threading.Thread(target=self._run, name=f"hand-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def surround(self, context: Context) -> None:
        """Give the visits that begin from now on another context: of the same database, stop and clocks."""
        self._context = context

    def register(self, name: str, work: Work, budget_seconds: float, patience_seconds: float = float("inf")) -> None:
        """Make a visit known by its name, or give it other work: what it is at now is asked to end first."""
        with self._lock:
            known = self._visits.get(name)
            if known is None:
                self._visits[name] = _Visit(name, work, budget_seconds, patience_seconds)
                return
            self._part(known)
            known.work, known.budget_seconds, known.patience_seconds = work, budget_seconds, patience_seconds

    def dismiss(self, name: str) -> None:
        """Ask a visit to end, and begin it no more."""
        with self._lock:
            self._part(self._visits[name])
            self._visits[name].work = self._visits[name].trouble = None
            self._visits[name].rerun = False

    def _part(self, visit: _Visit) -> None:
        if visit.running_since is not None and visit.work is not None:
            visit.stop.set()
            visit.ends_by = self._context.monotonic() + PARTING_SECONDS

    def ask(self, name: str) -> None:
        """Ask for a visit: now if it does not run, once more afterwards if it does. Thread-safe, returns at once."""
        with self._lock:
            visit = self._visits[name]
            if self._context.stop.is_set() or visit.work is None:
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

    def troubles(self) -> list[errors.StoreError]:
        """Return what the database had against the last run of each visit."""
        with self._lock:
            return [visit.trouble for visit in self._visits.values() if visit.trouble is not None]

    def end_overdue(self) -> list[str]:
        """Close the sockets of visits that ran for too long or did not get on; return the names of all of these."""
        now, late = self._context.monotonic(), []
        with self._lock:
            visits = tuple(self._visits.values())
        for visit in visits:
            if visit.ends_by is not None and now >= visit.ends_by:
                visit.sessions.abort_all()
            since, progressed_at = visit.running_since, visit.progressed_at
            if since is None or progressed_at is None or not visit.is_late(now):
                continue
            late.append(visit.name)
            if not visit.overdue:
                visit.overdue = True
                trace.job_overdue(job=visit.name, seconds=now - since, silent=now - progressed_at)
            visit.sessions.abort_all()
        return late

    def stop(self, grace_seconds: float) -> bool:
        """Wait for the running visits, then close their sockets; True when all ended. `context.stop` is set before."""
        with self._lock:
            for visit in self._visits.values():
                visit.stop.set()
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

    # --- in a hand --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (visit := self._queue.get()) is not None:
            is_wanted = True
            while is_wanted and not self._context.stop.is_set():
                work, context = self._begin(visit)
                is_wanted = self._end(visit, work and self._do(visit.name, work, context))

    def _begin(self, visit: _Visit) -> tuple[Work | None, Context]:
        with self._lock:
            visit.stop, visit.ends_by = threading.Event(), None
            if self._context.stop.is_set():
                visit.stop.set()
            visit.running_since = visit.progressed_at = self._context.monotonic()
            work = visit.work

        def pulse() -> None:
            visit.progressed_at = self._context.monotonic()

        return work, replace(self._context, sessions=visit.sessions, stop=visit.stop, pulse=pulse)

    @staticmethod
    def _do(name: str, work: Work, context: Context) -> errors.PostroomError | None:
        try:
            return work(context)
        except errors.PostroomError as error:
            trace.job_failed(job=name, error=error)
            return error
        except Exception:  # noqa: BLE001 -- the one place: a bug in a job must not take the house down
            trace.job_crashed(job=name)
            return None

    def _end(self, visit: _Visit, error: errors.PostroomError | None) -> bool:
        """Write down how a run went; True where it is to run once more at once."""
        with self._lock:
            is_wanted = visit.rerun and not self._context.stop.is_set()
            visit.trouble = error if isinstance(error, errors.StoreError) and visit.work is not None else None
            visit.rerun = visit.overdue = False
            visit.progressed_at = None
            visit.running_since = self._context.monotonic() if is_wanted else None
            return is_wanted
