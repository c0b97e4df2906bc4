"""Rows dropped by plain SQL leave through a real Postfix, arrive in a Maildir, and read back equal; every refusal is a verdict."""

import re
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

import pytest

from tests import corpus
from tests.e2e.real_house import House
from tests.secrets_used import PASSWORD
from tests.servers.postfix import SIZE_LIMIT_OCTETS, Postfix

pytestmark = pytest.mark.servers

PDF: Final = bytes(range(256)) * 300
# A relay that puts a blank line before what is no header, or takes the first line for one, has to: those are no letters.
NO_LETTERS: Final = {"no_header", "not_a_header", "tiny", "header_only"}


def port(postfix: Postfix, security: str) -> int:
    return {"plaintext": postfix.plain_port, "starttls": postfix.starttls_port, "tls": postfix.tls_port}[security]


@pytest.fixture
def sender(house: House, postfix: Postfix) -> House:
    """A house that sends without TLS or a login, to the port that asks for neither."""
    return house.with_smtp(postfix.plain_port, "plaintext")


def insert(house: House, **columns: object) -> int:
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    (row,) = house.change(f"INSERT INTO outbox ({names}) VALUES ({values}) RETURNING id", **columns)
    return int(row["id"])


def statuses(house: House, row: int) -> dict[str, str]:
    found = house.rows("SELECT address, status FROM outbox_recipients WHERE outbox_id = :row", row=row)
    return {one["address"]: one["status"] for one in found}


def parsed(octets: bytes) -> EmailMessage:
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("security", ["plaintext", "starttls", "tls"])
def test_a_row_arrives_with_everything_that_was_put_into_it(house: House, postfix: Postfix, security: str) -> None:
    login = {} if security == "plaintext" else {"username": "anna", "password": PASSWORD}
    house.with_smtp(port(postfix, security), security, **login)
    body = "Grüße!\n.\n..two dots\nFrom the start of a line\n\n" + "a long line, " * 200 + "\n最后一行\n"
    tag = f"whole-{security}-{house.database.kind}"
    row = insert(
        house,
        recipients=f"Jörg Müller <{tag}.to@example.net>",
        cc=f"{tag}.cc@example.net",
        bcc=f"{tag}.bcc@example.net",
        subject="Ein Gruß 🎻 und " + "noch viel mehr " * 20,
        body=body,
        html="<p>Grüße! <b>最后</b></p>\n",
        headers='{"X-Order": "12345"}',
    )
    house.change(
        "INSERT INTO outbox_attachments (outbox_id, filename, content_type, content) VALUES (:row, 'März.pdf', 'application/pdf', :pdf)",
        row=row,
        pdf=PDF,
    )
    (result,) = house.send()

    assert None is result.error
    arrived = postfix.delivered(3, to=tag)
    assert [f"{tag}.{kind}@example.net" for kind in ("bcc", "cc", "to")] == [one.recipient for one in arrived]
    assert {"anna@example.org"} == {one.sender for one in arrived}
    assert 1 == len({one.octets for one in arrived}), "everybody gets the same letter"
    letter = parsed(arrived[0].octets)
    assert ("Ein Gruß 🎻 und " + "noch viel mehr " * 20).strip() == str(letter["Subject"]).strip()
    assert f"Jörg Müller <{tag}.to@example.net>" == str(letter["To"])
    assert f"{tag}.bcc".encode() not in arrived[0].octets
    assert "12345" == letter["X-Order"]
    assert body == text_of(letter, "plain")
    assert "<p>Grüße! <b>最后</b></p>\n" == text_of(letter, "html")
    (attachment,) = letter.iter_attachments()
    assert ("März.pdf", "application/pdf", PDF) == (
        attachment.get_filename(),
        attachment.get_content_type(),
        attachment.get_payload(decode=True),
    )
    assert {"sent"} == set(statuses(house, row).values())
    (verdict,) = house.rows("SELECT status, attempts, sent_at, message_id FROM outbox WHERE id = :row", row=row)
    assert ("sent", 1) == (verdict["status"], verdict["attempts"])
    assert verdict["sent_at"]
    assert letter["Message-ID"] == f"<{verdict['message_id']}>"


def is_whole(put_in: bytes, arrived: bytes) -> bool:
    """Tell whether a letter arrived as it was put in: only line ends are made CRLF, as SMTP demands.

    What SMTP can't carry (NUL, lines over 998 octets) is another encoding of the same content.
    """
    wanted = re.sub(rb"\r\n|\r|\n", b"\r\n", put_in)
    if b"\0" not in wanted and max(map(len, wanted.split(b"\r\n"))) <= 998:
        return wanted == arrived
    contents = [message_from_bytes(one).get_payload(decode=True) for one in (wanted, arrived)]
    return contents[0] == contents[1] and b"\0" not in arrived and max(map(len, arrived.split(b"\r\n"))) <= 998


