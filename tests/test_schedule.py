"""The hands: one visit of a name at a time, none lost, a bug or a hang stops only itself."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from daemon import errors
from daemon.jobs.context import Context
from daemon.schedule import Hands
from daemon.store.database import Database
from tests.doubles import house

PATIENCE_SECONDS = 10.0


class Hung:
    """A session that waits until it is aborted."""

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
def context(sqlite_url: str) -> Iterator[Context]:
    database = Database(sqlite_url)
    yield house.context(database, house.Clock())
    database.dispose()


@pytest.fixture
def hands(context: Context) -> Iterator[Hands]:
    made = Hands(context, workers=2)
    yield made
    context.stop.set()
    assert made.stop(5.0)


def test_a_visit_asked_for_while_it_runs_runs_once_more_and_never_twice_at_a_time(hands: Hands) -> None:
    running, go_on, done = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)
    together, most = 0, 0

    def work(_context: Context) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        running.release()
        assert go_on.acquire(timeout=PATIENCE_SECONDS)
        together -= 1
        done.release()

    hands.register("poll", work, 60.0)
    hands.ask("poll")
    assert running.acquire(timeout=PATIENCE_SECONDS)
    for _ in range(5):
        hands.ask("poll")
    go_on.release(2)
    for _ in range(2):
        assert done.acquire(timeout=PATIENCE_SECONDS)
    assert not running.acquire(timeout=0.2) or not done.acquire(timeout=0.2), "five asks are one more run"
    assert 1 == most


@pytest.mark.parametrize("fault", [errors.Unreachable("nobody there"), ZeroDivisionError("a bug")])
def test_a_visit_that_fails_stops_only_itself(hands: Hands, fault: Exception) -> None:
    ran = threading.Event()

    def broken(_context: Context) -> None:
        raise fault

    hands.register("broken", broken, 60.0)
    hands.register("sound", lambda _context: ran.set(), 60.0)
    for _ in range(3):
        hands.ask("broken")
    hands.ask("sound")
    assert ran.wait(PATIENCE_SECONDS)


def test_a_visit_that_outlives_its_budget_has_its_session_closed(context: Context) -> None:
    now = 0.0
    context = replace(context, monotonic=lambda: now)
    hands, session, begun = Hands(context, workers=1), Hung(), threading.Event()

    def work(own: Context) -> None:
        with own.sessions.watching() as opened:
            opened(session)
            begun.set()
            assert session.aborted.wait(PATIENCE_SECONDS)

    hands.register("hung", work, 60.0)
    hands.ask("hung")
    assert begun.wait(PATIENCE_SECONDS)
    now = 59.0
    assert [] == hands.end_overdue()
    now = 61.0
    assert ["hung"] == hands.end_overdue()
    assert session.aborted.is_set()
    context.stop.set()
    hands._context = replace(context, monotonic=house.real_monotonic)
    assert hands.stop(5.0)


def test_nothing_new_begins_after_a_stop(hands: Hands, context: Context) -> None:
    ran = threading.Event()
    hands.register("late", lambda _context: ran.set(), 60.0)
    context.stop.set()
    hands.ask("late")
    assert [] == hands.busy()
    assert not ran.is_set()
