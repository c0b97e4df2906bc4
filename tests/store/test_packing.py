"""How octets are stored: whatever the setting, they come back as they came, or it is said that they do not."""

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store import archive, dictionaries, sources, zstd
from daemon.store.database import Database
from daemon.store.packing import SMALL_OCTETS, Packer
from daemon.wire.spool import Spool
from tests import corpus
from tests.store.conftest import NOW

SMALL = list(corpus.small(60))
LARGE = corpus.letters(15)
CONTENTS = [
    b"x" * SMALL_OCTETS,
    b"x" * (SMALL_OCTETS + 1),
    bytes(range(256)) * 20,
    b"",
    b"\r\n",
    *(one.octets for one in corpus.letters(len(corpus.SHAPES))),
]


def train(database: Database) -> None:
    content = zstd.trained(SMALL * 20, 8192)
    assert content is not None
    with database.transaction() as tx:
        dictionaries.add(tx, content, letters=len(SMALL), now=NOW)


def store(database: Database, contents: list[bytes], packer: Packer) -> list[int]:
    """Archive contents as a packer that knows the newest dictionary stores them; give their ids."""
    with database.transaction() as tx:
        packer.learn(tx)
        incoming = [archive.Incoming(uidl=str(n), spool=Spool.of(one)) for n, one in enumerate(contents)]
        return [one.message for one in archive.add(tx, "home", incoming, NOW, packer)]


def stored(database: Database) -> set[tuple[str, bool]]:
    """Give the (encoding, whether with a dictionary) that there are."""
    with database.reading() as conn:
        rows = conn.execute(text("SELECT DISTINCT encoding, dictionary IS NOT NULL FROM message_sources"))
        return {(encoding, bool(trained)) for encoding, trained in rows}


def test_octets_of_all_kinds_are_read_beside_each_other(database: Database) -> None:
    """Everyday letters are in a tenth of the room, and no reader notices."""
    ids = store(database, CONTENTS[: len(CONTENTS) // 2], Packer("none"))
    ids += store(database, CONTENTS[len(CONTENTS) // 2 :], Packer())
    train(database)
    ids += store(database, SMALL, Packer())
    assert {("identity", False), ("zstd", False), ("zstd", True)} == stored(database)
    expected = dict(zip(ids, CONTENTS + SMALL, strict=True))
    with database.reading() as conn:
        assert expected == sources.several(conn, ids)
        assert expected == {one: sources.whole(conn, one) for one in ids}
        assert {one: octets[:700] for one, octets in expected.items()} == dict(sources.heads(conn, ids, 700))
        assert set(ids) == sources.proven(conn, ids)
        query = text("SELECT sum(length(content)), sum(octets) FROM message_sources WHERE dictionary IS NOT NULL")
        small, octets = conn.execute(query).one()
    assert octets > 8 * small


def test_a_large_message_is_compressed_in_its_parts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCE_PART_OCTETS", 100_000)
    content = b"".join(corpus.small(120))
    (message,) = store(database, [content], Packer())
    with database.reading() as conn:
        parts = list(sources.parts(conn, message))
        assert {message} == sources.proven(conn, [message])
        assert [(message, content[:100])] == list(sources.heads(conn, [message], 100))
    assert content == b"".join(parts)
    assert 4 == len(parts)
    assert {("zstd", False)} == stored(database)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE message_sources SET content = substr(content, 1, 60) WHERE message = :id",
        "UPDATE message_sources SET content = :octets WHERE message = :id",
        "UPDATE message_sources SET octets = octets - 1 WHERE message = :id",
        "UPDATE message_sources SET dictionary = NULL WHERE message = :id",
        "UPDATE dictionaries SET content = :octets",
    ],
)
def test_what_can_t_be_read_is_not_proven_and_stops_no_other(
    database: Database, database_url: str, damage: str
) -> None:
    (plain,) = store(database, [b"a letter\r\n"], Packer("none"))
    train(database)
    (broken,) = store(database, SMALL[:1], Packer())
    with database.transaction() as tx:
        given = {"id": broken, "octets": b"rotten"}
        tx.execute(text(damage), {name: value for name, value in given.items() if f":{name}" in damage})
    another = Database(database_url)  # the first one remembers the dictionary as it was
    with another.reading() as conn:
        assert {plain} == sources.proven(conn, [plain, broken])
        assert {plain: b"a letter\r\n", broken: b""} == sources.several(conn, [plain, broken])
        assert b"a letter" == dict(sources.heads(conn, [plain, broken], 8))[plain]
        with pytest.raises(errors.OctetsBroken, match=f"message {broken}: part 0"):
            sources.whole(conn, broken)
    another.dispose()


def test_a_dictionary_is_kept_while_letters_need_it(database: Database) -> None:
    train(database)
    (message,) = store(database, SMALL[:1], Packer())
    with pytest.raises(errors.RowRefused), database.transaction() as tx:
        tx.execute(text("DELETE FROM dictionaries"))
    with database.transaction() as tx:
        tx.execute(text("DELETE FROM messages WHERE id = :id"), {"id": message})
        tx.execute(text("DELETE FROM dictionaries"))


def test_a_dictionary_needs_letters_with_something_in_common() -> None:
    assert zstd.trained([b"one", b"two"], 1024) is None
    with pytest.raises(zstd.Broken):
        zstd.Dictionary(b"")