def test_complete_letters_of_every_shape_arrive_as_they_were_put_in(sender: House, postfix: Postfix) -> None:
    """Dots and 8-bit octets too."""
    letters = [one for one in corpus.letters(len(corpus.SHAPES), seed=5) if one.shape not in NO_LETTERS]
    tag = f"raw-{sender.database.kind}"
    for number, letter in enumerate(letters):
        insert(sender, recipients=f"{tag}.{number:03d}@example.net", raw=letter.octets)
    (result,) = sender.send()

    assert (None, len(letters)) == (result.error, result.sent)
    arrived = {one.recipient: one.octets for one in postfix.delivered(len(letters), to=tag)}
    different = [
        letter.shape
        for number, letter in enumerate(letters)
        if not is_whole(letter.octets, arrived[f"{tag}.{number:03d}@example.net"])
    ]
    assert [] == different


def test_many_rows_leave_over_one_connection(sender: House, postfix: Postfix) -> None:
    tag = f"many-{sender.database.kind}"
    for number in range(100):
        insert(
            sender, recipients=f"{tag}.{number:03d}@example.net", subject=f"Number {number}", body="Text.\n" * number
        )
    (result,) = sender.send()
    assert (None, 100) == (result.error, result.sent)
    arrived = postfix.delivered(100, to=tag)
    assert [f"Number {number}" for number in range(100)] == [parsed(one.octets)["Subject"] for one in arrived]
    assert ["Text.\n" * number for number in range(100)] == [
        text_of(parsed(one.octets), "plain").rstrip(" ") for one in arrived
    ]


def test_each_recipient_gets_a_verdict_of_its_own(sender: House, postfix: Postfix) -> None:
    good = f"good-{sender.database.kind}@example.net"
    row = insert(sender, recipients=f"{good}, refused@example.net, later@example.net", subject="three", body="x")
    sender.send()
    assert 1 == len(postfix.delivered(1, to=good))
    assert {good: "sent", "refused@example.net": "failed", "later@example.net": "deferred"} == statuses(sender, row)
    replies = sender.rows("SELECT address, code, enhanced_code, reply FROM outbox_recipients ORDER BY address")
    assert [(250, "2.0.0"), (450, "4.2.0"), (550, "5.1.1")] == sorted(
        (one["code"], one["enhanced_code"]) for one in replies
    )
    assert any("no such person here" in one["reply"] for one in replies)
    (verdict,) = sender.rows("SELECT status, next_attempt_at, last_error FROM outbox WHERE id = :row", row=row)
    assert "deferred" == verdict["status"]
    assert verdict["next_attempt_at"]

    sender.change("UPDATE outbox SET next_attempt_at = created_at WHERE id = :row", row=row)
    sender.send()
    assert 1 == len(postfix.delivered(1, to=good)), "who has it does not get it again"


def test_a_row_that_is_refused_for_everybody_is_failed_and_the_rest_go_on(sender: House, postfix: Postfix) -> None:
    good = f"after-{sender.database.kind}@example.net"
    rows = [insert(sender, recipients=to, body="x") for to in ("refused@example.net", "nobody@elsewhere.example", good)]
    sender.send()
    assert ["failed", "failed", "sent"] == [
        row["status"] for row in sender.rows("SELECT status FROM outbox ORDER BY id")
    ]
    assert 1 == len(postfix.delivered(1, to=good))
    assert {"nobody@elsewhere.example": "failed"} == statuses(sender, rows[1])


def test_a_letter_larger_than_the_relay_takes_fails_with_the_reason(sender: House) -> None:
    insert(
        sender,
        recipients="size@example.net",
        raw=b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * (SIZE_LIMIT_OCTETS // 78 + 1),
    )
    sender.send()
    (row,) = sender.rows("SELECT status, last_error FROM outbox")
    assert "failed" == row["status"]
    assert str(SIZE_LIMIT_OCTETS) in row["last_error"].replace(",", "")


def test_a_refused_login_pauses_the_relay_and_fails_no_row(house: House, postfix: Postfix) -> None:
    house.with_smtp(postfix.starttls_port, "starttls", username="anna", password="not-the-password")
    insert(house, recipients="waits@example.net", body="x")
    house.send()
    (row,) = house.rows("SELECT status, last_error FROM outbox")
    assert row["status"] in {"queued", "deferred"}
    assert [] == statuses_of_all(house, {"failed", "sent"})
    house.with_smtp(postfix.starttls_port, "starttls", username="anna", password=PASSWORD)
    house.send()
    assert ["sent"] == [one["status"] for one in house.rows("SELECT status FROM outbox")]


def statuses_of_all(house: House, wanted: set[str]) -> Sequence[str]:
    return [one["status"] for one in house.rows("SELECT status FROM outbox_recipients") if one["status"] in wanted]


def test_international_addresses_leave_where_the_relay_takes_them(sender: House, postfix: Postfix) -> None:
    tag = f"größe-{sender.database.kind}"
    row = insert(sender, recipients=f"{tag}@example.net", subject="SMTPUTF8", body="x")
    sender.send()
    assert {f"{tag}@example.net": "sent"} == statuses(sender, row)
    assert 1 == len(postfix.delivered(1, to=tag))
