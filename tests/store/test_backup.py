"""A backup is one sound state of a database in use, and comes back; what was there is never lost on the way."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store import archive, backup, compact, frozen, prune, restore, sources
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.store.conftest import NOW

LETTERS = [b"Subject: %d\r\n\r\n" % number + bytes([number]) * 30_000 for number in range(40)]


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def house(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    bring(database, LETTERS)
    yield database
    database.dispose()


def bring(database: Database, letters: list[bytes]) -> None:
    with database.transaction() as tx:
        archive.bring_in(tx, "home", [archive.Brought(Spool.of(one)) for one in letters], NOW)


def letters_in(path: Path) -> list[bytes]:
    with frozen.opened(path) as conn:
        return [sources.whole(conn, one) for one in archive.ids(conn, limit=999)]


def back(path: Path, target: Path, *, replace: bool = False, send: bool = False) -> restore.Restored:
    database = Database(f"sqlite:///{target}")
    try:
        return restore.restore(database, path, replace=replace, send=send, now=NOW, progress=quiet)
    finally:
        database.dispose()


# --- backup ---------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_private_file_with_everything(house: Database, tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    found = backup.back_up(house, tmp_path / "b.db", lambda *words: said.append(words))
    assert (len(LETTERS), (), True) == (found.messages, found.broken, found.is_current)
    assert LETTERS == letters_in(tmp_path / "b.db")
    assert 0o600 == stat.S_IMODE((tmp_path / "b.db").stat().st_mode)
    assert ["b.db"] == [one.name for one in tmp_path.iterdir() if "b.db" in one.name]
    assert ["copy pages", "check pages", "check messages"] == list(dict.fromkeys(what for what, _, _ in said))


def test_it_is_one_state_while_others_write(house: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that never rests neither waits for the copy nor makes it begin anew."""
    monkeypatch.setattr(backup, "PAGES_A_STEP", 8)
    steps = 0

    def told(what: str, _done: int, _total: int) -> None:
        nonlocal steps
        if what == "copy pages":
            steps += 1
            other = threading.Thread(
                target=bring, args=(house, [b"Subject: meanwhile %d\r\n\r\n" % steps + b"x" * 9000])
            )
            other.start()
            other.join()

    backup.back_up(house, tmp_path / "b.db", told)
    assert 15 < steps < 40
    assert LETTERS == letters_in(tmp_path / "b.db")
    with house.reading() as conn:
        assert len(LETTERS) + steps == archive.count(conn)


def test_an_earlier_backup_is_replaced_and_nothing_else_is(house: Database, tmp_path: Path) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    bring(house, [b"new"])
    backup.back_up(house, tmp_path / "b.db", quiet)
    assert [*LETTERS, b"new"] == letters_in(tmp_path / "b.db")
    (tmp_path / "notes").write_bytes(b"my notes")
    other = sqlite3.connect(tmp_path / "other.db")
    other.executescript("CREATE TABLE mine(x)")
    other.close()
    for name, said in (
        ("notes", "is no backup"),
        ("other.db", "is no backup"),
        ("postroom.db", "the database itself"),
        ("no/b.db", "no such directory"),
    ):
        with pytest.raises(errors.InputInvalid, match=said):
            backup.back_up(house, tmp_path / name, quiet)
    assert b"my notes" == (tmp_path / "notes").read_bytes()


def test_another_house_in_use_is_not_overwritten(house: Database, tmp_path: Path, sqlite_template: Path) -> None:
    other = Database(f"sqlite:///{tmp_path / 'theirs.db'}")
    (tmp_path / "theirs.db").write_bytes(sqlite_template.read_bytes())
    with other.reading() as conn:
        assert 0 == archive.count(conn)
        with pytest.raises(errors.InputInvalid, match="in use"):
            backup.back_up(house, tmp_path / "theirs.db", quiet)
    other.dispose()


