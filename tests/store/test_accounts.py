"""Leases keep two processes apart and end with their owner; what fails is counted, and the count ends with a success."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from daemon.store import accounts, relays
from daemon.store.database import Database
from daemon.store.lease import Owner, is_dead

ELSEWHERE = "elsewhere/boot/ns/1/1"
TEN = timedelta(minutes=10)


def dead_owner() -> str:
    script = "from daemon.store.lease import Owner; print(Owner.current())"
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_an_owner_is_dead_only_when_that_is_sure() -> None:
    mine = str(Owner.current())
    assert not is_dead(mine)
    assert is_dead(dead_owner())
    assert is_dead(mine.rpartition("/")[0] + "/1"), "another process has this number now"
    for unknown in (ELSEWHERE, "", "nonsense", "a/b/c/x/1", "-/-/-/1/-"):
        assert not is_dead(unknown)


@pytest.mark.parametrize(
    ("holder", "minutes_later", "taken"),
    [(ELSEWHERE, 9, False), (ELSEWHERE, 10, True), ("me", 1, True), (None, 0, True)],
    ids=["held", "run out", "own", "free"],
)
def test_a_lease_is_taken_when_it_is_free(
    database: Database, now: datetime, holder: str | None, minutes_later: int, *, taken: bool
) -> None:
    with database.transaction() as tx:
        if holder is not None:
            assert accounts.lease(tx, "home", holder, now, TEN)
        assert taken is accounts.lease(tx, "home", "me", now + timedelta(minutes=minutes_later), TEN)
        assert taken is accounts.renew(tx, "home", "me", now, TEN)


def test_the_lease_of_a_dead_process_is_free_at_once(database: Database, now: datetime) -> None:
    dead = dead_owner()
    with database.transaction() as tx:
        accounts.lease(tx, "home", dead, now, TEN)
        accounts.begin_poll(tx, "home", "s", dead, now)
        accounts.begin_poll(tx, "home", "s2", str(Owner.current()), now)
        assert accounts.lease(tx, "home", "me", now, TEN)
        accounts.release(tx, "home", "other")
        assert not accounts.lease(tx, "home", "third", now, TEN)


def test_orphaned_visits_are_ended(database: Database, now: datetime) -> None:
    mine, dead = str(Owner.current()), dead_owner()
    with database.transaction() as tx:
        accounts.lease(tx, "home", mine, now, TEN)
        accounts.begin_poll(tx, "home", "s1", mine, now)
        accounts.lease(tx, "work", dead, now, TEN)
        accounts.begin_poll(tx, "work", "s2", dead, now)
        accounts.begin_poll(tx, "else", "s3", ELSEWHERE, now)  # holds no lease any more
    with database.transaction() as tx:
        assert 2 == accounts.interrupt_orphans(tx, now)
        assert 0 == accounts.interrupt_orphans(tx, now)
        assert ["interrupted", "interrupted", "running"] == [one.outcome for one in accounts.recent_polls(tx, 9)]
        assert [("home", mine), ("work", None)] == [(one.name, one.lease_owner) for one in accounts.all(tx)]


def test_failures_are_counted_from_the_first_and_end_with_a_success(database: Database, now: datetime) -> None:
    later = now + timedelta(hours=1)
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
        for at in (now, later):
            accounts.failed(tx, "home", "no route", at, at + TEN)
            relays.failed(tx, "home", "r:25", "no relay", at, at + TEN)
        standing = accounts.standing(tx, "home")
        assert (2, later + TEN) == (standing.failures, standing.next_poll_at)
        assert later + TEN == relays.paused_until(tx, "home")
        assert {"r:25": relays.Standing(failures=2, paused_until=later + TEN)} == relays.standings(tx, "home")
        (row,) = accounts.all(tx)
        assert (now, now, "no route") == (row.failing_since, row.relay_failing_since, row.last_error)
        accounts.end_pauses(tx, "home")
        relays.end_pauses(tx, "home")
        standing = accounts.standing(tx, "home")
        assert (None, None, 2) == (
            standing.next_poll_at,
            relays.paused_until(tx, "home"),
            standing.failures,
        )
        accounts.succeeded(tx, "home", later)
        relays.succeeded(tx, "home", "r:25", later)
        (row,) = accounts.all(tx)
        assert (None, None, 0, 0) == (row.failing_since, row.relay_failing_since, row.failures, row.relay_failures)
        assert "anna@example.org" == row.address


def test_an_account_that_nobody_knows_fails_at_nothing(database: Database) -> None:
    with database.reading() as conn:
        assert (accounts.Standing(), {}, None) == (
            accounts.standing(conn, "x"),
            relays.standings(conn, "x"),
            relays.paused_until(conn, "x"),
        )


def test_an_account_is_paused_while_all_its_relays_are(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
        assert None is relays.failed(tx, "home", "a:25", "down", now, now + TEN, others=["b:25"])
        assert None is relays.paused_until(tx, "home")
        assert now + TEN == relays.failed(tx, "home", "b:25", "down", now, now + 2 * TEN, others=["a:25"])
        assert now + TEN == relays.paused_until(tx, "home")
        relays.succeeded(tx, "home", "a:25", now + TEN)
        assert None is relays.paused_until(tx, "home")
        assert {"a:25": 0, "b:25": 1} == {name: one.failures for name, one in relays.standings(tx, "home").items()}


def test_a_stop_outlives_the_end_of_pauses_and_ends_by_a_resume_or_a_success(database: Database, now: datetime) -> None:
    later = now + TEN
    with database.transaction() as tx:
        for name in ("home", "work"):
            accounts.failed(tx, name, "refused", now, None, is_refused=True)
            accounts.stop(tx, name, "scrypt$1", now)
            accounts.stop(tx, name, "scrypt$2", later)
            accounts.end_pauses(tx, name)
        standing = accounts.standing(tx, "home")
        assert (now, "scrypt$2", 1) == (standing.stopped_since, standing.stopped_settings, standing.refusals)
        accounts.resume(tx, "home", later)
        accounts.succeeded(tx, "work", later)
        home, work = accounts.standing(tx, "home"), accounts.standing(tx, "work")
        assert (None, None, 0, 1, later) == (
            home.stopped_since,
            home.stopped_settings,
            home.refusals,
            home.failures,
            home.next_poll_at,
        )
        assert accounts.Standing() == work


def test_due_are_those_whose_back_off_is_over_and_stopped_ones_to_be_looked_at(
    database: Database, now: datetime
) -> None:
    with database.transaction() as tx:
        accounts.succeeded(tx, "well", now)
        accounts.failed(tx, "over", "no route", now, now + TEN)
        accounts.failed(tx, "later", "no route", now, now + 2 * TEN)
        accounts.failed(tx, "stopped", "refused", now, now + TEN)
        accounts.stop(tx, "stopped", "scrypt$", now)
        assert [("stopped", None)] == accounts.due(tx, now + TEN / 2)
        assert [("over", now + TEN), ("stopped", None)] == sorted(accounts.due(tx, now + TEN))


def test_what_is_no_fault_yet_is_counted_without_failing(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        accounts.failed(tx, "home", "in use", now, now + TEN, is_failing=False)
        (row,) = accounts.all(tx)
        assert (None, 1, now + TEN, "in use") == (row.failing_since, row.failures, row.next_poll_at, row.last_error)
        accounts.failed(tx, "home", "in use", now + TEN, now + 2 * TEN)
        (row,) = accounts.all(tx)
        assert (now + TEN, 2) == (row.failing_since, row.failures)


def test_a_login_delay_is_counted_from_the_login(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        accounts.logged_in(tx, "home", now, 900)
        assert now + timedelta(seconds=900) == accounts.standing(tx, "home").login_not_before
        accounts.logged_in(tx, "home", now, None)
        assert None is accounts.standing(tx, "home").login_not_before


def test_old_visits_are_forgotten_but_not_one_that_runs(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        for age in (100, 95, 91, 89):
            began = now - timedelta(days=age)
            poll = accounts.begin_poll(tx, "home", f"{age} days ago", ELSEWHERE, began)
            if age != 95:
                accounts.end_poll(tx, poll, now=began, outcome="ok")
    with database.transaction() as tx:
        assert 2 == accounts.forget_polls(tx, now - timedelta(days=90))
        assert 0 == accounts.forget_polls(tx, now - timedelta(days=90))
        assert ["89 days ago", "95 days ago"] == [one.session for one in accounts.recent_polls(tx, 9)]
