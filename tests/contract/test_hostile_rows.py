"""Hostile rows through the real path: put in, drained into a server on loopback, and what each of them then says.

Whatever stands in a row, one of two things happens: the row is refused, by the database or as `failed` with its column and the
reason, or one well-formed letter goes to exactly those whom the row names. Nothing else leaves.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.smtp_server import Received, SmtpServer
from daemon.jobs import drain
from daemon.jobs.context import Context
from daemon.mail.entity import Attachment
from daemon.store import outbox
from daemon.store.database import Database
from tests.doubles import house

BOB = "bob@example.net"
SMUGGLED = "MAIL FROM:<eve@example.com>{0}RCPT TO:<victim@example.org>{0}DATA{0}Subject: smuggled{0}{0}x{0}.{0}"
# Ends of content as one server or another has understood them (CVE-2023-51764 to 51766), and what would come behind.
ENDS = [
    "\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r\n.\r\n",
    "\r\n..\r\n",
    "\n\n.\n\n",
    "\r\r\n.\r\r\n",
]
PAYLOADS = [f"before{end}{SMUGGLED.format(end.strip('.')[:2].strip('.') or end[0])}" for end in ENDS]
INJECTED = [
    "x\r\nBcc: victim@example.org",
    "x\nBcc: victim@example.org",
    "x\rBcc: victim@example.org",
    "x\0y",
    "x\x0b\x0cy",
    "x\x7f",
]
ADDRESSES = [
    f"{BOB}>\r\nRCPT TO:<victim@example.org",
    f"{BOB}> SIZE=1 BODY=8BITMIME",
    f"<{BOB}> NOTIFY=NEVER",
    f"{BOB}>,<victim@example.org",
    '"x>\\r\\nRCPT TO:<victim@example.org"@example.net>',
    "@victim.example,@example.org:bob@example.net",
    "bob@example.net\\r\\nDATA",
    "bob@[127.0.0.1]>\u2028<x@y",
    "bob@example\u3002net\uff1ex",
    "bob@example.net\u0085RCPT",
]


@dataclass
class Row:
    """What is put in; columns beside a recipient and a subject."""

    columns: dict[str, object] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()


def everywhere(payloads: list[str]) -> Iterator[tuple[str, Row]]:
    """Each payload in each column and attachment field that takes text."""
    for payload in payloads:
        for column in ("recipients", "cc", "bcc", "sender", "reply_to"):
            yield column, Row({column: f"{BOB}, {payload}"})
            yield column, Row({column: f"{payload} <{BOB}>"})
        for column in ("subject", "body", "html", "message_id"):
            yield column, Row({column: payload})
        for name, value in (("X-Note", payload), (payload, "x"), (f"X-{payload}: y", "x")):
            yield "headers", Row({"headers": json.dumps({name: value})})
        yield "raw", Row({"raw": f"Subject: x\r\nBcc: x{payload}\r\n\r\n{payload}".encode(), "subject": None})
        yield "raw", Row({"raw": f"Subject: {payload}\r\n\r\nx".encode(), "subject": None})
        for changes in (
            {"filename": payload},
            {"content_type": f"text/{payload}"},
            {"content_type": f"text/plain; x={payload}"},
            {"content_id": payload},
            {"content": payload.encode()},
            {"content": payload.encode(), "content_type": "text/plain; charset=utf-8"},
            {"content": f"Subject: {payload}\r\n\r\n{payload}".encode(), "content_type": "message/rfc822"},
        ):
            known: dict[str, object] = {"filename": "a.bin", "content_type": "x/y", "content": b"x"}
            yield "attachments", Row({}, (Attachment(**(known | changes)),))  # type: ignore[arg-type]  # each of its type


ROWS = [
    *everywhere(PAYLOADS),
    *everywhere(INJECTED),
    *everywhere(["x" * 2000, "ü " * 30_000]),
    *[
        (column, Row({column: given}))
        for given in ADDRESSES
        for column in ("recipients", "cc", "bcc", "sender", "reply_to")
    ],
]


@pytest.fixture
def context(database: Database) -> Context:
    return house.context(database, house.Clock(datetime.now(UTC) + timedelta(seconds=10)))


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as running:
        yield running


def put(database: Database, row: Row) -> int | None:
    """Put a row in; None when the database refuses it, with a sentence that names a column."""
    columns = {"recipients": BOB, "subject": "s", "account": "home"} | row.columns
    headers = columns.pop("headers", None)
    written = None if headers is None else json.loads(str(headers))
    refusal = ""
    try:
        with database.transaction() as tx:
            return outbox.add(tx, headers=written, attachments=row.attachments, **columns)
    except errors.RowRefused as refused:
        refusal = str(refused)
    assert re.search(r"outbox(_attachments)?\.[a-z_]+: |NUL", refusal), refusal
    return None


def verdict(database: Database, row_id: int) -> tuple[str, str]:
    with database.reading() as conn:
        status, reason = conn.execute(
            text("SELECT status, last_error FROM outbox WHERE id = :id"), {"id": row_id}
        ).one()
    return status, reason or ""


def ensure_harmless(letter: Received) -> None:
    """Check that it is one letter, for any reader of line ends."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", letter.content)
    assert max(map(len, letter.content.split(b"\r\n"))) <= 998
    mail = message_from_bytes(letter.content, policy=policy.compat32)
    assert None is mail["Bcc"]
    assert "smuggled" != mail["Subject"]
    assert not any(one.startswith("victim@") for one in letter.recipients)
    assert letter.sender in {"anna@example.org", BOB}


