"""What goes into the archive comes out octet for octet, is stored once, and is proven before anything is deleted."""

import hashlib
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.mail.message import AddressRow, AttachmentRow, Parsed
from daemon.store import archive, prune, sources
from daemon.store.database import Database
from daemon.store.dialect.statements import ROWS_A_STATEMENT
from daemon.store.source_tables import SOURCE_PART_OCTETS
from daemon.wire.spool import Spool
from tests.store.conftest import Add

CONTENTS = [b"", b"x", b"\x00\xff\r\n.\r\n", b"Subject: a\n\nbare LF\n", bytes(range(256)) * 40]


def test_octets_come_back_as_they_came(database: Database, add: Add) -> None:
    filed = add(*CONTENTS)
    with database.reading() as conn:
        assert CONTENTS == [sources.whole(conn, one.message) for one in filed]
        assert {one.message for one in filed} == sources.proven(conn, [one.message for one in filed])
        rows = [archive.get(conn, one.message) for one in filed]
    assert [(len(c), hashlib.sha256(c).hexdigest()) for c in CONTENTS] == [(row.octets, row.sha256) for row in rows]
    assert [f"u{n}" for n in range(len(CONTENTS))] == [row.uidl for row in rows]


def test_a_large_message_is_kept_in_parts(database: Database, now: datetime) -> None:
    spool = Spool()
    piece = bytes(range(256)) * 4096
    for _ in range(9):
        spool.append(piece)
    with database.transaction() as tx:
        (filed,) = archive.add(
            tx, "home", [archive.Incoming(uidl="u", occurrence=0, entry_octets=None, spool=spool)], now
        )
    spool.close()
    with database.reading() as conn:
        parts = list(sources.parts(conn, filed.message))
        assert {filed.message: piece * 9} == sources.several(conn, [filed.message, filed.message + 1])
        assert {filed.message} == sources.proven(conn, [filed.message])
    assert [SOURCE_PART_OCTETS, SOURCE_PART_OCTETS, len(piece)] == [len(part) for part in parts]
    assert piece * 9 == b"".join(parts)


def test_a_batch_larger_than_a_statement_is_archived_in_its_order(database: Database, add: Add) -> None:
    contents = [b"letter %d" % number for number in range(2 * ROWS_A_STATEMENT + 1)]
    filed = add(*contents)
    again = add(*contents, b"one more")
    assert [one.message for one in filed] == [one.message for one in again[:-1]]
    assert [one.ledger for one in filed] == [one.ledger for one in again[:-1]]
    with database.reading() as conn:
        found = sources.several(conn, [one.message for one in filed])
        assert contents == [found[one.message] for one in filed]
        assert set(found) == sources.proven(conn, sorted(found))


def test_known_content_is_linked_and_not_stored_again(database: Database, add: Add) -> None:
    first = add(b"one", b"two")
    again = add(b"two", b"three", b"three", start=7)
    assert [True, True] == [one.is_new for one in first]
    assert [False, True, False] == [one.is_new for one in again]
    assert [first[1].message, again[1].message, again[1].message] == [one.message for one in again]
    assert 3 == len({one.ledger for one in again})
    other = add(b"one", account="work")
    assert other[0].is_new
    with database.reading() as conn:
        assert 4 == archive.count(conn)
        assert 3 == archive.count(conn, account="home")


def test_a_uidl_listed_twice_in_one_occurrence_keeps_both_messages(database: Database, now: datetime) -> None:
    twins = [
        archive.Incoming(uidl="t", occurrence=0, entry_octets=1, spool=Spool.of(content)) for content in (b"a", b"b")
    ]
    with database.transaction() as tx:
        filed = archive.add(tx, "home", twins, now)
    assert 2 == len({one.message for one in filed})
    assert 1 == len({one.ledger for one in filed})


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE message_sources SET content = :octets WHERE message = :id",
        "DELETE FROM message_sources WHERE message = :id",
        "UPDATE messages SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x') WHERE id = :id",
        "DELETE FROM messages WHERE id = :id",
    ],
)
def test_what_does_not_read_back_equal_is_not_proven(database: Database, add: Add, damage: str) -> None:
    good, bad = add(b"good", b"bad")
    with database.transaction() as tx:
        tx.execute(text(damage), {"id": bad.message} | ({"octets": b"worse"} if ":octets" in damage else {}))
    with database.reading() as conn:
        assert {good.message} == sources.proven(conn, [good.message, bad.message])


def test_first_seen_stays_for_the_same_message_and_begins_anew_for_another(add: Add, now: datetime) -> None:
    later = now + timedelta(days=3)
    assert now == add(b"a")[0].first_seen_at
    assert now == add(b"a", at=later)[0].first_seen_at
    assert later == add(b"b", at=later)[0].first_seen_at


