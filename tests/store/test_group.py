"""Transactions of several threads in one COMMIT: each keeps the promises that it would keep alone."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import pytest
from sqlalchemy import Connection, event, text

from daemon import errors
from daemon.store import group
from daemon.store.database import Database

Work = Callable[[Connection], object]

INSERT = text("INSERT INTO accounts (name, capabilities) VALUES (:name, :rest)")


def put(tx: Connection, name: str, rest: str = "") -> None:
    tx.execute(INSERT, {"name": name, "rest": rest})


def names(database: Database) -> list[str]:
    """Name what is there, on SQLite in the order in which it was written."""
    order = "ORDER BY rowid" if database.kind == "sqlite" else ""
    with database.reading() as conn:
        return [str(name) for (name,) in conn.execute(text(f"SELECT name FROM accounts {order}"))]


def elsewhere(database: Database) -> list[str]:
    """The same, asked by a thread that is in no transaction."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(names(database)))
    thread.start()
    thread.join(10)
    return found


class Room:
    """Threads that write to one database, each a row of its own.

    entered: in the order of their turns, which nobody promises.  returned, raised: how each came out.
    """

    def __init__(self, database: Database) -> None:
        assert database._writers is not None
        self.database, self.writers, self.commits = database, database._writers, 0
        self.entered, self.returned, self.raised = list[str](), list[str](), dict[str, BaseException]()
        event.listen(database._engine, "commit", self._committed)

    def _committed(self, _conn: Connection) -> None:
        self.commits += 1

    def write(self, name: str, work: Work | None = None, at: int = 0, *, joins: bool = True) -> None:
        """Write a row; whoever has turn number `at` does the work too."""
        try:
            with self.database.transaction(joins=joins) as tx:
                self.entered.append(name)
                put(tx, name)
                if work is not None and len(self.entered) == at + 1:
                    work(tx)
        except BaseException as error:  # noqa: BLE001 -- told to the thread that asks
            self.raised[name] = error
        else:
            self.returned.append(name)

    def waiting(self, members: str, work: Work | None = None, at: int = 0) -> list[threading.Thread]:
        """Begin threads that all wait to join before the first has its turn."""
        threads = [threading.Thread(target=self.write, args=(name, work, at)) for name in members]
        with self.database.transaction():
            for thread in threads:
                thread.start()
            while self.writers._joining < len(threads):
                time.sleep(0.001)
            self.commits = -1  # this one's does not count
        return threads

    def meet(self, members: str, work: Work | None = None, at: int = 0) -> None:
        """Let them write together, and come out."""
        come_out(self.waiting(members, work, at))