KILLED = """
import os, signal, sys
from pathlib import Path
from daemon.store import backup
from daemon.store.database import Database
backup.PAGES_A_STEP = 8
backup.back_up(Database(sys.argv[1]), Path(sys.argv[2]), lambda what, done, _total: what == sys.argv[3] and done > 30 and os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("step", ["copy pages", "check messages"])
def test_killed_it_leaves_the_earlier_backup_and_the_next_one_is_whole(
    house: Database, sqlite_url: str, tmp_path: Path, step: str
) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    bring(house, [b"new"])
    done = subprocess.run([sys.executable, "-c", KILLED, sqlite_url, tmp_path / "b.db", step], check=False, timeout=60)
    assert -signal.SIGKILL == done.returncode
    assert LETTERS == letters_in(tmp_path / "b.db")
    backup.back_up(house, tmp_path / "b.db", quiet)
    assert [*LETTERS, b"new"] == letters_in(tmp_path / "b.db")
    assert ["b.db"] == [one.name for one in tmp_path.iterdir() if "b.db" in one.name]


def test_two_to_one_place_at_once_are_refused(house: Database, tmp_path: Path) -> None:
    def told(what: str, _done: int, _total: int) -> None:
        if what == "check pages":
            with pytest.raises(errors.Busy, match="another backup"):
                backup.back_up(house, tmp_path / "b.db", quiet)

    backup.back_up(house, tmp_path / "b.db", told)
    assert LETTERS == letters_in(tmp_path / "b.db")


def test_a_copy_that_the_disk_spoils_never_gets_its_name(house: Database, tmp_path: Path) -> None:
    """One octet of one letter, and one of a page's own."""
    backup.back_up(house, tmp_path / "b.db", quiet)

    def spoil(at: bytes, by: bytes) -> None:
        path = tmp_path / ".b.db.part"
        octets = path.read_bytes()
        path.write_bytes(octets[: octets.rindex(at)] + by + octets[octets.rindex(at) + len(by) :])

    def a_letter(what: str, _done: int, _total: int) -> None:
        if what == "check pages":
            spoil(bytes([7]) * 3000, b"!")

    def a_page(what: str, _done: int, _total: int) -> None:
        if what == "check pages":
            spoil(b"Subject: 7\r\n", b"\xff" * 12_000)

    for how in (a_letter, a_page):
        with pytest.raises(errors.StoreError, match=r"were not copied as they are|damaged|malformed"):
            backup.back_up(house, tmp_path / "b.db", how)
        assert LETTERS == letters_in(tmp_path / "b.db")


def test_what_is_broken_in_the_database_itself_is_named_and_no_reason_to_go_without(
    house: Database, tmp_path: Path
) -> None:
    with house.transaction() as tx:
        tx.execute(text(f"UPDATE messages SET sha256 = '{'0' * 64}' WHERE id = 5"))
    assert (5,) == backup.back_up(house, tmp_path / "b.db", quiet).broken
    assert LETTERS == letters_in(tmp_path / "b.db")


@pytest.mark.servers
def test_of_postgresql_its_own_tool_is_named(postgresql_url: str, tmp_path: Path) -> None:
    database = Database(postgresql_url)
    with pytest.raises(errors.InputInvalid, match="pg_dump --format=custom"):
        backup.back_up(database, tmp_path / "b.db", quiet)
    with pytest.raises(errors.InputInvalid, match="pg_restore"):
        restore.restore(database, tmp_path / "b.db", replace=False, send=False, now=NOW, progress=quiet)
    with pytest.raises(errors.InputInvalid, match="VACUUM FULL"):
        compact.compact(database, quiet)
    database.dispose()


# --- restore --------------------------------------------------------------------------------------------------------


def test_a_backup_comes_back_into_a_place_that_is_empty(house: Database, tmp_path: Path) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    (tmp_path / "new.db").touch()
    done = back(tmp_path / "b.db", tmp_path / "new.db")
    assert (len(LETTERS), 0, None) == (done.contents.messages, done.held, done.kept)
    assert LETTERS == letters_in(tmp_path / "new.db")
    assert 0o660 & ~_umask() == stat.S_IMODE((tmp_path / "new.db").stat().st_mode)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_database_is_replaced_only_when_asked_for_and_is_kept(house: Database, tmp_path: Path) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    bring(house, [b"newer than the backup"])
    house.dispose()
    with pytest.raises(errors.InputInvalid, match="--replace puts the backup in its place"):
        back(tmp_path / "b.db", tmp_path / "postroom.db")
    done = back(tmp_path / "b.db", tmp_path / "postroom.db", replace=True)
    assert LETTERS == letters_in(tmp_path / "postroom.db")
    assert done.kept is not None
    assert [*LETTERS, b"newer than the backup"] == letters_in(done.kept)
    bring(house, [b"life goes on"])
    with house.reading() as conn:
        assert len(LETTERS) + 1 == archive.count(conn)


