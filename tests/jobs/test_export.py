"""Exported files hold the archived octets, appear whole, overwrite nothing, and go on where a kill cut them short."""

import json
import mailbox
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.jobs import export
from daemon.jobs.destination import Journal
from daemon.mail.message import Parsed
from daemon.store import archive, sources
from daemon.store import export as store_export
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.doubles.house import NOW
from tests.doubles.kills import Killed

LETTERS = [
    b"From: bob@example.net\r\nSubject: a/b ../c\r\n\r\nFrom here\r\n>From there\r\nText\r\n",
    b"Subject: bare\n\nLF\n\x00\xff",
    b"",
]
FORMATS = ["eml", "mbox", "maildir", "jsonl"]


@pytest.fixture
def letters(database: Database) -> Database:
    """An archive of three."""
    with database.transaction() as tx:
        archive.bring_in(tx, "home", [archive.Brought(Spool.of(one)) for one in LETTERS], NOW)
        archive.write_parsed(tx, 1, Parsed(subject="a/b ../c: ü", from_address="bob@example.net", sent_at=NOW), 1, NOW)
    return database


def take(database: Database, form: str, path: Path, query: str | None = None) -> tuple[int, int]:
    done = export.export(database, form=form, path=path, query=query)
    return done.written, done.there


def files(path: Path) -> dict[str, bytes]:
    """Everything under a place, by name."""
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(one.relative_to(path.parent)): one.read_bytes() for one in found}


def test_eml_files_hold_the_octets(letters: Database, tmp_path: Path) -> None:
    assert (3, 0) == take(letters, "eml", tmp_path / "out")
    names = ["out/00000001-a-b-..-c-ü.eml", "out/00000002.eml", "out/00000003.eml"]
    assert dict(zip(names, LETTERS, strict=True)) == files(tmp_path / "out")


def test_a_maildir_holds_the_octets_and_can_be_written_again(letters: Database, tmp_path: Path) -> None:
    assert (3, 0) == take(letters, "maildir", tmp_path / "out")
    assert (0, 3) == take(letters, "maildir", tmp_path / "out")
    assert sorted(LETTERS) == sorted(path.read_bytes() for path in (tmp_path / "out" / "cur").iterdir())
    assert ["S"] * 3 == [one.get_flags() for one in mailbox.Maildir(tmp_path / "out", create=False)]


def test_a_maildir_message_that_was_read_meanwhile_is_not_written_again(letters: Database, tmp_path: Path) -> None:
    take(letters, "maildir", tmp_path / "out")
    for path in list((tmp_path / "out" / "cur").iterdir()):
        path.rename(path.with_name(path.name.replace(":2,S", ":2,FS")))
    take(letters, "maildir", tmp_path / "out")
    assert 3 == len(files(tmp_path / "out"))


def test_an_mbox_quotes_from_lines_and_keeps_line_ends(letters: Database, tmp_path: Path) -> None:
    take(letters, "mbox", tmp_path / "out.mbox")
    first = LETTERS[0].replace(b"From here", b">From here").replace(b">From there", b">>From there")
    text = (tmp_path / "out.mbox").read_bytes()
    assert text.startswith(b"From bob@example.net Mon Nov 23 12:00:00 2026\n" + first + b"\nFrom MAILER-DAEMON ")
    read = mailbox.mbox(tmp_path / "out.mbox", create=False)
    assert 3 == len(read)
    read.close()


