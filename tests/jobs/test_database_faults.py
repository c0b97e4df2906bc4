"""A full disk and a locked database: nothing is deleted on a server, no row is lost, and the next visit goes on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from pysqlite3 import dbapi2 as sqlite3
from sqlalchemy import event, text

from daemon import errors
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.jobs.sweep import sweep
from daemon.store import upgrade
from daemon.store.database import Database
from daemon.store.dialect import engine
from tests.doubles import house


class Disk:
    """A disk that can be filled: SQLite is given no page beyond those it has."""

    def __init__(self, database: Database) -> None:
        self.database, self.is_full = database, False
        event.listen(database._engine, "begin", self._limit)

    def _limit(self, connection: object) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()  # type: ignore[attr-defined]  # SQLAlchemy's
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if self.is_full else 2**30}")  # type: ignore[attr-defined]


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(engine, "BUSY_MILLISECONDS", 100)  # who holds the lock here does not let go
    database = Database(f"sqlite:///{tmp_path}/house.db")
    upgrade.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture
def disk(sqlite: Database) -> Disk:
    return Disk(sqlite)


@pytest.fixture
def on_sqlite(sqlite: Database, clock: house.Clock) -> Context:
    return house.context(sqlite, clock)


@pytest.fixture
def locked(tmp_path: Path, sqlite: Database) -> Iterator[sqlite3.Connection]:
    """Another writer; of the same SQLite library, for two of them in one process do not see each other's locks."""
    other = sqlite3.connect(tmp_path / "house.db", isolation_level=None)
    yield other
    other.close()


def test_a_full_disk_stops_the_poll_and_deletes_nothing(
    on_sqlite: Context, clock: house.Clock, disk: Disk, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    # Packed they are half as long, which is still too much.
    letters = [f"Subject: {n}\r\n\r\n{Random(n).randbytes(25_000).hex()}\r\n".encode() for n in range(20)]
    for content in letters:
        maildrop.add(content)

    def fill(name: str, **_: object) -> None:
        disk.is_full = disk.is_full or name == "poll.retrieved"

    result = poll(account, replace(on_sqlite, step=fill))
    assert isinstance(result.error, errors.DatabaseFull)
    assert letters == maildrop.contents
    assert not any(line.startswith("DELE") for line in pop3_server.commands)

    disk.is_full = False
    clock.forward(hours=1)
    sweep(on_sqlite)
    assert (20, 20) == ((result := poll(account, on_sqlite)).new, result.deleted)


@pytest.mark.parametrize("step", ["drain.connected", "drain.prepared", "drain.answered"])
def test_a_full_disk_during_a_drain_loses_no_row_and_sends_none_twice_unseen(
    on_sqlite: Context, clock: house.Clock, disk: Disk, smtp_server: SmtpServer, step: str
) -> None:
    with on_sqlite.database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, body, account) VALUES ('bob@example.net', 'x', 'home')"))

    def fill(name: str, **_: object) -> None:
        disk.is_full = disk.is_full or name == step

    # What is written while the disk is full may still fit into pages that are there; the promise holds either way.
    drain.drain(house.sending(smtp_server.port), replace(on_sqlite, step=fill))
    disk.is_full = False
    clock.forward(hours=5)
    sweep(on_sqlite)
    with on_sqlite.database.reading() as conn:
        status = conn.execute(text("SELECT status FROM outbox")).scalar_one()
    before = len(smtp_server.received)
    assert before == 0 or status in {"sent", "in_doubt"}
    drain.drain(house.sending(smtp_server.port), on_sqlite)
    assert 1 <= len(smtp_server.received) <= (2 if status == "in_doubt" else 1)


def test_a_locked_database_stops_the_poll_before_the_server_is_asked(
    on_sqlite: Context, locked: sqlite3.Connection, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(b"Subject: 1\r\n\r\nx\r\n")
    locked.execute("BEGIN IMMEDIATE")
    result = poll(house.fetching(pop3_server.port), on_sqlite)
    assert isinstance(result.error, errors.DatabaseBusy)
    assert 0 == pop3_server.connections
    locked.execute("ROLLBACK")
    assert 1 == poll(house.fetching(pop3_server.port), on_sqlite).new


def test_a_database_locked_before_the_proof_deletes_nothing(
    on_sqlite: Context, clock: house.Clock, locked: sqlite3.Connection, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    maildrop.add(b"Subject: 1\r\n\r\nx\r\n")

    def lock(name: str, **_: object) -> None:
        if name == "poll.retrieved":
            locked.execute("BEGIN IMMEDIATE")

    result = poll(account, replace(on_sqlite, step=lock))
    locked.execute("ROLLBACK")
    assert isinstance(result.error, errors.DatabaseBusy)
    assert 1 == len(maildrop.messages)
    clock.forward(hours=1)
    assert 1 == poll(account, on_sqlite).deleted
