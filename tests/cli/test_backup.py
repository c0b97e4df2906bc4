"""`db backup`, `restore` and `compact` as an operator meets them: the drill of README, and what is refused."""

from pathlib import Path

import pytest

from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from tests.cli.test_verbs import House, servers

__all__ = ["servers"]  # pytest finds fixtures by their names


@pytest.fixture
def house(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], sqlite_url: str) -> House:
    """As test_verbs has it, on SQLite alone."""
    return House(tmp_path, *servers, sqlite_url)


def test_the_drill(house: House) -> None:
    house("fetch")
    assert house("db", "backup", "b.db").stdout.startswith("2 messages in b.db, ")
    assert "2 messages in drill.db\n" == house("db", "restore", "b.db", "--into", "drill.db").stdout
    house.environ["POSTROOM_DATABASE_URL"] = "sqlite:///drill.db"
    assert "2 messages read, 0 broken" in house("db", "verify").stdout
    assert "Invoice 7" in house("search", "invoice").stdout


def test_a_database_is_replaced_when_asked_for_and_the_outbox_held(house: House) -> None:
    house("fetch")
    house("outbox", "add", "--to", "bob@example.net", "--subject", "Hello", stdin=b"Hi.")
    house("db", "backup", "b.db")
    assert "--replace puts the backup in its place" in house("db", "restore", "b.db", expected=65).stderr
    said = house("db", "restore", "--replace", "b.db").stdout
    assert "what was there before is now " in said
    assert "1 row of the outbox held: look with `postroom outbox list --status held`\n" in said
    assert [("held",)] == house.sql("SELECT status FROM outbox")
    house("outbox", "release", "1")
    house("send")
    assert [("sent",)] == house.sql("SELECT status FROM outbox")


def test_room_is_given_back(house: House) -> None:
    house("fetch")
    assert " before, " in house("db", "compact").stdout
    assert "2 messages read, 0 broken" in house("db", "verify").stdout