@pytest.mark.parametrize("garbage", [b"garbage" * 9999, b"SQLite format 3\0" + b"garbage" * 9999])
def test_a_damaged_database_is_replaced_and_kept_as_it_lies_there(
    house: Database, tmp_path: Path, garbage: bytes
) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    (tmp_path / "bad.db").write_bytes(garbage)
    (tmp_path / "bad.db-wal").write_bytes(b"log")
    with pytest.raises(errors.InputInvalid, match="--replace"):
        back(tmp_path / "b.db", tmp_path / "bad.db")
    done = back(tmp_path / "b.db", tmp_path / "bad.db", replace=True)
    assert done.kept is not None
    assert garbage == done.kept.read_bytes()
    assert LETTERS == letters_in(tmp_path / "bad.db")
    assert not (tmp_path / "bad.db-wal").exists()


def test_nobody_may_be_at_work_meanwhile(house: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.store.dialect.engine.BUSY_MILLISECONDS", 50)
    backup.back_up(house, tmp_path / "b.db", quiet)
    with house.run_lock(), pytest.raises(errors.Busy, match="postroom run is already at work"):
        back(tmp_path / "b.db", tmp_path / "postroom.db", replace=True)
    with house.reading() as conn:
        assert len(LETTERS) == archive.count(conn)
        for work in (
            lambda: back(tmp_path / "b.db", tmp_path / "postroom.db", replace=True),
            lambda: compact.compact(Database(f"sqlite:///{tmp_path}/postroom.db"), quiet),
        ):
            with pytest.raises(errors.Busy, match="another program has it open"):
                work()
    assert [] == list(tmp_path.glob("*.replaced-*")) + list(tmp_path.glob(".*.part"))


def test_what_waited_may_have_been_sent_since_and_is_held(house: Database, tmp_path: Path) -> None:
    with house.transaction() as tx:
        for number in range(5):
            tx.execute(text(f"INSERT INTO outbox (recipients, subject) VALUES ('b@example.net', '{number}')"))
        tx.execute(text("UPDATE outbox SET status = 'sending', lease_owner = 'x' WHERE id = 2"))
        tx.execute(text("UPDATE outbox SET status = 'in_doubt', next_attempt_at = created_at WHERE id = 3"))
        tx.execute(text("UPDATE outbox SET status = 'sent' WHERE id = 4"))
        tx.execute(text("UPDATE outbox SET status = 'cancelled' WHERE id = 5"))
    backup.back_up(house, tmp_path / "b.db", quiet)
    assert 3 == back(tmp_path / "b.db", tmp_path / "new.db").held
    assert 0 == back(tmp_path / "b.db", tmp_path / "as_it_was.db", send=True).held
    rows = "SELECT status, next_attempt_at IS NULL, lease_owner IS NULL, last_error LIKE 'restored from b.db on %' FROM outbox ORDER BY id"
    with frozen.opened(tmp_path / "new.db") as conn:
        held = ("held", 1, 1, 1)
        assert [held, held, held, ("sent", 1, 1, None), ("cancelled", 1, 1, None)] == [
            tuple(one) for one in conn.execute(text(rows))
        ]


def test_what_is_no_backup_is_refused(house: Database, tmp_path: Path) -> None:
    backup.back_up(house, tmp_path / "b.db", quiet)
    (tmp_path / "in_use.db").write_bytes((tmp_path / "b.db").read_bytes())
    (tmp_path / "in_use.db-wal").write_bytes(b"log")
    (tmp_path / "cut.db").write_bytes((tmp_path / "b.db").read_bytes()[:-100_000])
    (tmp_path / "notes").write_bytes(b"my notes")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.executescript("CREATE TABLE postroom_version(version_num); INSERT INTO postroom_version VALUES ('9999')")
    newer.close()
    for name, said in {
        "in_use.db": "a database in use",
        "cut.db": "damaged|malformed",
        "notes": "not a database",
        "newer.db": "upgraded by a newer one",
        "nowhere.db": "no such file",
    }.items():
        with pytest.raises(errors.PostroomError, match=said):
            back(tmp_path / name, tmp_path / "new.db")
    assert [] == list(tmp_path.glob("*new.db*"))


# --- compact --------------------------------------------------------------------------------------------------------


def test_the_room_of_what_was_deleted_is_given_back(house: Database, tmp_path: Path) -> None:
    with house.transaction() as tx:
        prune.prune(tx, list(range(1, 31)), before=NOW.replace(year=NOW.year + 1))
    house.dispose()
    before, after = compact.compact(house, quiet)
    assert before > after + 800_000
    assert LETTERS[30:] == letters_in(tmp_path / "postroom.db")
    with house.reading() as conn:
        assert "wal" == conn.execute(text("PRAGMA journal_mode")).scalar_one()
