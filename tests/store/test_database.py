"""The one door: what it commits, what it refuses, what its errors are called, and how it notices the commits of others."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store import upgrade
from daemon.store.database import Database

INSERT = text("INSERT INTO outbox (recipients, subject) VALUES ('bob@example.net', 's')")


def rows(database: Database) -> int:
    with database.reading() as conn:
        return int(conn.execute(text("SELECT count(*) FROM outbox")).scalar_one())


def test_a_block_that_ends_well_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(INSERT)
    with pytest.raises(KeyboardInterrupt), database.transaction() as tx:
        tx.execute(INSERT)
        raise KeyboardInterrupt
    assert 1 == rows(database)


def test_reading_writes_nothing(database: Database) -> None:
    try:
        with database.reading() as conn:
            conn.execute(INSERT)
    except errors.StoreError:
        pass
    assert 0 == rows(database)


def test_one_thread_is_in_one_transaction(database: Database) -> None:
    assert not database.in_transaction()
    for first in (database.transaction, database.reading):
        for second in (database.transaction, database.reading):
            with first():
                assert database.in_transaction()
                with pytest.raises(errors.OutOfState), second():
                    pass
            assert not database.in_transaction()


def test_who_waits_for_a_turn_to_write_holds_no_connection(sqlite_url: str) -> None:
    """Twenty threads that write one after the other do it on one connection to the file."""
    database, path = Database(sqlite_url), Path(sqlite_url.removeprefix("sqlite:///"))
    upgrade.upgrade(database)
    database.dispose()

    def write() -> None:
        with database.transaction() as tx:
            tx.execute(INSERT)

    waiting = [threading.Thread(target=write) for _ in range(20)]
    with database.transaction():
        for thread in waiting:
            thread.start()
    for thread in waiting:
        thread.join()
    assert 20 == rows(database)
    files = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert 1 == files.count(path.resolve())
    database.dispose()


def test_reading_sees_one_state_throughout(database: Database) -> None:
    def insert() -> None:
        with database.transaction() as tx:
            tx.execute(INSERT)

    with database.reading() as conn:
        count = text("SELECT count(*) FROM outbox")
        assert 0 == conn.execute(count).scalar_one()
        thread = threading.Thread(target=insert)
        thread.start()
        thread.join()
        assert 0 == conn.execute(count).scalar_one()
    assert 1 == rows(database)


def test_a_change_by_another_ends_the_wait(database: Database) -> None:
    watch = database.watch()
    assert watch.wait(0) is False
    thread = threading.Timer(0.05, lambda: _insert(database))
    thread.start()
    assert watch.wait(5)
    thread.join()
    _insert(database)
    assert watch.wait(5), "a change between two waits counts"
    assert watch.wait(0.01) is False
    watch.close()


def _insert(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(INSERT)


@pytest.mark.servers
def test_a_watch_survives_the_loss_of_its_connection(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    watch = database.watch()
    with database.transaction() as tx:
        tx.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postroom watch'")
        )
    assert watch.wait(5), "what came meanwhile may have been missed"
    thread = threading.Timer(0.05, lambda: _insert(database))
    thread.start()
    assert watch.wait(5)
    thread.join()
    watch.close()
    database.dispose()


# --- errors have our names --------------------------------------------------------------------------------------------


def test_a_refused_row_says_why(database: Database) -> None:
    with (
        pytest.raises(errors.RowRefused, match=r"^outbox.recipients: at least one address"),
        database.transaction() as tx,
    ):
        tx.execute(text("INSERT INTO outbox (subject) VALUES ('s')"))
    with pytest.raises(errors.RowRefused), database.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO polls (account, session, owner, started_at, outcome) VALUES ('a', 's', 'o', '2026-01-01', 'odd')"
            )
        )


def test_a_missing_table_is_an_unusable_database(database: Database) -> None:
    with pytest.raises(errors.DatabaseUnusable, match="postroom db upgrade"), database.reading() as conn:
        conn.execute(text("SELECT 1 FROM nowhere"))


def test_a_text_that_is_not_unicode_is_a_refused_row(database: Database) -> None:
    with pytest.raises(errors.RowRefused, match="Unicode"), database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, subject) VALUES ('a@b', :subject)"), {"subject": "\udcff"})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postroom.db", "sqlite:///postroom.db"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql://localhost/x", "not supported"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    with pytest.raises(errors.DatabaseUnusable, match=said):
        Database(url)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    database = Database("postgresql+psycopg://anna:geheim@/x?host=/nowhere")
    with pytest.raises(errors.StoreError, match="nowhere") as caught, database.reading():
        pass
    assert "geheim" not in str(caught.value) + database.shown
    database.dispose()


def test_a_file_that_is_no_database_or_cannot_be_opened_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but long enough to look at " * 20)
    for name in ("text.db", "no/such/directory.db", "."):
        database = Database(f"sqlite:///{tmp_path}/{name}")
        with pytest.raises(errors.DatabaseUnusable), database.reading() as conn:
            conn.execute(text("SELECT 1 FROM outbox"))
        database.dispose()


def test_a_lock_that_is_held_too_long_is_busy(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pysqlite3 import dbapi2

    from daemon.store.dialect import engine

    monkeypatch.setattr(engine, "BUSY_MILLISECONDS", 50)
    # The same library: two SQLites in one process do not see each other's locks.
    other = dbapi2.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database = Database(sqlite_url)
    with pytest.raises(errors.DatabaseBusy), database.transaction():
        pass
    assert 0 == rows(database)
    other.close()
    _insert(database)
    database.dispose()


def test_a_full_disk_has_its_name_and_nothing_is_half_written(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(errors.DatabaseFull, match="disk is full"), database.transaction() as tx:
        tx.execute(INSERT)
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        tx.execute(text("INSERT INTO outbox (recipients, body) VALUES ('a@b', :body)"), {"body": "x" * 1_000_000})
    assert 0 == rows(database)
    database.dispose()


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_new_file_may_be_used_by_its_group(tmp_path: Path) -> None:
    before = os.umask(0o007)
    database = Database(f"sqlite:///{tmp_path}/new.db")
    try:
        assert not database.exists()
        upgrade.upgrade(database)
        assert database.exists()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
        database.dispose()
    assert {"new.db": 0o660, "new.db-wal": 0o660, "new.db-shm": 0o660} == modes


def test_commits_are_durable(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.reading() as conn:
        assert ["wal", 2, 1] == [
            conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert "SQLite 3." in database.engine_version
    database.dispose()


def test_the_system_sqlite_reads_what_ours_wrote(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    _insert(database)
    database.dispose()
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    assert [("s",)] == connection.execute("SELECT subject FROM outbox").fetchall()
    connection.close()


def test_a_second_daemon_is_told_who_is_at_work(database: Database) -> None:
    with database.run_lock():
        if database.kind == "postgresql":
            with database.run_lock():
                return
        with pytest.raises(errors.Busy, match=f"pid {os.getpid()}"), database.run_lock():
            pass
    with database.run_lock():
        pass


def test_the_lock_of_a_killed_daemon_is_free(sqlite_url: str) -> None:
    script = (
        "import os, signal\nfrom daemon.store.database import Database\n"
        f"with Database({sqlite_url!r}).run_lock():\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False
    )
    assert -9 == done.returncode
    database = Database(sqlite_url)
    with database.run_lock():
        pass
    database.dispose()