def test_nothing_leaves_but_letters_and_every_row_says_what_became_of_it(context: Context, server: SmtpServer) -> None:
    put_in = [(column, put(context.database, row)) for column, row in ROWS]
    drained = drain.drain(house.sending(server.port), context)
    rows = [(column, row_id) for column, row_id in put_in if row_id is not None]
    assert len(rows) == drained.rows
    assert None is drained.error
    for column, row_id in rows:
        status, reason = verdict(context.database, row_id)
        assert status in {"sent", "failed"}, reason
        assert "sent" == status or reason.startswith(f"{column}: "), reason
    assert drained.sent == len(server.received)
    for letter in server.received:
        ensure_harmless(letter)


def test_an_empty_text_is_as_good_as_none(context: Context, server: SmtpServer) -> None:
    """As forms and PHP give it; an empty account, key, time or raw is refused (test_rules.py)."""
    empty: dict[str, object] = dict.fromkeys(("cc", "bcc", "sender", "reply_to", "body", "html", "message_id"), "")
    shown = Attachment(filename="a.txt", content_type="text/plain", content=b"", content_id="")
    assert put(context.database, Row(empty, (shown,))) is not None
    drain.drain(house.sending(server.port), context)
    (letter,) = server.received
    mail = message_from_bytes(letter.content, policy=policy.default)
    assert ("anna@example.org", (BOB,)) == (letter.sender, letter.recipients)
    assert ("anna@example.org", None, None) == (mail["From"], mail["Cc"], mail["Reply-To"])
    assert re.fullmatch(r"<[^<>]+@example\.org>", mail["Message-ID"])
    assert ["", ""] == [part.get_content().strip() for part in mail.walk() if not part.is_multipart()]
    assert "content-id" not in letter.content.decode().lower()


# --- what only SQLite can hold ----------------------------------------------------------------------------------------

COLUMNS = ["recipients", "cc", "bcc", "sender", "reply_to", "subject", "body", "html", "message_id", "headers"]


@pytest.mark.parametrize("octets", ["4772fc6e20403c6140622e63643e", "e282", "eda080", "c0ae", "f4908080"])
def test_text_that_is_not_utf8_fails_with_its_column(sqlite_url: str, server: SmtpServer, octets: str) -> None:
    """Latin-1, a character cut in half, half a surrogate pair, an overlong dot, beyond Unicode."""
    database = Database(sqlite_url)
    context = house.context(database, house.Clock(datetime.now(UTC) + timedelta(seconds=10)))
    bad = f"CAST(x'6240632e6465{octets}' AS TEXT)"
    ids = {}
    for column in COLUMNS:
        value = f"""'{{"X-Note": "' || {bad} || '"}}'""" if column == "headers" else bad
        given = {"recipients": f"'{BOB}'", "subject": "'s'", "account": "'home'"} | {column: value}
        with database.transaction() as tx:
            insert = f"INSERT INTO outbox ({', '.join(given)}) VALUES ({', '.join(given.values())}) RETURNING id"
            ids[column] = tx.exec_driver_sql(insert).scalar_one()
    attached = {"filename": bad, "content_type": f"'x/y; a=' || {bad}", "content_id": bad}
    for column, value in attached.items():
        given = {"filename": "'a'", "content": "x'00'"} | {column: value}
        with database.transaction() as tx:
            ids[column] = outbox.add(tx, recipients=BOB, subject="s", account="home")
            names, values = ", ".join(given), ", ".join(given.values())
            tx.exec_driver_sql(f"INSERT INTO outbox_attachments (outbox_id, {names}) VALUES ({ids[column]}, {values})")
    drain.drain(house.sending(server.port), context)
    for column, row_id in ids.items():
        status, reason = verdict(database, row_id)
        assert "failed" == status, column
        assert reason.startswith("attachments: " if column in attached else f"{column}: "), reason
    assert [] == server.received
    database.dispose()


# --- size -------------------------------------------------------------------------------------------------------------


def test_ten_thousand_recipients_each_have_their_verdict(sqlite_url: str, server: SmtpServer) -> None:
    server.max_recipients = 10_001  # to and bcc
    database = Database(sqlite_url)
    context = house.context(database, house.Clock(datetime.now(UTC) + timedelta(seconds=10)))
    row_id = put(database, Row({"bcc": ", ".join(f"r{number}@example.net" for number in range(10_000))}))
    drain.drain(house.sending(server.port), context)
    with database.reading() as conn:
        counted = conn.execute(text("SELECT status, count(*) FROM outbox_recipients GROUP BY status")).all()
    assert [("sent", 10_001)] == [tuple(one) for one in counted]
    assert row_id is not None
    assert "sent" == verdict(database, row_id)[0]
    assert 10_001 == sum(len(letter.recipients) for letter in server.received)
    database.dispose()
