"""`postroom run` under a clock that runs fast, as a process of its own.

    python -m tests.soak.house SIMULATED_SECONDS REAL_SECONDS < orders > hours

The wall clock that jobs are given leaps while nobody is at work, by less than a lease lasts, and goes at its own pace while
somebody is: so a session that waits for a slow server does not lose its lease for that. Timers of the scheduler and waits on sockets are real.
Each simulated hour is one line on stdout, `hour N SECONDS` (seconds since the epoch). Orders, a line each: `jump SECONDS` sets the clock
forward or back at once, `names off` and `names on` take away and give back the resolver, `stop leaping` ends the fast time.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from daemon import app, settings
from daemon.jobs.context import Context
from daemon.jobs.steadiness import Steadiness
from daemon.schedule import Schedule
from daemon.store.database import Database

TICK_SECONDS: Final = 0.02
LONGEST_LEAP_SECONDS: Final = 300.0  # a lease lasts ten minutes
BEGAN: Final = datetime(2026, 12, 1, tzinfo=UTC)
DOMAIN: Final = ".house.test"  # names that resolve to this machine


class FastClock:
    """A wall clock that covers `simulated_seconds` in about `real_seconds`."""

    def __init__(self, simulated_seconds: float, real_seconds: float) -> None:
        self._began = time.monotonic()
        self._span = simulated_seconds
        self._real = real_seconds
        self._lock = threading.Lock()
        self._leapt = 0.0  # beyond what really passed
        self._wrong = 0.0  # what jumps added: the clock is set, no time has passed
        self._leaping = True
        self.schedules: list[Schedule] = []

    def __call__(self) -> datetime:
        """Tell the time."""
        return BEGAN + timedelta(seconds=self.passed() + self._wrong)

    def passed(self) -> float:
        """Tell how many simulated seconds have passed, whatever the clock was set to."""
        with self._lock:
            return time.monotonic() - self._began + self._leapt

    def obey(self, order: str) -> None:
        """Do what a line of stdin says."""
        what, _, how = order.strip().partition(" ")
        if what == "jump":
            self._wrong += float(how)
        elif what == "names":
            _Names.are_known = how == "on"
        elif what == "stop":
            self._leaping = False

    def run(self) -> None:
        """Leap while the house is idle; say each hour."""
        said = -1
        while True:
            time.sleep(TICK_SECONDS)
            hour = int(self.passed() // 3600)
            if hour > said:
                said = hour
                print("hour", hour, int(self().timestamp()), flush=True)
            if not self._leaping or any(schedule.busy() for schedule in self.schedules):
                continue
            left, ticks = self._span - self.passed(), (self._began + self._real - time.monotonic()) / TICK_SECONDS
            with self._lock:
                # Twice the even pace: about every other tick finds somebody at work.
                self._leapt += max(0.0, min(LONGEST_LEAP_SECONDS, 2 * left / max(ticks, 1.0)))


class _Names:
    """A resolver that knows this house's names, while it is there."""

    are_known = True
    real: Callable[..., Any] = socket.getaddrinfo

    @classmethod
    def getaddrinfo(cls, host: str, *rest: Any, **more: Any) -> Any:
        if not host.endswith(DOMAIN):
            return cls.real(host, *rest, **more)
        if not cls.are_known:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return cls.real("127.0.0.1", *rest, **more)


def main() -> None:
    clock = FastClock(float(sys.argv[1]), float(sys.argv[2]))

    class Watched(Schedule):
        def start(self) -> None:
            clock.schedules.append(self)
            super().start()

    def context_of(loaded: settings.Settings, database: Database) -> Context:
        return replace(composed(loaded, database), clock=clock, steadiness=Steadiness(clock, clock.passed))

    def listen() -> None:
        for line in sys.stdin:
            clock.obey(line)

    composed = app.context_of
    for name, given in {"context_of": context_of, "Schedule": Watched}.items():
        setattr(app, name, given)  # the composition root as it is, but for the clock
    socket.getaddrinfo = _Names.getaddrinfo  # type: ignore[assignment]
    for work in (listen, clock.run):
        threading.Thread(target=work, daemon=True).start()
    app.run(settings.load())


if __name__ == "__main__":
    main()
