"""Other programs use the SQLite file while the house has it open: neither side may take anything from the other."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from daemon.store.database import Database

# A process of its own, with the system's SQLite: what a person's sqlite3, a PHP page or a cron job is to us.
PROGRAM = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=5)
print(*database.execute(sys.argv[2]).fetchone() or ())
database.commit()
database.close()
"""


def elsewhere(file: Path, statement: str) -> str:
    command = [sys.executable, "-c", PROGRAM, str(file), statement]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def commit(database: Database, subject: str) -> None:
    with database.transaction() as tx:
        tx.execute(
            text("INSERT INTO outbox (recipients, subject, body) VALUES ('b@example.net', :s, 'x')"), {"s": subject}
        )


def test_what_is_committed_is_still_there_after_another_program_came_and_went(sqlite_url: str) -> None:
    """The last one to close an SQLite file removes its -wal; whoever lost his locks is not counted, and writes into nothing.

    POSIX locks are lost when their process closes any descriptor of the file, its own open() beside SQLite's included.
    """
    database = Database(sqlite_url)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    wal = file.with_name(file.name + "-wal")
    try:
        commit(database, "before")
        with closing(database.watch()) as watch:  # a second connection, made while the first is held
            assert "1" == elsewhere(file, "SELECT count(*) FROM outbox")
            assert wal.exists(), "another program believed that nobody had the file open"
            commit(database, "after")
            assert "2" == elsewhere(file, "SELECT count(*) FROM outbox")
            elsewhere(file, "INSERT INTO outbox (recipients, body) VALUES ('b@example.net', 'from outside')")
            assert watch.wait(5)
            with database.reading() as conn:
                assert 3 == conn.execute(text("SELECT count(*) FROM outbox")).scalar_one()
    finally:
        database.dispose()
