"""The indexer: columns for what is archived, never in its way, and made anew on demand."""

import threading
from collections.abc import Callable, Sequence
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
from tests import corpus
from tests.doubles import house
from tests.doubles.kills import Killed

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
    monkeypatch.setattr(index, "OCTETS_READ", 1000)  # less than two of most letters
    asked, several = list[int](), sources.several

    def watched(conn: Connection, ids: Sequence[int]) -> dict[int, bytes]:
        asked.append(len(ids))
        return several(conn, ids)

    monkeypatch.setattr(sources, "several", watched)
    assert len(SAMPLE) == run(database).messages == sum(asked)
    assert len(SAMPLE) / 2 < len(asked)


@pytest.mark.parametrize("bound", ["CHARACTERS_A_TRANSACTION", "OCTETS_A_TRANSACTION"])
def test_what_is_written_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch, database: Database, bound: str) -> None:
    """Other writers wait for a transaction: many words, or the columns of much mail, are written in several."""
    fill(database, SAMPLE)
    monkeypatch.setattr(index, bound, -1)  # one message has more
    written: list[int] = []
    rebuilt(database, report=lambda done, _total: written.append(done))
    assert list(range(len(SAMPLE) + 1)) == written


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
    assert index.Indexed(messages=0, with_defects=0, is_complete=False) == run(database, stop)


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


DERIVED = (
    "SELECT * FROM messages ORDER BY id",
    "SELECT * FROM addresses ORDER BY message, role, position",
    "SELECT * FROM attachments ORDER BY id",
    "SELECT * FROM thread_keys ORDER BY key",
    "SELECT * FROM thread_links ORDER BY message, position",
    "SELECT * FROM thread_subjects ORDER BY message",
    "SELECT * FROM thread_aliases ORDER BY alias",
    "SELECT * FROM works",
)
ALL_SHAPES = [letter.octets for letter in corpus.letters(len(corpus.SHAPES))]


def derived(database: Database) -> list[list[tuple[object, ...]]]:
    return [rows(database, query) for query in DERIVED]


def rebuilt(
    database: Database,
    stop: threading.Event | None = None,
    report: Callable[[int, int], None] | None = None,
    limit: int = 7,
) -> index.Indexed:
    return index.reindex(
        database,
        now=lambda: NOW,
        stop=stop or threading.Event(),
        progress=lambda: None,
        report=report,
        limit_per_tx=limit,
    )


def searches_soundly(database: Database) -> None:
    if database.kind == "sqlite":
        with database.transaction() as tx:
            tx.exec_driver_sql("INSERT INTO messages_fts(messages_fts, rank) VALUES ('integrity-check', 1)")


def test_two_runs_leave_equal_rows_whatever_was_spoilt_between_them(database: Database) -> None:
    fill(database, SAMPLE + ALL_SHAPES)
    run(database)
    expected = derived(database)
    rebuilt(database)
    assert expected == derived(database)
    with database.transaction() as tx:
        tx.execute(text("UPDATE messages SET subject = 'spoilt', thread_id = 1 WHERE id % 2 = 0"))
        tx.execute(text("UPDATE messages SET thread_id = NULL WHERE id % 5 = 0"))
        tx.execute(text("DELETE FROM addresses WHERE message % 3 = 0"))
    rebuilt(database)
    assert expected == derived(database)
    searches_soundly(database)


def test_another_parser_that_reads_the_same_changes_its_version_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, SAMPLE)
    run(database)
    expected = derived(database)
    monkeypatch.setattr(parse, "PARSER_VERSION", parse.PARSER_VERSION + 1)
    run(database)
    with database.transaction() as tx:
        tx.execute(text(f"UPDATE messages SET parser_version = {parse.PARSER_VERSION - 1}"))
    assert expected == derived(database)
    searches_soundly(database)


def test_a_killed_reindex_goes_on_where_it_was(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, SAMPLE)
    run(database)
    original, parsed = parse.parse, list[object]()

    def counted(raw: bytes) -> object:
        parsed.append(raw)
        if 5 == len(parsed):
            raise Killed
        return original(raw)

    monkeypatch.setattr("daemon.mail.parse.parse", counted)
    with pytest.raises(Killed):
        rebuilt(database, limit=2)
    assert [(4,)] == rows(database, "SELECT done FROM works")
    told: list[tuple[int, int]] = []
    assert len(SAMPLE) - 4 == rebuilt(database, report=lambda *one: told.append(one)).messages
    assert [(4, len(SAMPLE)), (len(SAMPLE), len(SAMPLE))] == [told[0], told[-1]]
    assert [] == rows(database, "SELECT * FROM works")
    assert len(SAMPLE) == rebuilt(database).messages


def test_a_stopped_reindex_says_so_and_another_parser_begins_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, SAMPLE)
    run(database)
    stop = threading.Event()
    assert not rebuilt(database, stop, report=lambda done, _total: stop.set() if done else None, limit=3).is_complete
    monkeypatch.setattr(parse, "PARSER_VERSION", parse.PARSER_VERSION + 1)
    assert index.Indexed(messages=len(SAMPLE), with_defects=2) == rebuilt(database)


def test_a_reindex_and_the_daemons_index_at_once_leave_what_each_would(database: Database) -> None:
    fill(database, SAMPLE + ALL_SHAPES)
    others = [threading.Thread(target=run, args=(database,), kwargs={"limit_per_tx": 3}) for _ in range(2)]
    for one in others:
        one.start()
    rebuilt(database, limit=5)
    for one in others:
        one.join()
    found = derived(database)
    rebuilt(database)
    assert found == derived(database)
    assert [(len(SAMPLE + ALL_SHAPES), 0)] == rows(
        database,
        "SELECT count(*), sum(CASE WHEN thread_id IS NULL THEN 1 ELSE 0 END) FROM messages WHERE parser_version > 0",
    )
    searches_soundly(database)


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
