"""Packing behind everything else: what is stored gets smaller, and is at every instant what came."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from daemon.jobs import pack
from daemon.jobs.context import Context
from daemon.store import archive, repacking, sources
from daemon.store.database import Database
from daemon.store.packing import Packer
from daemon.wire.spool import Spool
from tests import corpus
from tests.doubles import house
from tests.doubles.kills import Killed, killing

LETTERS = [*corpus.small(60), *(one.octets for one in corpus.letters(20))]


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "FIRST_LETTERS", 50)
    monkeypatch.setattr(pack, "PARTS_A_TRANSACTION", 7)
    monkeypatch.setattr(pack, "PAUSE_SECONDS", 0.0)


def fill(context: Context, contents: list[bytes] = LETTERS, packer: Packer | None = None) -> None:
    with context.database.transaction() as tx:
        incoming = [archive.Incoming(uidl=str(n), spool=Spool.of(one)) for n, one in enumerate(contents)]
        archive.add(tx, "home", incoming, house.NOW, packer or context.packer)


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def assert_whole(database: Database) -> None:
    with database.reading() as conn:
        ids = archive.ids(conn, limit=1000)
        assert set(ids) == sources.proven(conn, ids)
        assert LETTERS == [sources.whole(conn, one) for one in ids][: len(LETTERS)]


def test_a_dictionary_is_trained_once_there_are_letters_enough(context: Context) -> None:
    """Letters that were there are rewritten with it, letters that come afterwards compressed at once."""
    fill(context, LETTERS[:40])
    assert not pack.pack(context).is_trained
    fill(context)
    packed = pack.pack(context)
    assert packed.is_trained
    assert packed.after < packed.before / 2
    assert_whole(context.database)
    assert [(60,)] == rows(
        context.database,
        "SELECT count(*) FROM message_sources s JOIN messages m ON m.id = s.message"
        " WHERE dictionary IS NOT NULL AND m.id <= 60",
    )
    assert pack.Packing() == pack.pack(context)
    fill(context, [b"Subject: one more\r\n\r\n" + LETTERS[0]])
    assert [("zstd", 1)] == rows(
        context.database, "SELECT encoding, dictionary FROM message_sources ORDER BY message DESC LIMIT 1"
    )
    assert 0 == pack.pack(context).parts


def test_another_setting_rewrites_what_is_there(context: Context) -> None:
    fill(context)
    pack.pack(context)
    plain = replace(context, packer=Packer("none"))
    assert pack.pack(plain).after > 0
    assert [("identity", None)] == rows(context.database, "SELECT DISTINCT encoding, dictionary FROM message_sources")
    assert LETTERS == [row[0] for row in rows(context.database, "SELECT content FROM message_sources ORDER BY message")]
    assert pack.Packing() == pack.pack(plain)
    pack.pack(context)
    assert_whole(context.database)
    assert [(60,)] == rows(
        context.database, "SELECT count(*) FROM message_sources WHERE dictionary = 1 AND message <= 60"
    )


@pytest.mark.parametrize("step", ["rewrite", "note", "page", "pulse"])
def test_a_run_that_is_killed_is_gone_on_with(context: Context, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Killed at each of these steps, again and again: all letters are whole, and in the end all are packed."""
    fill(context)

    for after in (0, 1, 2, 4):
        with monkeypatch.context() as patched:
            around = context
            if step == "pulse":
                around = replace(context, pulse=killing(lambda: None, after))
            else:
                patched.setattr(repacking, step, killing(getattr(repacking, step), after))
            try:
                pack.pack(around)
            except Killed:
                assert_whole(context.database)
    pack.pack(context)
    assert_whole(context.database)
    assert [] == rows(
        context.database,
        "SELECT message FROM message_sources WHERE encoding = 'identity' AND message <= 60",
    )


def test_what_is_broken_stays_as_it_is(context: Context) -> None:
    """Nobody can tell what it was, so nothing is made of it."""
    fill(context)
    pack.pack(context)
    with context.database.transaction() as tx:
        tx.execute(text("UPDATE message_sources SET content = :octets WHERE message = 3"), {"octets": b"rotten"})
    pack.pack(replace(context, packer=Packer("none")))
    assert [("zstd", b"rotten")] == rows(
        context.database, "SELECT encoding, content FROM message_sources WHERE message = 3"
    )
    assert [(1,)] == rows(context.database, "SELECT count(*) FROM message_sources WHERE encoding = 'zstd'")
