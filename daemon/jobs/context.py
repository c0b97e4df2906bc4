"""What every job is given: the database, the clock, the way to stop, and a pulse.

Jobs read no settings and start no threads: whoever composes the house (`app`) decides these things once. `step` is called
at each named step of a poll and of a drain; in the house it traces, in the kill tests it ends the process.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from daemon import errors, trace
from daemon.jobs.connections import Connections
from daemon.jobs.recollections import Recollections
from daemon.jobs.steadiness import Steadiness
from daemon.retry import Backoff
from daemon.store.database import Database
from daemon.store.packing import Packer
from daemon.wire.transcript import Transcript, new_session_id


class Abortable(Protocol):
    """A session whose socket can be closed from another thread."""

    def abort(self) -> None:
        """End the session's waiting at once; thread-safe."""


def utc_now() -> datetime:
    """Return the wall clock, aware."""
    return datetime.now(UTC)


def no_pulse() -> None:
    """Do nothing: outside the daemon nobody watches for progress."""


@dataclass(slots=True)
class Sessions:
    """The sessions that are open now, so that a stop or a watchdog can end them from outside."""

    _open: set[Abortable] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def watching(self) -> Iterator[Callable[[Abortable], None]]:
        """Hand out what a session calls as soon as it is open; it counts as open for the rest of the block."""
        mine: list[Abortable] = []

        def opened(session: Abortable) -> None:
            with self._lock:
                self._open.add(session)
            mine.append(session)

        try:
            yield opened
        finally:
            with self._lock:
                self._open.difference_update(mine)

    def abort_all(self) -> int:
        """Close the sockets of all open sessions; return how many there were."""
        with self._lock:
            sessions = tuple(self._open)
        for session in sessions:
            session.abort()
        return len(sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The surroundings of a job.

    owner: who holds the leases (store/lease.py).  trace_mode: off, failures or all.  keep_polls: how old a row of `polls` may
    become.  pulse: called on every progress, feeds
    the watchdog.  stop: set when no new work may begin.  jitter: in [0, 1).  said: see `is_news`.
    """

    database: Database
    owner: str
    backoff: Backoff
    trace_mode: str = "failures"
    keep_polls: timedelta = timedelta(days=90)
    clock: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    pulse: Callable[[], None] = no_pulse
    step: Callable[..., None] = trace.step
    stop: threading.Event = field(default_factory=threading.Event)
    sessions: Sessions = field(default_factory=Sessions)
    connections: Connections = field(default_factory=Connections)
    said: set[tuple[str, str]] = field(default_factory=set)
    recollections: Recollections = field(default_factory=Recollections)
    packer: Packer = field(default_factory=Packer)
    steadiness: Steadiness = field(default_factory=lambda: Steadiness(utc_now, time.monotonic))

    def is_news(self, account: str, text: str) -> bool:
        """Tell whether this is said of the account for the first time in this process, so that not each visit repeats it."""
        is_new = (account, text) not in self.said
        self.said.add((account, text))
        return is_new

    def transcript(self, account: str) -> Transcript:
        """Open the transcript of a new session; its lines go to the log when everything is traced."""
        session = new_session_id()
        return Transcript(session, account, trace.line_sink(mode=self.trace_mode, account=account, session=session))

    def kept(self, transcript: Transcript) -> str | None:
        """Give the redacted text of a failed session for the record, logged too; None when traces are off."""
        if self.trace_mode == "off":
            return None
        text = transcript.text()
        if self.trace_mode == "failures":  # with `all` every line is in the log already
            trace.session_failed(account=transcript.account, session=transcript.session, transcript=text)
        return text

    def come_back_at(self, failures: int, error: errors.PostroomError) -> datetime:
        """Say when to try a server again: backed off, and after a refused login at the longest wait (accounts get locked).

        failures: in a row, this one counted.  After [LOGIN-DELAY] it is not before the server's own seconds are over.
        """
        now = self.clock()
        if error.permanent:
            return now + self.backoff.longest
        at = self.backoff.next_attempt(failures, now, self.jitter())
        return max(at, now + timedelta(seconds=error.seconds or 0)) if isinstance(error, errors.LoginTooSoon) else at

    def pause(self, wait: timedelta) -> None:
        """Wait, but not beyond a stop."""
        self.stop.wait(wait.total_seconds())
