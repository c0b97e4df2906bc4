"""The ledger tells of each UIDL what became of it, and stays quick and small."""

from datetime import datetime, timedelta

from sqlalchemy import text

from daemon.mail.maildrop import Entry, Known, LedgerStatus
from daemon.store import accounts, archive, ledger
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.store.conftest import Add


def status_of(database: Database, uidl: str) -> tuple[object, ...]:
    with database.reading() as conn:
        (row,) = ledger.history(conn, "home", uidl)
    return (row.status, row.reason)


def test_known_gives_what_plan_needs(database: Database, add: Add, now: datetime) -> None:
    (filed,) = add(b"abc")
    with database.reading() as conn:
        assert [
            Known(
                id=filed.ledger,
                uidl="u0",
                octets=3,
                status="archived",
                first_seen_at=now,
                message=filed.message,
                deleted_at=None,
            )
        ] == ledger.known(conn, "home")
        assert [] == ledger.known(conn, "work")


def test_uidls_of_any_length_and_kind_are_kept_apart(database: Database, now: datetime) -> None:
    uidls = ["a" * 9000, "a" * 9000 + "b", "A" * 70, "\\x00é", "%", "'"]
    incoming = [
        archive.Incoming(uidl=uidl, occurrence=0, entry_octets=None, spool=Spool.of(uidl.encode())) for uidl in uidls
    ]
    with database.transaction() as tx:
        filed = archive.add(tx, "home", incoming, now)
        archive.add(tx, "home", incoming, now)
    with database.reading() as conn:
        assert uidls == [one.uidl for one in ledger.known(conn, "home")]
        assert {(uidl, 0): one.ledger for uidl, one in zip(uidls, filed, strict=True)} == ledger.ids_of(
            conn, "home", [(uidl, 0) for uidl in [*uidls, "unknown"]]
        )


def test_skipped_and_refused_messages_keep_their_reason_until_they_are_archived(
    database: Database, add: Add, now: datetime
) -> None:
    entry = Entry(number=1, uidl="u0", octets=9)
    for status, reason in (
        (LedgerStatus.REFUSED, "-ERR no"),
        (LedgerStatus.REFUSED, "-ERR no"),
        (LedgerStatus.SKIPPED, "too large"),
    ):
        with database.transaction() as tx:
            ledger.skip(tx, "home", [(entry, 0, status, reason)], now)
    assert ("skipped", "too large") == status_of(database, "u0")
    with database.reading() as conn:
        assert 2 == ledger.history(conn, "home")[0].attempts
    later = now + timedelta(hours=1)
    assert now == add(b"abc", at=later)[0].first_seen_at, "it was seen when it was skipped"
    assert ("archived", None) == status_of(database, "u0")


def test_last_seen_is_written_once_an_hour_and_exact_when_a_message_leaves(
    database: Database, add: Add, now: datetime
) -> None:
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
    (filed,) = add(b"abc")

    def listed(minutes: int) -> datetime:
        with database.transaction() as tx:
            ledger.seen(tx, "home", now + timedelta(minutes=minutes))
        with database.reading() as conn:
            seen: datetime = ledger.history(conn, "home")[0].last_seen_at
        return seen

    assert [now, now + timedelta(minutes=60), now + timedelta(minutes=60)] == [
        listed(minutes) for minutes in (59, 60, 90)
    ]
    with database.transaction() as tx:
        ledger.gone(tx, [filed.ledger], now + timedelta(minutes=120))
    with database.reading() as conn:
        (row,) = ledger.history(conn, message=filed.message)
    assert ("gone", now + timedelta(minutes=90)) == (row.status, row.last_seen_at)


def test_deletion_is_recorded_in_two_steps(database: Database, add: Add, now: datetime) -> None:
    one, two = add(b"1", b"2")
    with database.transaction() as tx:
        ledger.dele_sent(tx, [one.ledger], now)
        ledger.not_deleted(tx, [two.ledger], "-ERR locked")
    with database.reading() as conn:
        assert [("archived", now, None), ("archived", None, None)] == [
            (row.status, row.dele_sent_at, row.deleted_at)
            for row in sorted(ledger.history(conn), key=lambda row: row.id)
        ]
    with database.transaction() as tx:
        ledger.deleted(tx, [one.ledger], now)
    assert ("deleted", None) == status_of(database, "u0")
    assert ("archived", "DELE refused: -ERR locked") == status_of(database, "u1")


def test_nothing_to_write_writes_nothing(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        ledger.skip(tx, "home", [], now)
        ledger.gone(tx, [], now)
        assert [] == archive.add(tx, "home", [], now)
        assert {} == ledger.ids_of(tx, "home", [])
        assert 0 == tx.execute(text("SELECT count(*) FROM ledger")).scalar_one()


def test_marking_as_seen_leaves_what_is_known(database: Database, add: Add, now: datetime) -> None:
    add(b"abc")
    rows = [("u0", 0, 3), ("new", 0, 7), ("new", 1, None)]
    for expected in (2, 0):
        with database.transaction() as tx:
            assert expected == ledger.mark_seen(tx, "home", rows, "seen by mpop", now)
    assert ("archived", None) == status_of(database, "u0")
    with database.reading() as conn:
        assert [("u0", 3), ("new", 7), ("new", None)] == [(one.uidl, one.octets) for one in ledger.known(conn, "home")]


def test_a_contact_is_the_first_until_something_is_listed_or_known(database: Database, add: Add, now: datetime) -> None:
    def is_first(account: str) -> bool:
        with database.reading() as conn:
            return ledger.is_first_contact(conn, account)

    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org"), ("work", "anna@work.example")])
    assert (True, True) == (is_first("home"), is_first("work"))
    add(b"abc")
    with database.transaction() as tx:
        ledger.seen(tx, "work", now)
    assert (False, False) == (is_first("home"), is_first("work"))


def test_a_skipped_message_is_not_proven_by_another_one_of_its_uidl(
    database: Database, add: Add, now: datetime
) -> None:
    add(b"abc")
    with database.transaction() as tx:
        ledger.skip(tx, "home", [(Entry(number=1, uidl="u0", octets=99), 0, LedgerStatus.SKIPPED, "too large")], now)
    with database.reading() as conn:
        assert [None] == [one.message for one in ledger.known(conn, "home")]
