"""README's table of an operator's questions: each answer is one command or one query, tried on a house where things went wrong."""

import re
from pathlib import Path
from typing import Final

from daemon import errors
from daemon.demo.listener import Answer
from tests.cli.test_verbs import House, house, servers

__all__ = ["house", "servers"]  # fixtures

README: Final = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
TABLE: Final = README.split("## An operator's questions")[1].split("\n## ")[0]


def asked(house: House, command: str, *, expected: int = 0) -> str:
    """Do what stands in the table."""
    assert f"`{command}`" in TABLE
    if command.startswith("SELECT"):
        return repr(house.sql(command))
    said: str = house(*command.split()[1:], expected=expected).stdout
    return said


def query(word: str) -> str:
    """Return the query of the table that holds the word."""
    queries: list[str] = re.findall(r"`(SELECT [^`]*)`", TABLE)
    return next(one for one in queries if word in one)


def test_each_question_takes_one_command_or_one_query(house: House) -> None:
    house.environ["POSTROOM_ACCOUNTS__WORK__POP3__DELETE"] = "after_fetch"
    house("fetch")
    assert "all is well" in asked(house, "postroom status")
    house.smtp.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("carol") else None
    for _ in range(7):  # row 7 is that of the table
        house("outbox", "add", "--to", "bob@example.net, carol@example.net", "--subject", "x", stdin=b"text")
    house("send")
    house.pop3.answers["STAT"] = Answer(octets=b"-ERR [SYS/TEMP] the disk of the maildrops is full\r\n")
    house("fetch", expected=errors.EX_TEMPFAIL)
    status = asked(house, "postroom status", expected=errors.EX_TEMPFAIL)
    why = r"problem   work fetch for \d+ s: .*the disk of the maildrops is full\n          do: tried again by itself"
    assert re.search(why, status)
    assert re.search(r"fetch: failing for \d+ s: .*; next visit in \d+ (s|min)", status)
    assert re.search(
        r"database  \S+, schema 0001, (on a server|[\d.]+ [GT]B free)\ndaemon    none runs; version ", status
    )
    assert re.search(r"'deleted', None, .*\d", asked(house, query("dele_sent_at")))
    row = asked(house, "postroom outbox show 7")
    assert "partial" in row
    assert re.search(r"carol@example.net.*550.*no such user", row)
    assert "RCPT TO:<carol@example.net>" in asked(house, "postroom outbox show 7 --transcript")
    assert "-ERR [SYS/TEMP] the disk of the maildrops is full" in asked(house, query("transcript"))
