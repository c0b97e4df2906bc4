"""What is exported comes back with equal hashes; what people have in files is archived once; what is broken stops only itself."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.jobs import belongings, bringing, export
from daemon.jobs.belongings import Broken
from daemon.mail import mbox
from daemon.store import accounts, archive, schema, sources
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests import corpus
from tests.doubles.house import NOW

FORMATS = ["eml", "mbox", "maildir", "jsonl"]
LINE = mbox.from_line("bob@example.net", NOW)
NASTY = [
    b"",
    b"\n",
    b"\r",
    b"\r\n",
    b"no end",
    b"ends in CR\r",
    LINE,
    LINE[:-1],
    b">" + LINE,
    b"a\n\n\n",
    b"a\r\n\nb\r\n",
    b"\0\xff\n>From \nFrom ",
    b'{"raw": 1}\n',
]


def bring(
    database: Database, *sources: Path, account: str | None = None, form: str = "auto"
) -> tuple[bringing.Result, list[Broken]]:
    broken: list[Broken] = []
    done = bringing.bring_in(
        database, sources, account=account, form=form, now=lambda: NOW, stop=threading.Event(), complain=broken.append
    )
    return done, broken


def store(database: Database, contents: list[bytes], account: str = "home") -> None:
    with database.transaction() as tx:
        archive.bring_in(tx, account, [archive.Brought(Spool.of(one)) for one in contents], NOW)


def hashes(database: Database) -> list[tuple[str, str]]:
    t = schema.messages.c
    with database.reading() as conn:
        return [
            tuple(row)
            for row in conn.execute(
                schema.messages.select().with_only_columns(t.account, t.sha256).order_by(t.account, t.sha256)
            )
        ]


def empty(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(schema.messages.delete())


def everything_reads_back(database: Database) -> bool:
    with database.reading() as conn:
        ids = archive.ids(conn, limit=10_000)
        return set(ids) == sources.proven(conn, ids, headers_too=True)


# --- out and in again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("told", [True, False], ids=["told", "found out"])
def test_what_goes_out_comes_back_with_equal_hashes(
    database: Database, tmp_path: Path, form: str, *, told: bool
) -> None:
    store(database, [*NASTY, *(one.octets for one in corpus.letters(len(corpus.SHAPES)))])
    store(database, NASTY[:3], "work")
    before = hashes(database)
    export.export(database, form=form, path=tmp_path / f"out.{form}", accounts=[] if form == "jsonl" else ["home"])
    empty(database)
    if form != "jsonl":  # which brings each account's own back
        store(database, NASTY[:3], "work")
    done, broken = bring(
        database, tmp_path / f"out.{form}", account=None if form == "jsonl" else "home", form=form if told else "auto"
    )
    assert [] == broken
    assert before == hashes(database)
    assert everything_reads_back(database)
    again, _ = bring(database, tmp_path / f"out.{form}", account=None if form == "jsonl" else "home")
    assert (0, done.new) == (again.new, again.known)


@given(
    contents=st.lists(st.lists(st.sampled_from(NASTY) | st.binary(max_size=30)).map(b"".join), max_size=4, unique=True),
    form=st.sampled_from(FORMATS),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_octets_come_back(
    sqlite_url: str, tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], form: str
) -> None:
    path = tmp_path_factory.mktemp("out") / "out"
    database = Database(sqlite_url)
    empty(database)
    store(database, contents)
    before = hashes(database)
    export.export(database, form=form, path=path)
    empty(database)
    _, broken = bring(database, path, account="home", form=form)
    assert ([], before) == (broken, hashes(database))
    database.dispose()


@pytest.mark.parametrize("form", FORMATS)
def test_a_large_message_is_never_held_whole(
    sqlite_url: str, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks, parts and the line of JSON are all smaller than it, and cut it at odd places."""
    monkeypatch.setattr(belongings, "BLOCK_OCTETS", 65_536)
    monkeypatch.setattr(belongings, "MAX_LINE_OCTETS", 65_536)
    monkeypatch.setattr(mbox, "BLOCK_OCTETS", 65_535)
    large = (b">From here\r\n" * 7 + b"x" * 70_000 + b"\n" + LINE) * 70 + b">" * 100_001
    database = Database(sqlite_url)
    store(database, [large, b"small"])
    before = hashes(database)
    export.export(database, form=form, path=tmp_path / "out")
    empty(database)
    assert [] == bring(database, tmp_path / "out", account="home", form=form)[1]
    assert before == hashes(database)
    database.dispose()


# --- what people have -----------------------------------------------------------------------------------------------


