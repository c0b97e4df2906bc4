"""`postroom threads`: the list of conversations, and one of them."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from daemon import errors
from daemon.cli import main
from daemon.mail import parse
from daemon.store import archive
from daemon.store.database import Database
from daemon.wire.spool import Spool

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def letter(name: str, sender: str, subject: str, day: int, *references: str) -> bytes:
    named = "".join(f" <{one}@example.net>" for one in references)
    head = f"From: {sender} <{sender}@example.net>\r\nSubject: {subject}\r\nDate: {day} Nov 2026 10:00:00 +0000\r\n"
    return f"{head}Message-ID: <{name}@example.net>\r\nReferences:{named}\r\n\r\ntext of {name}\r\n".encode()


LETTERS = (
    letter("a", "Anna", "Lunch", 1),
    letter("b", "Bob", "Re: Lunch", 2, "a"),
    letter("x", "Shop", "Invoice", 5),
    letter("c", "Anna", "Re: Lunch", 9, "a", "b"),
    letter("d", "Carol", "Re: Lunch", 3, "a"),
)


@pytest.fixture
def filled(database: Database) -> str:
    """The URL of a database with these letters, and one that is not indexed yet."""
    with database.transaction() as tx:
        incoming = [archive.Incoming(uidl=f"u{n}", spool=Spool.of(one)) for n, one in enumerate((*LETTERS, b"new"))]
        filed = archive.add(tx, "home", incoming, NOW)
        archive.write_all_parsed(
            tx, [(one.message, parse.parse(raw)) for one, raw in zip(filed, LETTERS, strict=False)], 1, NOW
        )
    return database._url.render_as_string(hide_password=False)


def threads(url: str, *arguments: str, expected: int = 0) -> Result:
    result = CliRunner(env={"POSTROOM_DATABASE_URL": url}).invoke(main, ["threads", *arguments])
    assert expected == result.exit_code, result.output
    return result


def test_the_list_has_the_latest_first_with_its_people_and_first_subject(filled: str) -> None:
    expected = (
        "id\tlast\tmessages\tpeople\tsubject\n"
        "1\t2026-11-09 10:00\t4\tAnna, Bob, Carol\tLunch\n3\t2026-11-05 10:00\t1\tShop\tInvoice\n"
    )
    assert expected == threads(filled).stdout


@pytest.mark.parametrize("query", ["from:carol", "text", '"text of d" lunch'])
def test_a_query_finds_whole_conversations(filled: str, query: str) -> None:
    found = json.loads(threads(filled, query, "--limit", "1", "--json").stdout)
    assert [(1, 4, "2026-11-01T10:00:00.000Z")] == [
        (one["thread_id"], one["messages"], one["first_at"]) for one in found
    ]


@pytest.mark.parametrize("number", ["1", "5"])
def test_a_number_shows_the_conversation_of_that_message_as_a_tree(filled: str, number: str) -> None:
    lines = [line.split("\t") for line in threads(filled, number).stdout.splitlines()[1:]]
    assert [("1", "Anna"), ("2", "> Bob"), ("4", ">> Anna"), ("5", "> Carol")] == [(one[0], one[2]) for one in lines]
    found = json.loads(threads(filled, number, "--json").stdout)
    assert [(0, 1), (1, 2), (2, 4), (1, 5)] == [(one["depth"], one["id"]) for one in found]


def test_a_number_that_there_is_not_and_a_message_that_is_not_indexed_say_so(filled: str) -> None:
    assert "message 99" in threads(filled, "99", expected=errors.EX_NOINPUT).stderr
    assert "message 6 is not indexed yet" in threads(filled, "6", expected=errors.EX_NOINPUT).stderr