def come_out(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def room(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr(group, "JOIN_SECONDS", 60.0)  # a slow machine splits no group
    database = Database(sqlite_url)
    yield Room(database)
    database.dispose()


def raising(error: BaseException) -> Work:
    def fail(_tx: Connection) -> None:
        raise error

    return fail


def saying(statement: str) -> Work:
    return lambda tx: tx.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("members", "seconds", "commits"), [(16, 60.0, 1), (3, 60.0, 3), (16, 0.0, 7)], ids=["all", "number", "age"]
)
def test_who_waits_together_is_committed_together_within_bounds(
    room: Room, monkeypatch: pytest.MonkeyPatch, members: int, seconds: float, commits: int
) -> None:
    monkeypatch.setattr(group, "MEMBERS", members)
    monkeypatch.setattr(group, "JOIN_SECONDS", seconds)
    room.meet("abcdefg")
    assert room.entered == names(room.database)
    assert sorted("abcdefg") == sorted(room.returned)
    assert commits == room.commits


def test_nobody_returns_before_the_commit(room: Room) -> None:
    inside, go = threading.Event(), threading.Event()

    def stay(_tx: Connection) -> None:
        inside.set()
        go.wait(10)

    threads = room.waiting("ab", stay, at=1)
    assert inside.wait(10)
    threads["ab".index(room.entered[0])].join(0.1)
    assert ([], []) == (room.returned, names(room.database))
    go.set()
    come_out(threads)
    assert room.entered == names(room.database)


@pytest.mark.parametrize("at", [0, 1, 3], ids=["first", "middle", "last"])
@pytest.mark.parametrize(
    ("work", "error"),
    [
        (saying("INSERT INTO outbox (subject) VALUES ('no recipient')"), errors.RowRefused),
        (saying("INSERT INTO outbox_attachments (outbox_id, filename) VALUES (7, 'x')"), errors.RowRefused),
        (saying("SELECT 1 FROM nowhere"), errors.DatabaseUnusable),
        (raising(KeyboardInterrupt()), KeyboardInterrupt),
    ],
    ids=["trigger", "foreign key", "table", "signal"],
)
def test_who_raises_takes_back_its_own_alone(room: Room, work: Work, error: type[BaseException], at: int) -> None:
    room.meet("abcd", work, at)
    bad = room.entered[at]
    others = [name for name in room.entered if name != bad]
    assert others == names(room.database)
    assert sorted(others) == sorted(room.returned)
    assert {bad: error} == {name: type(one) for name, one in room.raised.items()}


def test_no_constraint_waits_for_the_commit_and_no_trigger_ends_the_transaction(room: Room) -> None:
    """Either would let one member undo what others did."""
    with room.database.reading() as conn:
        found = " ".join(sql for (sql,) in conn.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
    assert "RAISE(ABORT" in found
    for word in ("DEFERR", "RAISE(ROLLBACK", "RAISE(FAIL", "OR ROLLBACK", "CONFLICT ROLLBACK"):
        assert word not in found


# --- what the disk does not take --------------------------------------------------------------------------------------


def too_large(insert: str) -> Work:
    """Say a statement for which there is no room."""

    def fill(tx: Connection) -> None:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        try:
            tx.execute(text(insert), {"rest": "x" * 1_000_000})
        finally:
            tx.exec_driver_sql(f"PRAGMA max_page_count = {2**30}")

    return fill


@pytest.mark.parametrize("at", [0, 1, 3], ids=["first", "middle", "last"])
def test_an_error_at_which_sqlite_rolls_back_all_fails_those_who_wait(room: Room, at: int) -> None:
    """Who comes after it begins anew."""
    room.meet("abcd", too_large("INSERT INTO accounts (name, capabilities) VALUES ('z', :rest)"), at)
    assert room.entered[at + 1 :] == names(room.database)
    assert sorted(room.entered[at + 1 :]) == sorted(room.returned)
    assert dict.fromkeys(room.entered[: at + 1], errors.DatabaseFull) == {n: type(e) for n, e in room.raised.items()}


def test_a_full_disk_that_ends_one_statement_fails_its_member(room: Room) -> None:
    room.meet("abcd", too_large("INSERT INTO outbox (recipients, body) VALUES ('bob@example.net', :rest)"), 2)
    assert [name for name in room.entered if name != room.entered[2]] == names(room.database)
    assert {room.entered[2]: errors.DatabaseFull} == {name: type(one) for name, one in room.raised.items()}


def test_a_lost_transaction_is_noticed_though_its_error_was_passed_over(room: Room) -> None:
    def careless(tx: Connection) -> None:
        with suppress(Exception):
            too_large("INSERT INTO accounts (name, capabilities) VALUES ('z', :rest)")(tx)

    room.meet("abc", careless, 1)
    assert set(room.entered[:2]) == set(room.raised)
    room.raised.clear()
    room.write("d", careless, len(room.entered))
    assert isinstance(room.raised["d"], errors.StoreError)
    assert [room.entered[2]] == names(room.database)


def test_a_commit_that_fails_fails_every_member(room: Room) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def nothing_more(_tx: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # the pages are written by the COMMIT

    try:
        room.meet("abc", nothing_more, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert [] == names(room.database) == room.returned
    assert set("abc") == set(room.raised)
    assert all(isinstance(one, errors.StoreError) for one in room.raised.values())
    assert 3 == len({id(one) for one in room.raised.values()}), "each raises an error of its own"
    room.write("d")
    assert ["d"] == names(room.database)


# --- who comes, and who does not --------------------------------------------------------------------------------------


def test_a_longer_transaction_ends_the_group_before_it_begins(room: Room) -> None:
    room.writers._count(1)  # somebody seems to be about to join, so the group is left open
    joiner = threading.Thread(target=room.write, args=("a",))
    joiner.start()
    while room.writers._open is None or not room.writers._open.members:
        time.sleep(0.001)
    with room.database.transaction() as tx:
        come_out([joiner])
        assert ["a"] == elsewhere(room.database)
        put(tx, "b")
    assert ["a", "b"] == names(room.database)


def test_a_group_that_nobody_comes_to_join_is_ended_by_who_waits(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "JOIN_SECONDS", 0.2)
    room.writers._count(1)  # and was interrupted
    room.write("a")
    assert ["a"] == names(room.database) == room.returned


def test_an_interrupt_while_waiting_leaves_no_transaction_open(room: Room) -> None:
    room.writers._count(1)

    def interrupted(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        room.write("a")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert isinstance(room.raised["a"], KeyboardInterrupt)
    assert room.writers._open is None
    room.write("b", joins=False)
    assert ["a", "b"] == names(room.database)


def test_one_thread_is_in_one_transaction_also_where_it_joins(database: Database) -> None:
    with database.transaction(joins=True), pytest.raises(errors.OutOfState), database.transaction(joins=True):
        pass
    assert not database.in_transaction()


def test_what_threads_were_told_is_there_and_nothing_else(database: Database) -> None:
    """On both databases: some raise, some join, some do not, some read; each row is seen as soon as its writer returns."""
    told, unseen = set[str](), list[str]()

    def write(thread: int) -> None:
        random = Random(f"group:{thread}")
        for number in range(20):
            name = f"{thread}.{number}"
            with suppress(ZeroDivisionError, errors.RowRefused):
                with database.transaction(joins=random.random() < 0.8) as tx:
                    put(tx, name)
                    if random.random() < 0.2:
                        raise ZeroDivisionError
                    if random.random() < 0.2:
                        tx.execute(text("INSERT INTO outbox (subject) VALUES ('no recipient')"))
                told.add(name)
                if name not in names(database):
                    unseen.append(name)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    come_out(threads)
    assert not unseen
    assert told == set(names(database))


KILLED = """
import os, sys, threading
from sqlalchemy import text
from daemon.store.database import Database

database = Database(sys.argv[1])

def write(thread):
    number = 0
    while True:
        number += 1
        with database.transaction(joins=True) as tx:
            tx.execute(text("INSERT INTO accounts (name) VALUES (:name)"), {"name": f"{thread}.{number}"})
        os.write(1, f"{thread}.{number}".encode() + bytes([10]))

for thread in range(8):
    threading.Thread(target=write, args=(thread,)).start()
"""


def test_what_a_killed_process_was_told_is_there(sqlite_url: str) -> None:
    """And of each thread at most the one that it waited for, of which it was told nothing."""
    database = Database(sqlite_url)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, sqlite_url],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    with process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(100)]
        process.kill()
        told += process.stdout.readlines()
    there, told_of = set(names(database)), {line.strip() for line in told}
    assert told_of <= there
    assert len(there - told_of) <= 8
    database.dispose()