def test_a_directory_of_all_kinds_is_understood(database: Database, tmp_path: Path) -> None:
    for path, octets in {
        "Mail/cur/1.host:2,S": b"Subject: in cur\n\n",
        "Mail/new/2.host": b"Subject: in new\n\n",
        "Mail/tmp/3.host": b"Subject: never delivered\n\n",
        "Mail/.Sent.2025/cur/4.host:2,RS": b"Subject: in a folder\n\n",
        "Mail/.Sent.2025/maildirfolder": b"",
        "Mail/dovecot.index": b"no mail",
        "Takeout/All mail.mbox": b"From 1@xxx Mon Nov 23 12:00:00 +0000 2026\r\nX-GM-THRID: 1\r\nX-Gmail-Labels: Inbox\r\n\r\nhello\r\n\r\n",
        "Takeout/archive_browser.html": b"<html>",
        "old/inbox": LINE + b"Subject: by its first line\n\n\n",
        "old/letter": b"Subject: by its header\n\n",
        "old/.hidden": b"Subject: hidden\n\n",
        "one.eml": LINE + b"Subject: an eml that begins so\n\n",
    }.items():
        (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / path).write_bytes(octets)
    (tmp_path / "files" / "loop").symlink_to(tmp_path / "files")
    done, broken = bring(database, tmp_path / "files", account="old")
    assert ([], 7, 0, 1) == (broken, done.new, done.known, done.no_mail)
    with database.reading() as conn:
        found = {sources.whole(conn, one) for one in archive.ids(conn, limit=99)}
        assert ["old"] == [one.name for one in accounts.all(conn)]
    assert b"X-GM-THRID: 1\r\nX-Gmail-Labels: Inbox\r\n\r\nhello\r\n" in found
    assert LINE + b"Subject: an eml that begins so\n\n" in found
    assert not any(b"never" in one or b"hidden" in one for one in found)


def test_the_ledger_does_not_hear_of_it(database: Database, tmp_path: Path) -> None:
    """A server that does not list what was imported has lost nothing."""
    (tmp_path / "one.eml").write_bytes(b"Subject: x\n\n")
    bring(database, tmp_path / "one.eml", account="home")
    with database.reading() as conn:
        assert [] == conn.execute(schema.ledger.select()).all()


def test_what_is_fetched_later_is_linked_to_what_was_imported(database: Database, tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(b"Subject: x\r\n\r\n")
    bring(database, tmp_path / "one.eml", account="home")
    with database.transaction() as tx:
        (filed,) = archive.add(tx, "home", [archive.Incoming(uidl="u", spool=Spool.of(b"Subject: x\r\n\r\n"))], NOW)
    assert (1, False) == (filed.message, filed.is_new)


# --- what is broken -------------------------------------------------------------------------------------------------


def test_broken_lines_stop_only_themselves(database: Database, tmp_path: Path) -> None:
    good = {"account": "home", "uidl": "u1", "raw": "YQ=="}
    lines = [
        json.dumps(good),
        "",
        "{",
        "[]",
        "[" * 100_000,
        "{}",
        json.dumps(good | {"raw": "Y"}),
        json.dumps(good | {"sha256": "0" * 64}),
        json.dumps({"raw": "Yg=="}),
        json.dumps(good | {"account": "a\0b", "raw": "Yw=="}),
        json.dumps(good | {"raw": "ZA==", "retrieved": "headers"}),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done, broken = bring(database, tmp_path / "in.jsonl")
    assert {"home": 2} == {name: new for name, new in done.accounts.items() if "\0" not in name}
    numbers = [int(one.place.rpartition(" ")[2]) for one in broken]
    assert [3, 4, 5, 6, 7, 8, 9] == numbers[:7]
    with database.reading() as conn:
        assert [("u1", "whole"), ("u1", "headers")] == [
            (one.uidl, one.retrieved)
            for one in (archive.get(conn, key) for key in archive.ids(conn, account="home", limit=9))
        ]


def test_what_is_no_mail_is_named(database: Database, tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"to do: everything, and more\n"[6:])
    (tmp_path / "in.mbox").write_bytes(b"not yet\n" + LINE + b"a\n\n")
    done, broken = bring(database, tmp_path / "notes", tmp_path / "in.mbox", account="home")
    assert ["notes", "in.mbox, octet 0"] == [one.place.rpartition("/")[2] for one in broken]
    assert 1 == done.new


def test_it_stops_between_two_transactions_and_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "MESSAGES_A_TRANSACTION", 2)
    (tmp_path / "in.mbox").write_bytes(b"".join(LINE + b"%d\n\n" % number for number in range(9)))
    stop = threading.Event()
    first = bringing.bring_in(
        database, [tmp_path / "in.mbox"], account="home", now=lambda: NOW, stop=stop,
        progress=lambda octets: stop.set() if octets >= 8 else None,
    )  # fmt: skip
    assert 4 == first.new
    done, _ = bring(database, tmp_path / "in.mbox", account="home")
    assert (5, 4) == (done.new, done.known)
