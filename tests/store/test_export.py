"""Exported files hold the archived octets, appear whole, and overwrite nothing."""

import json
import mailbox
from pathlib import Path

import pytest

from daemon import errors
from daemon.mail.message import Parsed
from daemon.store import archive, export, search
from daemon.store.database import Database
from tests.store.conftest import NOW, Add

LETTERS = [
    b"From: bob@example.net\r\nSubject: a/b ../c\r\n\r\nFrom here\r\n>From there\r\nText\r\n",
    b"Subject: bare\n\nLF\n\x00\xff",
    b"",
]


@pytest.fixture
def ids(database: Database, add: Add) -> list[int]:
    filed = add(*LETTERS)
    with database.transaction() as tx:
        archive.write_parsed(
            tx, filed[0].message, Parsed(subject="a/b ../c: ü", from_address="bob@example.net"), 1, NOW
        )
    with database.reading() as conn:
        return list(search.ids(conn))


def write(database: Database, ids: list[int], form: str, destination: Path) -> int:
    with database.reading() as conn:
        return export.write(conn, ids, format=form, destination=destination)


def test_eml_files_hold_the_octets(database: Database, ids: list[int], tmp_path: Path) -> None:
    assert 3 == write(database, ids, "eml", tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert ["00000001-a-b-..-c-ü.eml", "00000002.eml", "00000003.eml"] == [path.name for path in files]
    assert LETTERS == [path.read_bytes() for path in files]


def test_a_maildir_holds_the_octets_and_can_be_written_again(
    database: Database, ids: list[int], tmp_path: Path
) -> None:
    for _ in range(2):
        assert 3 == write(database, ids, "maildir", tmp_path / "out")
    assert sorted(LETTERS) == sorted(path.read_bytes() for path in (tmp_path / "out" / "cur").iterdir())
    assert 3 == len(mailbox.Maildir(tmp_path / "out", create=False))


def test_an_mbox_quotes_from_lines(database: Database, ids: list[int], tmp_path: Path) -> None:
    assert 3 == write(database, ids, "mbox", tmp_path / "out.mbox")
    text = (tmp_path / "out.mbox").read_bytes()
    assert 3 == text.count(b"\nFrom ") + text.startswith(b"From ")
    assert b"\n>From here\n>>From there\nText\n\n" in text
    assert b"\r" not in text


def test_json_lines_hold_the_columns(database: Database, ids: list[int], tmp_path: Path) -> None:
    assert 3 == write(database, ids, "jsonl", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [("a/b ../c: ü", 1), (None, 2), (None, 3)] == [(row["subject"], row["id"]) for row in rows]
    assert rows[0]["archived_at"].endswith("Z")


@pytest.mark.parametrize("form", ["eml", "mbox", "jsonl"])
def test_nothing_is_overwritten(database: Database, ids: list[int], tmp_path: Path, form: str) -> None:
    write(database, ids, form, tmp_path / "out")
    with pytest.raises(errors.InputInvalid, match="is there already"):
        write(database, ids, form, tmp_path / "out")


def test_a_file_appears_whole_or_not_at_all(database: Database, ids: list[int], tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        write(database, [*ids, 99], "mbox", tmp_path / "out.mbox")
    with pytest.raises(errors.InputInvalid, match="nowhere"):
        write(database, ids, "mbox", tmp_path / "nowhere" / "out.mbox")
    with pytest.raises(errors.InputInvalid, match="not known"):
        write(database, ids, "pst", tmp_path / "out.pst")
    assert [] == [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]
