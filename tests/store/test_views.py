"""Each view answers its question, alike on both databases."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from daemon.mail import parse
from daemon.store import accounts, archive
from daemon.store.database import Database
from daemon.wire.spool import Spool

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FILE = (
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee\r\n--b\r\n'
    'Content-Type: text/csv; name="costs.csv"\r\nContent-Disposition: attachment\r\n\r\n1;2;3\r\n--b--\r\n'
)


def letter(
    name: str, sender: str, to: str, subject: str, day: int, *references: str, rest: str = "\r\nhello\r\n"
) -> bytes:
    named = "".join(f" <{one}@example.net>" for one in references)
    head = f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {day} Nov 2026 23:30:00 +0000\r\nMessage-ID: <{name}@example.net>\r\n"
    return f"{head}References:{named}\r\n{rest}".encode()


HOME = (
    letter("a", "Bob <Bob@Example.NET>", "anna@example.org", "Costs", 1, rest=FILE),
    letter("b", "anna@example.org", "Bob <bob@example.net>", "Re: Costs", 2, "a"),
    letter("c", "Carol <carol@example.net>", "Anna@example.org", "Lunch", 3),
    letter("d", "Shop <shop@bücher.example>", "list@example.org", "News", 3),
    letter("e", "Dora <dora@example.net>", "anna@example.org", "Keys", 4),
)
WORK = (HOME[0],)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org"), ("work", "")])
        for account, letters in (("home", HOME), ("work", WORK)):
            incoming = [archive.Incoming(uidl=f"{account}{n}", spool=Spool.of(one)) for n, one in enumerate(letters)]
            filed = archive.add(tx, account, incoming, NOW)
            parsed = [(one.message, parse.parse(raw)) for one, raw in zip(filed, letters, strict=True)]
            archive.write_all_parsed(tx, parsed, 1, NOW)
        tx.execute(text("UPDATE ledger SET status = 'deleted' WHERE uidl = 'home0'"))
        for statement in (
            "INSERT INTO outbox (id, recipients, subject, status) VALUES (1, 'dora@example.net', 'Re: Keys', 'queued')",
            "INSERT INTO outbox (id, recipients, subject, status, last_error) VALUES (2, 'x@example.net', 'late', 'held', 'why')",
            "INSERT INTO outbox_recipients (outbox_id, address, status, sent_at) VALUES (1, 'dora@example.net', 'sent', '2026-11-05T00:00:00.000Z')",
            "INSERT INTO outbox_recipients (outbox_id, address, status, code, reply) VALUES (1, 'e@example.net', 'bounced', 550, 'no such')",
        ):
            tx.execute(text(statement))
    return database


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT id, account FROM inbox ORDER BY id",
            [(1, "home"), (3, "home"), (4, "home"), (5, "home"), (6, "work")],
        ),
        (
            "SELECT thread_id, subject, messages, people FROM conversations ORDER BY thread_id",
            [(1, "Costs", 3, 2), (3, "Lunch", 1, 1), (4, "News", 1, 1), (5, "Keys", 1, 1)],
        ),
        (
            "SELECT address, name, wrote, received FROM contacts ORDER BY wrote DESC, received DESC, address LIMIT 3",
            [("bob@example.net", "Bob", 2, 1), ("anna@example.org", "", 1, 4), ("carol@example.net", "Carol", 1, 0)],
        ),
        ("SELECT address FROM contacts WHERE address LIKE 'shop%'", [("shop@xn--bcher-kva.example",)]),
        (
            "SELECT address, messages, attachments FROM senders WHERE account = 'home' AND attachments > 0",
            [("bob@example.net", 1, 1)],
        ),
        (
            "SELECT day, messages FROM mail_per_day WHERE account = 'home' ORDER BY day",
            [("2026-11-01", 1), ("2026-11-02", 1), ("2026-11-03", 2), ("2026-11-04", 1)],
        ),
        (
            "SELECT message, filename, octets, copies FROM attachments_by_size",
            [(1, "costs.csv", 5, 2), (6, "costs.csv", 5, 2)],
        ),
        ("SELECT id, from_name FROM unanswered WHERE account = 'home'", [(3, "Carol")]),
        (
            "SELECT id, address, status, reason FROM outbox_problems ORDER BY id",
            [(1, "e@example.net", "bounced", "no such"), (2, None, "held", "why")],
        ),
        ("SELECT account, count(*) FROM on_server GROUP BY account ORDER BY account", [("home", 4), ("work", 1)]),
        ("SELECT message_id, copies, accounts, first_id FROM duplicates", [("a@example.net", 2, 2, 1)]),
    ],
    ids=lambda one: one.split(" FROM ")[1].split()[0] if isinstance(one, str) else "",
)
def test_a_view_answers(filled: Database, query: str, expected: Sequence[tuple[object, ...]]) -> None:
    with filled.reading() as conn:
        assert expected == [tuple(row) for row in conn.execute(text(query))]


def test_a_sum_is_a_whole_number_on_both(filled: Database) -> None:
    with filled.reading() as conn:
        sums = conn.execute(text("SELECT octets FROM senders UNION ALL SELECT octets FROM mail_per_day")).scalars()
        assert {int} == {type(one) for one in sums}
