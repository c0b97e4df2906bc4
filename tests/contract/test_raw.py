"""A complete message in `raw`, through the real path: what arrives, or what the row says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain
from daemon.store import outbox
from daemon.store.database import Database
from tests.doubles import house

PLAIN = b"From: a@example.org\r\nX-Odd:  two  spaces \r\nSubject: x\r\n\r\n.\r\nText.  \r\n"
EIGHT = "Subject: x\r\n\r\nGrüße\r\n".encode()
ENCODED = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
SIGNED = b"DKIM-Signature: v=1; bh=x; b=y\r\n" + EIGHT
LONG = b"DKIM-Signature: v=1; bh=x; b=y\r\nSubject: x\r\n\r\n" + b"a" * 999 + b"\r\n"


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as running:
        yield running


@pytest.mark.parametrize(
    ("raw", "eight_bit", "expected"),
    [
        (PLAIN, True, PLAIN),
        (PLAIN.replace(b"\r\n", b"\n"), True, PLAIN),
        (b"Bcc: eve@example.com\r\n" + PLAIN, True, PLAIN),
        (EIGHT, True, EIGHT),
        (EIGHT, False, ENCODED),
        (SIGNED, True, SIGNED),
        (SIGNED, False, "8-bit octets, which this relay does not take (no 8BITMIME), in the message: it is signed or encrypted (DKIM)"),
        (LONG, True, "raw: a line of more than 998 octets, or NUL, which mail does not carry, in the message: it is signed"),
    ],
    ids=["plain", "Unix line ends", "Bcc", "8 bits", "8 bits encoded", "signed", "signed and in the way", "long and signed"],
)  # fmt: skip
def test_a_complete_message_arrives_as_it_is_or_the_row_says_why(
    database: Database, server: SmtpServer, raw: bytes, *, eight_bit: bool, expected: bytes | str
) -> None:
    if not eight_bit:
        server.extensions.discard("8BITMIME")
    context = house.context(database, house.Clock(datetime.now(UTC) + timedelta(seconds=10)))
    with database.transaction() as tx:
        outbox.add(tx, recipients="bob@example.net", account="home", raw=raw)
    drain.drain(house.sending(server.port), context)
    with database.reading() as conn:
        status, reason = conn.execute(text("SELECT status, last_error FROM outbox")).one()
    if isinstance(expected, bytes):
        assert ("sent", [expected]) == (status, [letter.content for letter in server.received])
    else:
        assert ("failed", []) == (status, server.received)
        assert expected in reason
