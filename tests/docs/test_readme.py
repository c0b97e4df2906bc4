"""What README says is run here: its snippets drop real rows, its queries answer on both databases, its settings load."""

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import settings
from daemon.store import upgrade
from daemon.store.database import Database
from tests.conftest import require_server

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    """Return the code blocks of a language, unindented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def queries() -> list[str]:
    cookbook = TEXT.split("<!-- cookbook")[1].split("\n## ")[0]
    return re.findall(r"```sql\n(.*?)```", cookbook, re.DOTALL)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a migrated postroom.db, as the snippets expect it."""
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///postroom.db")
    upgrade.upgrade(database)
    database.dispose()
    return tmp_path


def rows(directory: Path) -> list[tuple[str, str, str]]:
    database = sqlite3.connect(directory / "postroom.db")
    try:
        return database.execute("SELECT recipients, subject, status FROM outbox ORDER BY id").fetchall()
    finally:
        database.close()


def run(*command: str, directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_shell_snippet_drops_a_row(directory: Path) -> None:
    require_server("sqlite3", present=shutil.which("sqlite3") is not None)
    (snippet,) = [block for block in fenced("sh") if "INSERT" in block]
    run("sh", "-ec", snippet, directory=directory)
    assert [("Bob <bob@example.net>", "Hello", "queued")] == rows(directory)


def test_the_python_snippet_drops_a_row_with_an_attachment(directory: Path) -> None:
    (snippet,) = [block for block in fenced("python") if "INSERT" in block]
    run(sys.executable, "-c", snippet, directory=directory)
    assert [("bob@example.net, carol@example.org", "Rechnung für März", "queued")] == rows(directory)


def test_the_php_snippet_drops_a_row(directory: Path) -> None:
    require_server("php", present=shutil.which("php") is not None)
    (snippet,) = fenced("php")
    (directory / "drop.php").write_text(snippet, encoding="utf-8")
    run("php", "drop.php", directory=directory)
    assert [("bob@example.net", "Hello from PHP", "queued")] == rows(directory)


def test_the_perl_snippet_drops_a_row(directory: Path) -> None:
    probe = ["perl", "-MDBD::SQLite", "-e", "1"]
    has_driver = (
        shutil.which("perl") is not None and not subprocess.run(probe, capture_output=True, check=False).returncode
    )
    require_server("DBD::SQLite", present=has_driver)
    (snippet,) = fenced("perl")
    (directory / "drop.pl").write_text(f"use strict; use warnings; {snippet}", encoding="utf-8")
    run("perl", "drop.pl", directory=directory)
    assert [("bob@example.net", "Hello from Perl", "queued")] == rows(directory)


def test_the_node_snippet_drops_a_row(directory: Path) -> None:
    node = shutil.which("node")
    probe = [node or "false", "-e", "require('node:sqlite')"]
    has_sqlite = node is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    require_server("a Node of 22 or newer, which has node:sqlite", present=has_sqlite)
    (snippet,) = fenced("js")
    (directory / "drop.js").write_text(snippet, encoding="utf-8")
    run("node", "--disable-warning=ExperimentalWarning", "drop.js", directory=directory)
    assert [("bob@example.net", "Hello from Node", "queued")] == rows(directory)


def test_there_are_at_least_ten_queries() -> None:
    assert len(queries()) >= 10


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.split(" FROM ")[1].split()[0])
def test_each_query_of_the_cookbook_runs(query: str, database: Database) -> None:
    if "MATCH" in query and database.kind != "sqlite":
        pytest.skip("README says: on SQLite")
    with database.reading() as conn:
        conn.execute(text(query.strip().rstrip(";"))).all()


def test_the_settings_of_the_five_minutes_load(tmp_path: Path) -> None:
    (block,) = fenced("ini")
    (tmp_path / ".env").write_text(block, encoding="utf-8")
    loaded = settings.load({}, tmp_path / ".env")
    assert ["home", "work"] == list(loaded.accounts)
    assert "after 14 days, 0:00:00" == str(loaded.accounts["work"].pop3.delete)  # type: ignore[union-attr]  # it has POP3


def test_every_status_of_the_outbox_is_explained(database: Database) -> None:
    from daemon.store import schema

    listed = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert set(schema.OUTBOX_STATUSES) == listed


def test_every_table_and_column_is_named() -> None:
    from daemon.store import schema

    section = TEXT.split("## Tables")[1].split("\n## ")[0]
    shown = {
        table: set(re.findall(r"`(\w+)`", columns))
        for table, columns in re.findall(r"^- \*\*`(\w+)`\*\*(.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
    }
    assert {table.name for table in schema.METADATA.sorted_tables} == set(shown)
    for table in schema.METADATA.sorted_tables:
        assert set() == {column.name for column in table.columns} - shown[table.name], table.name


def test_every_module_that_follows_a_letter_exists() -> None:
    followed = TEXT.split("## A letter in, a row out")[1].split("\n## ")[0]
    for path in re.findall(r"`(daemon/[\w/]+\.py)`", followed):
        assert (README.parent / path).is_file(), path


def test_every_query_that_is_shown_is_one(database: Database) -> None:
    from daemon.store import search

    section = TEXT.split("## Search\n")[1].split("\n## ")[0]
    shown = [
        query for cell in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for query in re.findall(r"`(.*?)`", cell)
    ]
    assert len(shown) > 30
    with database.reading() as conn:
        assert [[]] * len(shown) == [search.search(conn, query) for query in shown]
