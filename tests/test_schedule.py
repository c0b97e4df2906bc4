"""The hands: one visit of a name at a time, none lost, a bug or a hang stops only itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from daemon import errors
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.hands import Hands
from daemon.jobs import standstill
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.mail.account import Account, Every
from daemon.schedule import Schedule
from daemon.store import accounts
from daemon.store.database import Database
from tests.doubles import house
from tests.secrets_used import PASSWORD

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


def test_what_waits_for_a_hand_is_not_stuck_and_what_has_one_and_is_silent_is(context: Context) -> None:
    """In an outage of all servers a long queue is no reason to start the daemon anew."""
    now = 0.0
    hands, running, go_on = (
        Hands(replace(context, monotonic=lambda: now), workers=1),
        threading.Event(),
        threading.Event(),
    )

    def work(own: Context) -> None:
        own.pulse()
        running.set()
        assert go_on.wait(PATIENCE_SECONDS)

    for name in ("first", "second"):
        hands.register(name, work, 1000.0, 60.0)
        hands.ask(name)
    assert running.wait(PATIENCE_SECONDS)
    now = 61.0
    assert ["first"] == hands.end_overdue()
    go_on.set()
    wait_for(lambda: not hands.busy())
    assert [] == hands.end_overdue()
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


# --- visits that are due apart from the regular ones ----------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server({"anna": []}, PASSWORD) as made:
        yield made


def refuse(server: Pop3Server, text: str) -> None:
    server.answers["AUTH"] = server.answers["PASS"] = Answer(octets=f"-ERR {text}\r\n".encode())


def account_at(server: Pop3Server) -> Account:
    return house.fetching(server.port, poll=Every(interval=timedelta(hours=1)))


@contextmanager
def hourly(context: Context, server: Pop3Server, *, started: bool = False) -> Iterator[Schedule]:
    schedule = Schedule(context, [account_at(server)])
    if started:
        schedule.start()
    yield schedule
    if started:
        assert schedule.stop(5.0)
        return
    context.stop.set()
    assert schedule._polls.stop(5.0)
    assert schedule._hands.stop(5.0)


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def standing(context: Context) -> accounts.Standing:
    with context.database.reading() as conn:
        return accounts.standing(conn, "home")


def test_a_back_off_of_a_minute_does_not_wait_for_an_hourly_tick(context: Context, server: Pop3Server) -> None:
    refuse(server, "[SYS/TEMP] busy")
    poll(account_at(server), context)
    server.answers.clear()
    clock = context.clock
    assert isinstance(clock, house.Clock)
    with hourly(context, server) as schedule:
        clock.forward(seconds=59)
        schedule._ask_for_visits()
        assert [] == schedule._polls.busy()
        clock.forward(seconds=1)
        schedule._ask_for_visits()
        schedule._ask_for_visits()  # the one that is asked for is not asked for again
        wait_for(lambda: standing(context).failures == 0)
        wait_for(lambda: not schedule._polls.busy())
    assert 1 == server.commands.count("QUIT")


def test_a_bounce_that_a_visit_fetches_is_in_its_row_without_waiting_for_a_tick(context: Context) -> None:
    """The first ticks of index and match find nothing; they are asked for once more by what the visit brings."""
    bounce = (Path(__file__).parent / "mail" / "reports" / "postfix_failed.eml").read_bytes()
    with context.database.transaction() as tx:
        tx.exec_driver_sql(
            "INSERT INTO outbox (recipients, subject, account, message_id) VALUES"
            " ('bob@example.net', 's', 'home', '20261123100000.000000.7.postroom@example.org')"
        )
        tx.exec_driver_sql("UPDATE outbox SET status = 'sent'")
        tx.exec_driver_sql(
            "INSERT INTO outbox_recipients (outbox_id, address, status) VALUES (1, 'bob@example.net', 'sent')"
        )

    def status() -> object:
        with context.database.reading() as conn:
            return conn.exec_driver_sql("SELECT status FROM outbox_recipients").scalar()

    with Pop3Server({"anna": [bounce]}, PASSWORD) as server, hourly(context, server, started=True):
        wait_for(lambda: status() == "bounced")


def test_a_running_daemon_leaves_a_stopped_account_alone_and_notices_a_retry(
    context: Context, server: Pop3Server
) -> None:
    refuse(server, "[AUTH] wrong password")
    poll(account_at(server), context)
    server.answers.clear()
    before = len(server.commands)
    clock = context.clock
    assert isinstance(clock, house.Clock)
    clock.forward(hours=5)
    with hourly(context, server, started=True) as schedule:
        wait_for(lambda: schedule._turns._looked)  # the first tick came, and found that nothing has changed
        wait_for(lambda: not schedule._polls.busy())
        assert before == len(server.commands)
        standstill.retry(context.database, "home", context.clock())
        wait_for(lambda: "QUIT" in server.commands)
        wait_for(lambda: standing(context).stopped_since is None and not standing(context).failures)
