"""Rows that move to new UIDLs keep their history, and never stand in one another's way."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from daemon.mail.maildrop import Entry, LedgerStatus
from daemon.store import accounts, ledger, relink, sources
from daemon.store.database import Database
from daemon.store.relink import Move
from tests.store.conftest import Add


def names(database: Database) -> list[tuple[str, int]]:
    with database.reading() as conn:
        return [(row.uidl, row.occurrence) for row in sorted(ledger.history(conn, "home"), key=lambda row: row.id)]


def move(database: Database, now: datetime, *moves: tuple[int, str, int]) -> None:
    with database.transaction() as tx:
        relink.move(tx, "home", [Move(*one) for one in moves], now)


def test_a_row_that_moves_keeps_what_it_is_and_says_what_it_was(database: Database, add: Add, now: datetime) -> None:
    (filed,) = add(b"abc")
    with database.transaction() as tx:
        ledger.dele_sent(tx, [filed.ledger], now)
    later = now + timedelta(days=1)
    move(database, later, (filed.ledger, "new", 0))
    with database.reading() as conn:
        (row,) = ledger.history(conn, "home")
    assert (filed.ledger, "new", 0, "archived", filed.message, now, later, None) == (
        row.id, row.uidl, row.occurrence, row.status, row.message, row.first_seen_at, row.last_seen_at, row.dele_sent_at,
    )  # fmt: skip
    assert f"the server changed its UIDLs on {later:%Y-%m-%d}; was u0" == row.reason


def test_what_was_gone_or_deleted_is_there_again(database: Database, add: Add, now: datetime) -> None:
    one, two = add(b"1", b"2")
    with database.transaction() as tx:
        ledger.gone(tx, [one.ledger], now)
        ledger.deleted(tx, [two.ledger], now)
    move(database, now, (one.ledger, "new1", 0), (two.ledger, "new2", 0))
    with database.reading() as conn:
        assert [("archived", None)] * 2 == [(row.status, row.deleted_at) for row in ledger.history(conn, "home")]


def test_names_can_go_round(database: Database, add: Add, now: datetime) -> None:
    one, two, three = add(b"1", b"2", b"3")
    move(database, now, (one.ledger, "u1", 0), (two.ledger, "u2", 0), (three.ledger, "u0", 0))
    assert [("u1", 0), ("u2", 0), ("u0", 0)] == names(database)


def test_a_row_that_stays_makes_room(database: Database, add: Add, now: datetime) -> None:
    one, two, _three = add(b"1", b"2", b"3")
    move(database, now, (one.ledger, "u2", 0), (two.ledger, "u2", 1))
    assert [("u2", 0), ("u2", 1), ("u2", 2)] == names(database)


def test_other_accounts_and_no_moves_change_nothing(database: Database, add: Add, now: datetime) -> None:
    (one,) = add(b"1")
    add(b"1", account="work")
    move(database, now)
    move(database, now, (one.ledger, "new", 0))
    with database.reading() as conn:
        assert ["u0"] == [row.uidl for row in ledger.history(conn, "work")]


def test_heads_are_no_longer_than_asked(database: Database, add: Add) -> None:
    one, two = add(b"\x00\xff" + b"x" * 10, b"y")
    with database.reading() as conn:
        assert {one.message: b"\x00\xffx", two.message: b"y"} == dict(
            sources.heads(conn, [one.message, two.message, 999], 3)
        )


def test_rows_are_undecided_between_dele_and_the_answer_to_quit(database: Database, add: Add, now: datetime) -> None:
    one, two, _three = add(b"1", b"2", b"3")
    with database.transaction() as tx:
        ledger.dele_sent(tx, [one.ledger, two.ledger], now)
        ledger.deleted(tx, [two.ledger], now)
    with database.reading() as conn:
        assert {one.ledger} == relink.undecided(conn, "home")


def test_a_hold_counts_from_its_beginning_and_ends_either_way(database: Database, now: datetime) -> None:
    with database.reading() as conn:
        assert (None, None, None) == relink.standing(conn, "home")
    later = now + timedelta(hours=1)
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
        relink.hold(tx, "home", "first", now)
        relink.hold(tx, "home", "second", later)
    with database.reading() as conn:
        assert (now, "second", None) == relink.standing(conn, "home")
    with database.transaction() as tx:
        relink.accept(tx, "home", later)
        assert (None, None, later) == relink.standing(tx, "home")
        relink.release(tx, "home")
        assert (None, None, None) == relink.standing(tx, "home")


@pytest.mark.timeout(60)
def test_twenty_thousand_rows_move_at_once(database: Database, now: datetime) -> None:
    """And every new name is an old one."""
    count = 20_000
    rows = [(Entry(number=n, uidl=f"u{n}", octets=n), 0, LedgerStatus.SKIPPED, "") for n in range(count)]
    with database.transaction() as tx:
        ledger.skip(tx, "home", rows, now)
    with database.reading() as conn:
        known = ledger.known(conn, "home")
    move(database, now, *[(row.id, f"u{(int(row.uidl[1:]) + 1) % count}", 0) for row in known])
    with database.reading() as conn:
        query = "SELECT count(*) FROM ledger WHERE uidl = 'u' || CAST((octets + 1) % 20000 AS TEXT) AND occurrence = 0"
        assert count == conn.execute(text(query)).scalar_one()
