"""Attachments that repeat stand in the database once, and every letter is at every instant what came."""

import base64
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from daemon import errors
from daemon.jobs import index, pack, share
from daemon.jobs.context import Context
from daemon.store import archive, holds, sharing, sizes, sources, verifying
from daemon.store.database import Database
from daemon.store.packing import Packer
from daemon.store.sharing import Cut, Piece
from daemon.wire.spool import Spool
from tests.doubles import house

FILE = Random("a file").randbytes(50_000)
LOGO = Random("a logo").randbytes(20_000)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(share, "PAUSE_SECONDS", 0.0)


def encoded(octets: bytes, *, line: int = 76, end: bytes = b"\r\n") -> bytes:
    letters = base64.b64encode(octets)
    return end.join(letters[start : start + line] for start in range(0, len(letters), line))


def attached(*files: bytes, subject: str = "files", end: bytes = b"\r\n") -> bytes:
    """Make a letter with files that are encoded already."""
    lines = [f"Subject: {subject}".encode(), b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="b"', b""]
    lines += [b"--b", b"Content-Type: text/plain", b"", b"A text."]
    for file in files:
        lines += [b"--b", b"Content-Type: application/octet-stream", b"Content-Disposition: attachment; filename=f.bin"]
        lines += [b"Content-Transfer-Encoding: base64", b"", file]
    return end.join([*lines, b"--b--", b""])


def forwarded(letter: bytes) -> bytes:
    head = [b"Subject: Fwd", b'Content-Type: multipart/mixed; boundary="outer"', b"", b"--outer"]
    return b"\r\n".join([*head, b"Content-Type: message/rfc822", b"", letter, b"--outer--", b""])


def fill(context: Context, *contents: bytes, start: int = 0) -> list[int]:
    """Archive letters and index them."""
    with context.database.transaction() as tx:
        incoming = [archive.Incoming(uidl=str(n), spool=Spool.of(one)) for n, one in enumerate(contents, start)]
        ids = [one.message for one in archive.add(tx, "home", incoming, house.NOW, context.packer)]
    index.index(context.database, now=context.clock, stop=threading.Event(), progress=lambda: None)
    return ids


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def assert_whole(database: Database, expected: dict[int, bytes]) -> None:
    """Every reader gives what came."""
    ids = list(expected)
    with database.reading() as conn:
        assert expected == sources.several(conn, ids)
        assert expected == {one: b"".join(sources.parts(conn, one)) for one in ids}
        assert {one: octets[100:9000] for one, octets in expected.items()} == {
            one: sources.span(conn, one, 100, 9000) for one in ids
        }
        assert {one: octets[:60] for one, octets in expected.items()} == dict(sources.heads(conn, ids, 60))
        assert set(ids) == sources.proven(conn, ids)


def users(database: Database) -> list[tuple[Any, ...]]:
    """Give (blob, how many parts are made of it)."""
    query = "SELECT b.id, count(s.message) FROM blobs b LEFT JOIN message_sources s ON s.blob = b.id"
    return rows(database, f"{query} GROUP BY b.id ORDER BY b.id")


def test_an_attachment_that_comes_again_is_stored_once(context: Context) -> None:
    """However many letters have it, one after the other; whoever has it not stays as it is."""
    letters = [attached(encoded(FILE), subject=str(n)) for n in range(3)]
    other = attached(encoded(LOGO))
    ids = fill(context, letters[0], other)
    pack.pack(context)
    assert [] == users(context.database)
    ids += fill(context, letters[1], start=2)
    packed = pack.pack(context)
    assert 6 == packed.parts
    assert packed.after < packed.before * 0.52
    assert [2] == [count for _, count in users(context.database)]
    ids += fill(context, letters[2], start=3)
    pack.pack(context)
    assert [3] == [count for _, count in users(context.database)]
    assert_whole(context.database, dict(zip(ids, [letters[0], other, *letters[1:]], strict=True)))
    assert pack.Packing() == pack.pack(context)
    with context.database.reading() as conn:
        seen = sizes.sizes(conn)
    assert 3 * len(encoded(FILE)) == seen.shared_octets
    assert 50_000 < seen.shared_stored_octets < 55_000
    assert seen.stored_octets < 90_000


def test_a_blob_goes_with_its_last_user(context: Context) -> None:
    """Whether a letter is deleted by plain SQL, or stored in another way."""
    ids = fill(context, *(attached(encoded(FILE), encoded(LOGO), subject=str(n)) for n in range(3)))
    pack.pack(context)
    assert [3, 3] == [count for _, count in users(context.database)]
    delete = "DELETE FROM messages WHERE id = :id"
    own = "UPDATE message_sources SET encoding = 'identity', blob = NULL WHERE message = :id AND part = 1"
    counts = []
    for statement, message in ((delete, ids[0]), (own, ids[1]), (own, ids[2]), (delete, ids[1]), (delete, ids[2])):
        with context.database.transaction() as tx:
            tx.execute(text(statement), {"id": message})
        counts.append([count for _, count in users(context.database)])
    assert [[2, 2], [2, 1], [2], [1], []] == counts


def test_a_blob_that_is_used_can_t_be_deleted(context: Context) -> None:
    fill(context, *(attached(encoded(FILE), subject=str(n)) for n in range(2)))
    pack.pack(context)
    with pytest.raises(errors.RowRefused), context.database.transaction() as tx:
        tx.execute(text("DELETE FROM blobs"))
    if context.database.kind == "sqlite":
        assert context.database.file is not None
        other = sqlite3.connect(context.database.file)  # its foreign keys are off
        with pytest.raises(sqlite3.IntegrityError, match="blobs: messages have their octets from this one"):
            other.execute("DELETE FROM blobs")
        other.close()


def test_what_is_on_hold_is_shared_and_kept(context: Context) -> None:
    letters = [attached(encoded(FILE), subject=str(n)) for n in range(2)]
    ids = fill(context, *letters)
    with context.database.transaction() as tx:
        holds.add(tx, account="home", query=None, reason="a case", now=house.NOW)
    pack.pack(context)
    assert [2] == [count for _, count in users(context.database)]
    with pytest.raises(errors.RowRefused), context.database.transaction() as tx:
        tx.execute(text("DELETE FROM message_sources"))
    assert_whole(context.database, dict(zip(ids, letters, strict=True)))


def test_nothing_is_shared_where_plain_sql_is_to_read_it(context: Context) -> None:
    """With POSTROOM_COMPRESSION=none octets stand in their letters again, and set back they are shared again."""
    letters = [attached(encoded(FILE), encoded(LOGO), subject=str(n)) for n in range(3)]
    ids = fill(context, *letters)
    plain = replace(context, packer=Packer("none"))
    pack.pack(plain)
    assert [] == users(context.database)
    pack.pack(context)
    assert [3, 3] == [count for _, count in users(context.database)]
    pack.pack(plain)
    assert [] == users(context.database)
    whole: dict[int, bytes] = dict.fromkeys(ids, b"")
    for message, content in rows(
        context.database, "SELECT message, content FROM message_sources ORDER BY message, part"
    ):
        whole[message] += content
    assert dict(zip(ids, letters, strict=True)) == whole
    with context.database.transaction() as tx:  # what was cut for two attachments has one in common now
        tx.execute(text("DELETE FROM attachments WHERE part = '2' AND message <> :id"), {"id": ids[0]})
    pack.pack(context)
    assert [3] == [count for _, count in users(context.database)]
    assert_whole(context.database, dict(zip(ids, letters, strict=True)))


def test_a_large_attachment_is_shared_in_pieces(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it begins in its letter; more of what a letter shares is cut out later."""
    for module in (sources, sharing):
        monkeypatch.setattr(module, "SOURCE_PART_OCTETS", 24_000)
    letters = [attached(encoded(LOGO), encoded(FILE), subject="x" * 5000 * n) for n in range(1, 3)]
    letters.append(forwarded(attached(encoded(LOGO), subject="alone")))
    ids = fill(context, *letters[:2])
    with context.database.transaction() as tx:
        tx.execute(text("UPDATE attachments SET octets = 1 WHERE octets = 20000"))
    pack.pack(context)
    assert [2, 2, 2] == [count for _, count in users(context.database)]
    assert 24_000 == rows(context.database, "SELECT max(octets) FROM message_sources")[0][0]
    with context.database.transaction() as tx:
        tx.execute(text("UPDATE attachments SET octets = 20000 WHERE octets = 1"))
        tx.execute(text("DELETE FROM passes"))
    ids += fill(context, letters[2], start=2)
    pack.pack(context)
    assert [2, 2, 2, 3, 3] == sorted(count for _, count in users(context.database))
    assert_whole(context.database, dict(zip(ids, letters, strict=True)))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE blobs SET content = x'00'", ["message", "message", "blob"]),
        ("DROP TRIGGER blobs_kept; DELETE FROM blobs", ["message"] * 2),
    ],
)
def test_a_broken_blob_is_named_with_the_messages_that_need_it(
    sqlite_url: str, damage: str, expected: list[str]
) -> None:
    """One that is gone, too."""
    database = Database(sqlite_url)
    context = house.context(database, house.Clock())
    ids = fill(context, *(attached(encoded(FILE), subject=str(n)) for n in range(2)), attached(encoded(LOGO)))
    pack.pack(context)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    other.executescript(damage)
    other.close()
    with database.reading() as conn:
        faults = [*verifying.of_messages(conn, ids), *verifying.of_blobs(conn, 0, 10)[0]]
        assert expected == [one.kind for one in faults]
        assert ids[:2] == [one.id for one in faults[:2]]
        assert all("part 1 can't be read" in one.what for one in faults[:2])
        assert all("needed by messages 1, 2" in one.what for one in faults[2:])
    database.dispose()


# --- whatever comes -------------------------------------------------------------------------------------------------

BODIES = st.builds(
    lambda file, line, end, cut, tail: encoded(file, line=line, end=end)[: -cut or None] + tail,
    st.sampled_from([FILE, LOGO]),
    st.sampled_from([76, 72, 60, 10_000]),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.sampled_from([0, 1, 2, 3, 80]),
    st.sampled_from([b"", b"\r\n\r\n", b"\n", b"==", b"\r\n" * 600, b"\r\n--c", b"\xff"]),
)
LETTERS = st.builds(
    lambda files, subject, end, nested: (forwarded if nested else bytes)(attached(*files, subject=subject, end=end)),
    st.lists(BODIES, min_size=1, max_size=3),
    st.sampled_from(["a", "b", "c", "d" * 3000]),
    st.sampled_from([b"\r\n", b"\n"]),
    st.booleans(),
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(letters=st.lists(LETTERS, min_size=2, max_size=5, unique=True), part=st.sampled_from([9000, 30_000, 4_194_304]))
def test_letters_of_all_kinds_come_out_as_they_came(
    letters: list[bytes], part: int, sqlite_template: Path, tmp_path: Path
) -> None:
    """Other line ends, line lengths, truncated, nested, twice in one letter, in parts of any size."""
    shutil.copyfile(sqlite_template, tmp_path / "letters.db")
    database = Database(f"sqlite:///{tmp_path}/letters.db")
    with pytest.MonkeyPatch.context() as patched:
        for module in (sources, sharing):
            patched.setattr(module, "SOURCE_PART_OCTETS", part)
        context = house.context(database, house.Clock())
        ids = fill(context, *letters[:-1])
        pack.pack(context)
        ids += fill(context, letters[-1], start=len(letters))
        pack.pack(context)
        expected = dict(zip(ids, letters, strict=True))
        with database.reading() as conn:
            assert expected == sources.several(conn, ids)
            assert set(ids) == sources.proven(conn, ids)
        assert pack.Packing() == pack.pack(context)
    database.dispose()


@given(
    parts=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=8, unique=True),
)
def test_no_part_is_written_over_what_is_still_to_be_read(parts: list[tuple[int, bool]], cuts: list[int]) -> None:
    """Written from the last to the first, each is made of octets that stand in old parts of its number and below."""
    now = Cut([octets for octets, _ in parts], [is_shared for _, is_shared in parts])
    places = sorted(cuts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sharing, "SOURCE_PART_OCTETS", 60)
        found = sharing.pieces(now, zip(places[::2], places[1::2], strict=False))
    assert [0, *(one.end for one in found)] == [*(one.start for one in found), sum(now.octets)]
    assert all(0 < one.end - one.start <= 60 for one in found)
    assert len(found) >= len(parts)
    begins = [sum(now.octets[:number]) for number in range(len(parts))]
    assert all(piece.start <= begin for piece, begin in zip(found, begins, strict=False))
    for begin, (octets, is_shared) in zip(begins, parts, strict=True):
        if is_shared:
            within = [one for one in found if one.start < begin + octets and one.end > begin]
            assert all(one.is_shared for one in within)
    assert [Piece(0, 60, is_shared=False)] == sharing.pieces(Cut([60], [False]), [(0, 30), (50, 70)])
