"""A real Datasette, told what deploy/datasette says, reads an archive beside those who write into it."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from daemon.demo import letters
from daemon.mail import parse
from daemon.store import accounts, archive, upgrade
from daemon.store.database import Database
from daemon.store.dialect.views import VIEWS
from daemon.store.schema import METADATA
from daemon.wire.spool import Spool
from tests.conftest import require_server

ROOT = Path(__file__).parents[2]
DATASETTE = ROOT / ".cache/datasette/bin/datasette"  # put there by .ci/datasette
NOW = datetime(2026, 11, 25, tzinfo=UTC)
START_SECONDS = 60.0

Ask = Callable[..., Any]


def put(database: Database, *contents: bytes) -> None:
    """Archive and index."""
    with database.transaction() as tx:
        filed = archive.add(
            tx, "home", [archive.Incoming(uidl=str(hash(one)), spool=Spool.of(one)) for one in contents], NOW
        )
        parsed = [(one.message, parse.parse(content)) for one, content in zip(filed, contents, strict=True)]
        archive.write_all_parsed(tx, parsed, 1, NOW)


@pytest.fixture(scope="module")
def house(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, str]]:
    """An archive with the sample mail, and the address of a Datasette that reads it."""
    require_server("Datasette", present=DATASETTE.exists())
    path = tmp_path_factory.mktemp("datasette") / "postroom.db"
    shutil.copyfile(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
    put(database, *letters.sample())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = ROOT / "deploy/datasette/metadata.yaml"
    command = [str(DATASETTE), str(path), "--metadata", str(settings), "--port", str(port)]
    with subprocess.Popen(
        [*command, "--setting", "truncate_cells_html", "200"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port, process)
            yield database, f"http://127.0.0.1:{port}/postroom"
        finally:
            process.terminate()
            process.wait(10)
            database.dispose()


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert None is process.poll(), "Datasette has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def ask(house: tuple[Database, str]) -> Ask:
    """Ask for JSON of a table, a view or a query."""

    def ask(what: str = "", **parameters: Any) -> Any:
        query = urlencode({"_shape": "array", **parameters}) if what else ""
        with urllib.request.urlopen(f"{house[1]}{what and '/' + what}.json?{query}", timeout=30) as answer:  # noqa: S310 -- loopback
            return json.load(answer)

    return ask


def test_it_finds_messages_by_their_words_also_those_that_come_while_it_runs(
    house: tuple[Database, str], ask: Ask
) -> None:
    assert {"Lunch on Friday?"} < {
        one["subject"] for one in ask("messages", _search="noodle lunch*", _searchmode="raw")
    } | {""}
    put(house[0], b"From: Zoe <zoe@example.net>\r\nSubject: zeppelins\r\n\r\nsilver ones\r\n")
    assert ["zeppelins"] == [one["subject"] for one in ask("inbox", _search="silver")]
    assert ["[silver] ones"] == [one["text"] for one in ask("find", words="silver")]


def test_every_view_and_every_query_answers(ask: Ask) -> None:
    listed = ask()
    views = [one["name"] for one in listed["views"]]
    assert sorted(VIEWS["sqlite"]) == sorted(views)
    assert 6 == len(listed["queries"])
    for view in views:
        assert isinstance(ask(view), list)
    for query in listed["queries"]:
        found = ask(query["name"], words="lunch", message=1, address="bob@example.net")
        assert found or query["name"] == "outbox_by_status", query["name"]


def test_what_the_daemon_keeps_for_itself_is_not_shown(ask: Ask) -> None:
    shown = {one["name"] for one in ask()["tables"] if not one["hidden"]}
    assert {"messages", "addresses", "attachments", "ledger", "polls", "accounts", "outbox"} <= shown
    assert set() == shown & {"keys", "message_sources", "match_queue", "thread_keys", "works", "postroom_version"}
    assert set() == {one for one in shown if one.startswith("messages_")}, "tables of the full-text search"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask("keys")


def test_every_table_that_its_settings_name_is_there() -> None:
    settings = (ROOT / "deploy/datasette/metadata.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"^      (\w+): \{", settings, re.MULTILINE))
    there = {table.name for table in METADATA.sorted_tables} | set(VIEWS["sqlite"]) | {upgrade.VERSION_TABLE}
    assert named <= there
    assert len(named) > 10
