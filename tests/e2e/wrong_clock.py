"""`postroom run` by a wall clock that another sets: seconds to add to the machine's, read from a file each time.

    python -m tests.e2e.wrong_clock FILE

A clock that all of a machine shares can't be set in a test, and libfaketime breaks waits that end at a moment. So the house is given its
clock as it is given any (`Context.clock`), and APScheduler's modules another `datetime.now`. The database's own stays right.
"""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval

from daemon import app, schedule
from daemon.jobs.context import Context
from daemon.jobs.steadiness import Steadiness
from daemon.settings import Settings, load
from daemon.store.database import Database


class Wrong(datetime):
    """A datetime whose now() is wrong."""

    by: Path

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one, as everybody else makes them
        return datetime.now(tz) + timedelta(seconds=float(cls.by.read_text(encoding="ascii") or 0))


def main() -> None:
    Wrong.by = Path(sys.argv[1])
    for module in (apscheduler.schedulers.base, apscheduler.triggers.interval, apscheduler.executors.base, schedule):
        setattr(module, "datetime", Wrong)  # noqa: B010 -- not a name that they export
    composed = app.context_of

    def clock() -> datetime:
        return Wrong.now(UTC)

    def context_of(settings: Settings, database: Database) -> Context:
        return replace(composed(settings, database), clock=clock, steadiness=Steadiness(clock, time.monotonic))

    app.context_of = context_of
    app.run(load())


if __name__ == "__main__":
    main()
