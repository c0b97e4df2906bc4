"""The indexer: columns for what is archived, never in its way, and made anew on demand."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, text

from daemon import errors
from daemon.demo import letters
from daemon.jobs import index
from daemon.mail import parse
from daemon.store import archive, sources
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.doubles import house

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SAMPLE = letters.sample()


def fill(database: Database, contents: list[bytes]) -> list[int]:
    """Archive messages; give their ids."""
    incoming = [
        archive.Incoming(uidl=f"u{number}", occurrence=0, entry_octets=len(content), spool=Spool.of(content))
        for number, content in enumerate(contents)
    ]
    house.context(database, house.Clock())  # registers the account
    with database.transaction() as tx:
        return [filed.message for filed in archive.add(tx, "home", incoming, NOW)]


def run(database: Database, stop: threading.Event | None = None, **limits: int) -> index.Indexed:
    return index.index(database, now=lambda: NOW, stop=stop or threading.Event(), progress=lambda: None, **limits)


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def test_what_is_archived_becomes_columns(database: Database) -> None:
    ids = fill(database, SAMPLE)
    assert index.Indexed(messages=len(SAMPLE), with_defects=2) == run(database)
    with database.reading() as conn:
        for message, raw in zip(ids, SAMPLE, strict=True):
            found, expected = archive.get(conn, message), parse.parse(raw)
            assert (parse.PARSER_VERSION, expected.subject) == (found.parser_version, found.subject)
            assert (expected.body_text, expected.sent_at) == (found.body_text, found.sent_at)
            assert [one.sha256 for one in expected.attachments] == [
                one.sha256 for one in archive.attachments(conn, message)
            ]
            assert len(expected.addresses) == len(archive.addresses_of(conn, message))


def test_a_second_run_finds_nothing_to_do(database: Database) -> None:
    fill(database, SAMPLE)
    run(database)
    assert index.Indexed(messages=0, with_defects=0) == run(database)


def test_small_batches_do_it_all(database: Database) -> None:
    fill(database, SAMPLE)
    assert len(SAMPLE) == run(database, limit_per_tx=4).messages


def test_sources_are_held_within_a_bound(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    fill(database, SAMPLE)
    monkeypatch.setattr(index, "OCTETS_A_BATCH", 1000)  # less than two of most letters
    assert len(SAMPLE) == run(database).messages


def test_large_messages_are_read_in_parts_and_give_the_same_columns(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(sources, "SOURCE_PART_OCTETS", 700)
    monkeypatch.setattr(index, "OCTETS_WHOLE", 700)
    read = []
    original = sources.part

    def watched(conn: Connection, message: int, part: int) -> bytes:
        read.append(part)
        return original(conn, message, part)

    monkeypatch.setattr(sources, "part", watched)
    ids = fill(database, SAMPLE)
    assert len(SAMPLE) == run(database).messages
    assert max(len(one) for one in SAMPLE) // 700 == max(read)
    with database.reading() as conn:
        for message, raw in zip(ids, SAMPLE, strict=True):
            found, expected = archive.get(conn, message), parse.parse(raw)
            assert (expected.subject, expected.body_text) == (found.subject, found.body_text)
            assert [one.sha256 for one in expected.attachments] == [
                one.sha256 for one in archive.attachments(conn, message)
            ]


def test_a_large_message_that_is_pruned_while_it_is_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(sources, "SOURCE_PART_OCTETS", 100)
    monkeypatch.setattr(index, "OCTETS_WHOLE", 100)
    fill(database, SAMPLE[:1])
    original = sources.part_octets

    def pruned(conn: Connection, message: int) -> list[int]:
        octets = original(conn, message)
        monkeypatch.setattr(sources, "part", gone)
        return octets

    def gone(*_: object) -> bytes:
        stop.set()
        raise errors.NotFound("pruned")

    stop = threading.Event()
    monkeypatch.setattr(sources, "part_octets", pruned)
    assert index.Indexed(messages=0, with_defects=0) == run(database, stop)


def test_no_transaction_is_open_while_a_message_is_parsed(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    fill(database, SAMPLE[:3])
    open_ones = []
    original = parse.parse

    def watched(raw: bytes) -> object:
        open_ones.append(database.in_transaction())
        return original(raw)

    monkeypatch.setattr("daemon.mail.parse.parse", watched)
    run(database)
    assert [False] * 3 == open_ones


def test_a_stop_leaves_the_rest_for_the_next_run(database: Database) -> None:
    fill(database, SAMPLE)
    stop = threading.Event()
    done = index.index(database, now=lambda: NOW, stop=stop, progress=stop.set, limit_per_tx=3)
    assert 3 == done.messages
    assert len(SAMPLE) - 3 == run(database).messages


def test_an_older_parsers_columns_are_made_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, SAMPLE)
    run(database)
    monkeypatch.setattr(parse, "PARSER_VERSION", parse.PARSER_VERSION + 1)
    assert len(SAMPLE) == run(database).messages
    assert 0 == run(database).messages


def test_reindex_makes_all_columns_anew(database: Database) -> None:
    ids = fill(database, SAMPLE)
    run(database)
    with database.transaction() as tx:
        tx.execute(text("UPDATE messages SET subject = 'spoilt', body_text = 'spoilt'"))
    done = index.reindex(database, now=lambda: NOW, stop=threading.Event(), progress=lambda: None, limit_per_tx=4)
    assert index.Indexed(messages=len(SAMPLE), with_defects=2) == done
    assert [] == rows(database, "SELECT id FROM messages WHERE subject = 'spoilt' OR body_text = 'spoilt'")
    with database.reading() as conn:
        assert len(parse.parse(SAMPLE[6]).attachments) == len(archive.attachments(conn, ids[6]))


@pytest.fixture
def picky(database: Database) -> Database:
    """A database that takes no subject with the word Lunch in it."""
    refuse = {
        "sqlite": (
            """CREATE TRIGGER picky BEFORE UPDATE ON messages WHEN new.subject LIKE '%Lunch%'
               BEGIN SELECT RAISE(ABORT, 'no lunch'); END""",
        ),
        "postgresql": (
            """CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF new.subject LIKE '%Lunch%' THEN RAISE EXCEPTION 'no lunch'; END IF; RETURN new; END $$""",
            "CREATE TRIGGER picky BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION picky()",
        ),
    }
    with database.transaction() as tx:
        for statement in refuse[database.kind]:
            tx.execute(text(statement))
    return database


def test_columns_that_the_database_refuses_stop_no_other_message(picky: Database) -> None:
    fill(picky, SAMPLE)
    assert len(SAMPLE) == run(picky).messages
    assert 0 == run(picky).messages
    faults = rows(picky, "SELECT count(*) FROM messages WHERE CAST(defects AS text) LIKE '%parser_fault%'")
    assert [(3,)] == faults
    assert [(len(SAMPLE) - 3,)] == rows(picky, "SELECT count(*) FROM messages WHERE subject <> ''")
