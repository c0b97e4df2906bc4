"""Backups are made while a maildrop is fetched, and each of them comes back whole."""

import threading
from pathlib import Path

from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs.poll import poll
from daemon.store import archive, backup, frozen, restore
from daemon.store.database import Database
from tests import corpus
from tests.doubles import house


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def test_each_backup_made_while_a_fetch_runs_is_sound(
    sqlite_url: str, tmp_path: Path, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    letters = list(corpus.small(600))
    for one in letters:
        maildrop.add(one)
    database = Database(sqlite_url)
    context = house.context(database, house.Clock())
    fetch = threading.Thread(target=poll, args=(house.fetching(pop3_server.port), context))
    counts: list[int] = []
    fetch.start()
    while fetch.is_alive() or not counts:
        counts.append(backup.back_up(database, tmp_path / "b.db", quiet).messages)
    fetch.join()
    counts.append(backup.back_up(database, tmp_path / "b.db", quiet).messages)
    assert sorted(counts) == counts
    assert len(letters) == counts[-1]
    other = Database(f"sqlite:///{tmp_path / 'new.db'}")
    restore.restore(other, tmp_path / "b.db", replace=False, send=False, now=house.NOW, progress=quiet)
    with frozen.opened(tmp_path / "new.db") as copied, database.reading() as conn:
        hashes = [{archive.get(one, key).sha256 for key in archive.ids(one, limit=9999)} for one in (copied, conn)]
    assert hashes[0] == hashes[1]
    database.dispose()
    other.dispose()