def test_a_missing_message_is_not_found(database: Database) -> None:
    with database.reading() as conn, pytest.raises(errors.NotFound, match="message 7"):
        archive.get(conn, 7)
    with database.reading() as conn, pytest.raises(errors.NotFound):
        sources.whole(conn, 7)


# --- what is derived --------------------------------------------------------------------------------------------------

PARSED = Parsed(
    message_id="1@example.net",
    subject="Grüße",
    from_name="Bob",
    from_address="bob@example.net",
    to_addresses="Anna <anna@example.org>",
    body_text="Text",
    addresses=(
        AddressRow(role="from", position=0, name="Bob", address="bob@example.net"),
        AddressRow(role="to", position=0, name="Anna", address="anna@example.org"),
    ),
    attachments=(
        AttachmentRow(
            part="2",
            filename="a.pdf",
            content_type="application/pdf",
            octets=3,
            sha256="0" * 64,
            content_id=None,
            disposition="attachment",
        ),
    ),
    attachment_names="a.pdf",
    defects=("bad_date",),
)


def test_derived_columns_are_written_and_written_anew(database: Database, add: Add, now: datetime) -> None:
    (filed,) = add(b"raw")
    with database.reading() as conn:
        assert [(filed.message, 3)] == archive.unindexed(conn, 1, 10)
    for _ in range(2):
        with database.transaction() as tx:
            archive.write_parsed(tx, filed.message, PARSED, 1, now)
    with database.reading() as conn:
        assert [] == archive.unindexed(conn, 1, 10)
        assert [(filed.message, 3)] == archive.unindexed(conn, 2, 10)
        row = archive.get(conn, filed.message)
        assert ("Grüße", 1, ["bad_date"], 1) == (row.subject, row.attachment_count, row.defects, row.parser_version)
        assert ["a.pdf"] == [one.filename for one in archive.attachments(conn, filed.message)]
        assert ["bob@example.net", "anna@example.org"] == [
            one.address for one in archive.addresses_of(conn, filed.message)
        ]


def test_long_addresses_and_ids_fit(database: Database, add: Add, now: datetime) -> None:
    (filed,) = add(b"raw")
    long = "x" * 20_000
    parsed = Parsed(message_id=long, from_address=long, subject=long * 50, body_text=(long + " ") * 60,
                    addresses=(AddressRow(role="from", position=0, name=long, address=long),))  # fmt: skip
    with database.transaction() as tx:
        archive.write_parsed(tx, filed.message, parsed, 1, now)


def test_pruning_takes_the_oldest_with_all_that_is_theirs_and_leaves_the_ledger(
    database: Database, add: Add, now: datetime
) -> None:
    add(b"old", b"old too")
    add(b"new", start=5, at=now + timedelta(days=2))
    before = now + timedelta(days=1)
    with database.reading() as conn:
        assert (2, 10, 0) == prune.count(conn, before=before)
        assert [1] == prune.due(conn, before=before, limit=1)
    with database.transaction() as tx:
        assert 1 == prune.prune(tx, [1], before=before)
        assert 1 == prune.prune(tx, [1, 2, 3], before=before)
        assert [] == prune.due(tx, before=before, limit=10)
    with database.reading() as conn:
        assert [1, 1, 3] == [
            conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("messages", "message_sources", "ledger")
        ]
        assert 2 == conn.execute(text("SELECT count(*) FROM ledger WHERE message IS NULL")).scalar_one()


def test_a_header_section_proves_nothing_of_a_message(database: Database, now: datetime) -> None:
    headers = archive.Incoming(
        uidl="u", entry_octets=99, spool=Spool.of(b"A: b\r\n\r\n"), retrieved="headers", reason="big"
    )
    with database.transaction() as tx:
        (filed,) = archive.add(tx, "home", [headers], now)
    with database.reading() as conn:
        assert set() == sources.proven(conn, [filed.message])
        assert {filed.message} == sources.proven(conn, [filed.message], headers_too=True)


def test_a_header_section_stays_while_another_row_needs_it(database: Database, now: datetime) -> None:
    section = [
        archive.Incoming(uidl=uidl, entry_octets=99, spool=Spool.of(b"A: b\r\n\r\n"), retrieved="headers")
        for uidl in ("u", "v")
    ]
    whole = [archive.Incoming(uidl=uidl, entry_octets=99, spool=Spool.of(b"A: b\r\n\r\nwhole")) for uidl in ("u", "v")]
    left = []
    with database.transaction() as tx:
        archive.add(tx, "home", section, now)
        for one in whole:
            archive.add(tx, "home", [one], now)
            left.append(sorted(row.retrieved for row in archive.recent(tx, 9)))
    assert [["headers", "whole"], ["whole"]] == left
