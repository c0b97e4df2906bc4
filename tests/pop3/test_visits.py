"""Whole visits of servers that misbehave, with a real archive: what is archived, what is deleted, what is said about it.

Each dialogue that has an EXPECT line is played to a visit that deletes what it has proven. Behind it the archive and the ledger
must be exactly as the dialogue says. Then a good server has the same mail, but for what the first one removed: the visit there
must end with every message archived once, and none left behind.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.pop3_server import Pop3Server
from daemon.jobs import poll
from daemon.jobs.context import Context
from daemon.jobs.visit import Result
from daemon.mail.account import Account
from daemon.pop3 import session as session_module
from daemon.store import accounts, sources
from daemon.store.database import Database
from daemon.wire.stream import Security
from tests.doubles import house
from tests.doubles.dialogue import DIALOGUES, Dialogue
from tests.doubles.scripted import Scripted, ca_file
from tests.secrets_used import PASSWORD

HANG_SECONDS = 30.0  # no dialogue takes a tenth of it; one that gets here waits for something that never comes
NAMES = sorted(path.name for path in DIALOGUES.glob("pop3_*.txt") if "\nEXPECT " in path.read_text(encoding="utf-8"))


@pytest.fixture
def context(sqlite_url: str) -> Iterator[Context]:
    database = Database(sqlite_url)
    yield house.context(database, house.Clock())
    database.dispose()


def account(port: int, dialogue: Dialogue, folder: Path) -> Account:
    limit = dialogue.limits.get("ACCOUNT")
    made = house.fetching(
        port,
        timeout_seconds=dialogue.limits.get("TIMEOUT", 5.0),
        delete=house.AFTER_FETCH,
        max_message_octets=None if limit is None else int(limit),
    )
    assert made.pop3 is not None
    endpoint = replace(made.pop3.endpoint, security=Security(dialogue.security), ca_file=ca_file(folder))
    return replace(made, pop3=replace(made.pop3, endpoint=endpoint))


def archived(database: Database) -> Counter[bytes]:
    with database.reading() as conn:
        ids = conn.execute(text("SELECT id FROM messages")).scalars().all()
        return Counter(sources.whole(conn, one) for one in ids)


def visit_good_server(context: Context, *mail: tuple[bytes, str], keep: bool = False) -> tuple[Result, list[bytes]]:
    """Visit a server with this mail; return how that went, and what is left there."""
    with Pop3Server({"anna": []}, PASSWORD) as server:
        maildrop = server.maildrop("anna")
        for content, uidl in mail:
            maildrop.add(content, uidl)
        kept = house.NEVER if keep else house.AFTER_FETCH
        return poll.poll(house.fetching(server.port, delete=kept), context), maildrop.contents


def visit(context: Context, dialogue: Dialogue, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    with monkeypatch.context() as patched:
        if octets := dialogue.limits.get("OCTETS"):
            patched.setattr(session_module, "MAX_LISTING_OCTETS", int(octets))
            patched.setattr(session_module, "MAX_MESSAGE_OCTETS", int(octets))
        if seconds := dialogue.limits.get("SESSION"):
            patched.setattr(poll, "SESSION_SECONDS", seconds)
        if dialogue.is_unproven:
            patched.setattr(sources, "proven", lambda _conn, _ids: set())
        began = time.monotonic()
        with Scripted(dialogue) as server:
            result = poll.poll(account(server.port, dialogue, folder), context)
        assert time.monotonic() - began < HANG_SECONDS
    dele = {line for line in server.heard if line.startswith(b"DELE")}
    assert len(dele) <= archived(context.database).total(), "DELE for what is not archived"
    return result


def check_result(result: Result, dialogue: Dialogue) -> None:
    expected = dialogue.expected.error
    if expected is None:
        assert ("ok", None) == (result.outcome, result.error)
        return
    kind, words = expected
    assert ("failed", kind) == (result.outcome, type(result.error).__name__)
    assert isinstance(result.error, errors.PostroomError)
    assert words in str(result.error)
    assert "\n" not in str(result.error)


def check_ledger(database: Database, dialogue: Dialogue) -> None:
    with database.reading() as conn:
        query = "SELECT uidl, status, dele_sent_at, deleted_at, message FROM ledger ORDER BY id"
        rows = conn.execute(text(query)).all()
        leased = conn.execute(text("SELECT count(*) FROM accounts WHERE lease_owner IS NOT NULL")).scalar_one()
        running = conn.execute(text("SELECT count(*) FROM polls WHERE outcome = 'running'")).scalar_one()
    found = [(uidl, status, sent is not None) for uidl, status, sent, _deleted, _message in rows]
    wanted = [
        (pattern, status, is_sent or status == "deleted") for pattern, status, is_sent in dialogue.expected.ledger
    ]
    assert len(wanted) == len(found), found
    for (pattern, *expected), (uidl, *actual) in zip(wanted, found, strict=True):
        assert re.fullmatch(pattern, uidl), (pattern, uidl)
        assert expected == actual, uidl
    assert [] == [row for row in rows if (row.deleted_at is not None) != (row.status == "deleted")]
    assert [] == [row for row in rows if row.dele_sent_at is not None and row.message is None]
    assert (0, 0) == (leased, running)


@pytest.mark.parametrize("name", NAMES)
def test_a_misbehaving_server_costs_no_message(
    name: str, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogue = Dialogue.read(name)
    mail, database = dialogue.mail, context.database
    for word, uidl in dialogue.before:
        result, _left = visit_good_server(context, (mail[word], uidl), keep=True)
        assert "ok" == result.outcome
    with database.transaction() as tx:
        accounts.remember(tx, "home", None)  # how that one is logged in to
    result = visit(context, dialogue, tmp_path, monkeypatch)
    check_result(result, dialogue)
    before = [word for word, _uidl in dialogue.before]
    assert Counter(mail[word] for word in [*before, *dialogue.expected.archived]) == archived(database)
    assert set(dialogue.removed) <= set(dialogue.expected.archived)
    check_ledger(database, dialogue)

    there = [(content, f"u{word}") for word, content in mail.items() if word not in [*dialogue.removed, *before]]
    result, left = visit_good_server(context, *there)
    assert ("ok", []) == (result.outcome, left)
    again = [mail[word].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for word in dialogue.expected.refetched]
    assert Counter([*mail.values(), *again]) == archived(database)


def test_there_are_enough_of_them() -> None:
    assert 62 <= len(list(DIALOGUES.glob("pop3_*.txt")))
