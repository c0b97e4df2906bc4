"""What is wrong in an archive is found and named, one octet of it too."""

import hashlib
import sqlite3

import pytest
from sqlalchemy import text

from daemon.store import dictionaries, sizes, verifying, zstd
from daemon.store.database import Database
from daemon.store.packing import Packer
from tests import corpus
from tests.store.conftest import NOW
from tests.store.test_packing import store, train

SMALL = list(corpus.small(5))


def found(url: str) -> list[tuple[str, int | None]]:
    """Look at everything, as another process does; give (kind, id) of the faults."""
    database = Database(url)
    faults: list[verifying.Fault] = []
    with database.reading() as conn:
        faults += verifying.of_messages(conn, list(range(1, 100)))
        faults += verifying.of_dictionaries(conn)
        faults += verifying.of_database(conn)
        faults += verifying.of_blobs(conn, 0, 10)[0]
    database.dispose()
    assert all(one.what for one in faults)
    return [(one.kind, one.id) for one in faults]


def fill(database: Database) -> None:
    """Messages 1 as it came, 2 compressed, 3 compressed with dictionary 1; an attachment."""
    store(database, [b"a letter\r\n"], Packer("none"))
    store(database, [b"x" * 40_000], Packer())
    train(database)
    store(database, SMALL[:1], Packer())
    content = b"an attachment" * 9
    with database.transaction() as tx:
        given = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "octets": len(content),
            "frame": zstd.compressed(content),
        }
        insert = "INSERT INTO blobs (sha256, octets, encoding, content) VALUES (:sha256, :octets, 'zstd', :frame)"
        tx.execute(text(insert), given)


def flip(database: Database, table: str, where: str, place: int) -> None:
    """Turn one bit of an octet. place: of the octet in the content."""
    with database.transaction() as tx:
        content = bytearray(tx.execute(text(f"SELECT content FROM {table} WHERE {where}")).scalar_one())
        content[place] ^= 0x10
        tx.execute(text(f"UPDATE {table} SET content = :content WHERE {where}"), {"content": bytes(content)})


def test_nothing_is_wrong_with_what_is_whole(database: Database, database_url: str) -> None:
    fill(database)
    assert [] == found(database_url)
    with database.reading() as conn:
        seen = sizes.sizes(conn)
    assert 10 + 40_000 + len(SMALL[0]) == seen.raw_octets
    assert seen.stored_octets < 2000
    assert (0, False) == (seen.shared_octets, seen.is_estimate)
    assert seen.database_octets > 50_000


@pytest.mark.parametrize("place", [0, 5, -1])
@pytest.mark.parametrize(
    ("table", "where", "expected"),
    [
        ("message_sources", "message = 1", [("message", 1)]),
        ("message_sources", "message = 2", [("message", 2)]),
        ("message_sources", "message = 3", [("message", 3)]),
        ("dictionaries", "id = 1", [("message", 3), ("dictionary", 1)]),
        ("blobs", "id = 1", [("blob", 1)]),
    ],
)
def test_one_flipped_bit_is_found(
    database: Database, database_url: str, table: str, where: str, place: int, expected: list[tuple[str, int]]
) -> None:
    """Wherever it is: in octets, in a frame, in the dictionary that frames need, in a shared attachment."""
    fill(database)
    flip(database, table, where, place)
    assert expected == found(database_url)


def test_octets_that_are_gone_are_found(database: Database, database_url: str) -> None:
    fill(database)
    with database.transaction() as tx:
        tx.execute(text("DELETE FROM message_sources WHERE message = 2"))
    assert [("message", 2)] == found(database_url)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger SET message = 999",
        "DELETE FROM messages_fts_data WHERE id > 10",
        "UPDATE message_sources SET dictionary = 7 WHERE message = 3",
    ],
)
def test_what_another_program_broke_in_sqlite_is_found(sqlite_url: str, damage: str) -> None:
    """Foreign keys are off in most programs; the search index is a table like any other."""
    database = Database(sqlite_url)
    fill(database)
    with database.transaction() as tx:
        tx.execute(text("UPDATE messages SET subject = 'words', parser_version = 1"))
    database.dispose()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    other.execute(damage)
    other.commit()
    other.close()
    assert ("database", None) in found(sqlite_url)


def test_a_dictionary_that_nobody_uses_is_read_too(database: Database, database_url: str) -> None:
    with database.transaction() as tx:
        dictionaries.add(tx, zstd.trained(SMALL * 200, 4096) or b"", letters=5, now=NOW)
    flip(database, "dictionaries", "id = 1", 99)
    assert [("dictionary", 1)] == found(database_url)
