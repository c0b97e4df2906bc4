"""What is on hold is deleted by nobody: not by `prune`, not by plain SQL, and not where a message comes whole."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.jobs import hold, index, prune
from daemon.store import archive, holds, ledger, schema
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.doubles.house import NOW

LATER = NOW + timedelta(days=1)
REFUSED = "on hold and can not be deleted; postroom hold list says why"


def letter(subject: str) -> bytes:
    return f"From: bob@example.net\r\nSubject: {subject}\r\n\r\n".encode()


def bring(database: Database, account: str, *subjects: str) -> None:
    with database.transaction() as tx:
        archive.bring_in(tx, account, [archive.Brought(Spool.of(letter(one))) for one in subjects], NOW)
    index.index(database, now=lambda: NOW, stop=threading.Event(), progress=lambda: None)


@pytest.fixture
def letters(database: Database) -> Database:
    """Three of home and one of work, all indexed."""
    bring(database, "home", "contract", "cat", "contract again")
    bring(database, "work", "contract")
    return database


def pruned(database: Database, query: str | None = None) -> int:
    return prune.prune(database, before=LATER, account=None, query=query)


def left(database: Database) -> list[int]:
    with database.reading() as conn:
        return archive.ids(conn, limit=99)


def test_what_a_query_finds_stays(letters: Database) -> None:
    done = hold.add(letters, account="home", query="subject:contract", reason="case 12", now=NOW)
    assert (1, "home", "subject:contract", "case 12", 2) == (
        done.id,
        done.account,
        done.query,
        done.reason,
        done.messages,
    )
    assert (2, 83, 2) == prune.count(letters, before=LATER, account=None, query=None)
    assert 2 == pruned(letters)
    assert [1, 3] == left(letters)
    with letters.reading() as conn:
        assert [(1, "case 12")] == [tuple(one) for one in holds.on(conn, 3)]
        assert (1, 2) == holds.count(conn)


def test_the_query_is_asked_again_before_anything_is_deleted(letters: Database) -> None:
    hold.add(letters, account=None, query="subject:contract", reason="case 12", now=NOW)
    bring(letters, "home", "the last contract", "mouse")
    assert 2 == pruned(letters)
    assert [1, 3, 4, 5] == left(letters)


def test_all_of_an_account_stays_also_what_comes_later(letters: Database) -> None:
    hold.add(letters, account="home", query=None, reason="audit", now=NOW)
    bring(letters, "home", "mouse")
    assert 1 == pruned(letters)
    assert [1, 2, 3, 5] == left(letters)


@pytest.mark.parametrize("account", [None, "home"])
@pytest.mark.parametrize("statement", ["DELETE FROM messages", "DELETE FROM message_sources WHERE message = 1"])
def test_a_programs_delete_is_refused_with_a_sentence(letters: Database, account: str | None, statement: str) -> None:
    hold.add(letters, account=account, query=None if account else "contract", reason="case 12", now=NOW)
    with pytest.raises(errors.RowRefused, match=REFUSED), letters.transaction() as tx:
        tx.execute(text(statement))
    assert [1, 2, 3, 4] == left(letters)


def test_what_no_hold_is_on_any_more_may_go(letters: Database) -> None:
    hold.add(letters, account=None, query="contract", reason="case 12", now=NOW)
    hold.add(letters, account="work", query=None, reason="audit", now=NOW)
    with letters.transaction() as tx:
        assert 1 == holds.remove(tx, 1)
        assert 0 == holds.remove(tx, 7)
        assert 0 == tx.execute(text("SELECT count(*) FROM held_messages")).scalar_one()
    assert 3 == pruned(letters)
    assert [4] == left(letters)


def test_a_header_section_on_hold_stays_beside_the_message_that_comes_whole(database: Database) -> None:
    """A hold must not stop a visit."""
    head = archive.Incoming(uidl="u", spool=Spool.of(letter("x")), retrieved="headers", entry_octets=999)
    whole = archive.Incoming(uidl="u", spool=Spool.of(letter("x") + b"text"), entry_octets=999)
    for one in (head, whole):
        with database.transaction() as tx:
            archive.add(tx, "home", [one], NOW)
        if one is head:
            hold.add(database, account="home", query=None, reason="audit", now=NOW)
    assert [1, 2] == left(database)


def test_prune_takes_a_query_and_leaves_the_ledger(letters: Database) -> None:
    with letters.transaction() as tx:
        archive.add(tx, "home", [archive.Incoming(uidl="u", spool=Spool.of(letter("cat")))], NOW)
    assert (1, 39, 0) == prune.count(letters, before=LATER, account="home", query="subject:cat")
    assert 0 == prune.prune(letters, before=NOW, account="home", query="subject:cat")
    assert 1 == pruned(letters, query="subject:cat")
    assert [1, 3, 4] == left(letters)
    with letters.reading() as conn:
        assert [("archived", None)] == [(one.status, one.message) for one in ledger.history(conn)]


def test_a_prune_that_was_cut_short_goes_on(letters: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "MESSAGES_A_TRANSACTION", 1)

    def killed(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune.prune(letters, before=LATER, account=None, query=None, progress=killed)
    assert [3, 4] == left(letters)
    assert 2 == pruned(letters)


@pytest.mark.parametrize(
    ("account", "query", "said"), [(None, None, "give one of them"), (None, 'open "quote', "never closed")]
)
def test_a_hold_on_nothing_is_none(letters: Database, account: str | None, query: str | None, said: str) -> None:
    with pytest.raises(errors.InputInvalid, match=said):
        hold.add(letters, account=account, query=query, reason="x", now=NOW)
    with letters.reading() as conn:
        assert [] == conn.execute(schema.HOLDS.holds.select()).all()