def test_json_lines_hold_columns_and_octets(letters: Database, tmp_path: Path) -> None:
    take(letters, "jsonl", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [("a/b ../c: ü", 1), (None, 2), (None, 3)] == [(row["subject"], row["id"]) for row in rows]
    assert ["home"] * 3 == [row["account"] for row in rows]


@pytest.mark.parametrize("form", ["eml", "mbox", "jsonl"])
def test_nothing_is_overwritten(letters: Database, tmp_path: Path, form: str) -> None:
    take(letters, form, tmp_path / "out")
    before = files(tmp_path / "out")
    with pytest.raises(errors.InputInvalid, match="is there already; nothing is overwritten"):
        take(letters, form, tmp_path / "out")
    assert before == files(tmp_path / "out")


def test_what_can_not_be_is_refused(letters: Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        take(letters, "mbox", tmp_path / "nowhere" / "out.mbox")
    with pytest.raises(errors.InputInvalid, match="not known"):
        take(letters, "pst", tmp_path / "out.pst")
    assert [] == list(tmp_path.glob("*out*"))


# --- cut short ------------------------------------------------------------------------------------------------------


@pytest.fixture
def killed_at_the_second(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The second message ends the process in its middle; each message is safe at once."""
    plain = sources.parts

    def broken(conn: Any, message: int) -> Iterator[bytes]:
        for part in plain(conn, message):
            yield part[:10]
            if message == 2:
                raise Killed
            yield part[10:]

    with monkeypatch.context() as patch:
        patch.setattr(store_export, "SMALL_OCTETS", -1)
        patch.setattr(export, "MESSAGES_A_TRANSACTION", 1)
        patch.setattr(export, "SAVED_EVERY_SECONDS", 0.0)
        patch.setattr(sources, "parts", broken)
        yield patch


@pytest.mark.parametrize("form", FORMATS)
def test_it_goes_on_where_it_was_cut_short(
    letters: Database, tmp_path: Path, form: str, killed_at_the_second: pytest.MonkeyPatch
) -> None:
    """No message twice, no half file under a name of its own; the end is that of a run in one go."""
    with pytest.raises(Killed):
        take(letters, form, tmp_path / "out")
    named = [name for name in files(tmp_path) if "out" in name.split("/") and "/tmp/" not in name and "/." not in name]
    assert (1 if form in {"eml", "maildir"} else 0) == len(named)
    killed_at_the_second.undo()
    assert (2, 1) == take(letters, form, tmp_path / "out")
    take(letters, form, tmp_path / "once")
    assert list(files(tmp_path / "once").values()) == list(files(tmp_path / "out").values())
    assert [] == [name for name in files(tmp_path) if "/." in name]


@pytest.mark.parametrize("form", ["eml", "mbox", "jsonl"])
def test_what_is_under_way_is_not_mixed_with_something_else(
    letters: Database, tmp_path: Path, form: str, killed_at_the_second: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        take(letters, form, tmp_path / "out")
    before = files(tmp_path)
    with pytest.raises(errors.InputInvalid, match="unfinished export of something else"):
        take(letters, form, tmp_path / "out", "-subject:nothing")
    assert before == files(tmp_path)


@pytest.mark.parametrize("form", FORMATS)
def test_a_message_whose_octets_are_gone_stops_only_itself(letters: Database, tmp_path: Path, form: str) -> None:
    with letters.transaction() as tx:
        tx.execute(text("DELETE FROM message_sources WHERE message = 2"))
        tx.execute(text(f"UPDATE messages SET sha256 = '{'0' * 64}' WHERE id = 3"))
    done = export.export(letters, form=form, path=tmp_path / "out")
    assert (1, (2, 3)) == (done.written, done.broken)
    assert 1 == len(files(tmp_path / "out"))


def test_two_at_once_are_refused(letters: Database, tmp_path: Path) -> None:
    journal = Journal(tmp_path / ".out.journal", {})
    with pytest.raises(errors.Busy, match="another postroom"):
        take(letters, "mbox", tmp_path / "out")
    journal.close()


def test_a_journal_whose_last_line_was_cut_counts_until_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"a": 1}\n{"message": 1, "octets": 5}\n{"mess')
    journal = Journal(path, {"a": 1})
    assert {"message": 1, "octets": 5} == journal.state
    journal.note(message=2)
    journal.close()
    journal = Journal(path, {"a": 1})
    assert {"message": 2} == journal.state
    journal.close()
