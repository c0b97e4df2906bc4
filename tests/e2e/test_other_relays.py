"""Rows through relays of other people than Postfix's: an Exim, with CHUNKING, and aiosmtpd, which takes one command at a time."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests import corpus
from tests.e2e.real_house import House
from tests.e2e.test_postfix import NO_LETTERS, insert, is_whole, statuses
from tests.servers.aiosmtpd_relay import AiosmtpdRelay
from tests.servers.certificates import Certificates
from tests.servers.exim import Exim
from tests.servers.postfix import SIZE_LIMIT_OCTETS

Server = Exim | AiosmtpdRelay


@pytest.fixture
def aiosmtpd() -> Iterator[AiosmtpdRelay]:
    with AiosmtpdRelay() as server:
        yield server


@pytest.fixture(params=[pytest.param("exim", marks=pytest.mark.servers), "aiosmtpd"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def sender(sqlite_url: str, certificates: Certificates, server: Server) -> Iterator[House]:
    house = House(sqlite_url, certificates.ca_file).with_smtp(server.port, "plaintext")
    yield house
    house.close()


def test_a_row_arrives_with_everything_that_was_put_into_it(sender: House, server: Server) -> None:
    body = "Grüße!\n.\n..two dots\nFrom the start of a line\n\n" + "a long line, " * 200 + "\n最后一行\n"
    row = insert(
        sender,
        recipients="Jörg Müller <whole.to@example.net>",
        cc="whole.cc@example.net",
        bcc="whole.bcc@example.net",
        subject="Ein Gruß 🎻 und " + "noch viel mehr " * 20,
        body=body,
        html="<p>Grüße! <b>最后</b></p>\n",
    )
    pdf = bytes(range(256)) * 300
    sender.change(
        "INSERT INTO outbox_attachments (outbox_id, filename, content_type, content) VALUES (:row, 'März.pdf', 'application/pdf', :pdf)",
        row=row,
        pdf=pdf,
    )
    (result,) = sender.send()
    assert None is result.error
    arrived = server.delivered(3, to="whole.")
    assert [f"whole.{kind}@example.net" for kind in ("bcc", "cc", "to")] == [one.recipient for one in arrived]
    assert {"anna@example.org"} == {one.sender for one in arrived}
    assert 1 == len({one.octets for one in arrived}), "everybody gets the same letter"
    letter = message_from_bytes(arrived[0].octets, policy=policy.default)
    assert isinstance(letter, EmailMessage)
    plain = letter.get_body(("plain",))
    assert plain is not None
    assert body == plain.get_content().replace("\r\n", "\n")
    (attachment,) = letter.iter_attachments()
    assert ("März.pdf", pdf) == (attachment.get_filename(), attachment.get_payload(decode=True))
    assert {"sent"} == set(statuses(sender, row).values())


def test_complete_letters_of_every_shape_arrive_as_they_were_put_in(sender: House, server: Server) -> None:
    letters = [one for one in corpus.letters(len(corpus.SHAPES), seed=5) if one.shape not in NO_LETTERS]
    for number, letter in enumerate(letters):
        insert(sender, recipients=f"raw.{number:03d}@example.net", raw=letter.octets)
    (result,) = sender.send()
    assert (None, len(letters)) == (result.error, result.sent)
    arrived = {one.recipient: one.octets for one in server.delivered(len(letters), to="raw.")}
    different = [
        letter.shape
        for number, letter in enumerate(letters)
        if not is_whole(letter.octets, arrived[f"raw.{number:03d}@example.net"])
    ]
    assert [] == different


def test_many_rows_leave_once_each_and_whole(sender: House, server: Server) -> None:
    for number in range(40):
        insert(sender, recipients=f"many.{number:03d}@example.net", subject=f"{number}", body="Text.\n" * number * 10)
    (result,) = sender.send()
    assert (None, 40) == (result.error, result.sent)
    arrived = [message_from_bytes(one.octets, policy=policy.default) for one in server.delivered(40, to="many.")]
    assert [str(number) for number in range(40)] == [one["Subject"] for one in arrived]
    assert [number * 10 for number in range(40)] == [one.get_content().count("Text.") for one in arrived]


def test_each_recipient_gets_a_verdict_of_its_own_and_so_does_the_next_row(sender: House, server: Server) -> None:
    row = insert(sender, recipients="three.good@example.net, refused@example.net, later@example.net", body="x")
    nobody = insert(sender, recipients="refused@example.net", body="x")
    elsewhere = insert(sender, recipients="nobody@elsewhere.example", body="x")
    after = insert(sender, recipients="three.after@example.net", body="x")
    sender.send()
    assert {
        "three.good@example.net": "sent",
        "refused@example.net": "failed",
        "later@example.net": "deferred",
    } == statuses(sender, row)
    found = sender.rows("SELECT id, status FROM outbox ORDER BY id")
    assert [(row, "deferred"), (nobody, "failed"), (elsewhere, "failed"), (after, "sent")] == [
        (one["id"], one["status"]) for one in found
    ]
    replies = sender.rows("SELECT code, enhanced_code, reply FROM outbox_recipients WHERE outbox_id = :row", row=row)
    assert {"5.1.1", "4.2.0"} <= {one["enhanced_code"] for one in replies}
    assert 2 == len(server.delivered(2, to="three."))


def test_a_letter_larger_than_the_relay_takes_fails_with_the_reason_and_the_next_goes(
    sender: House, server: Server
) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * (SIZE_LIMIT_OCTETS // 78 + 1)
    insert(sender, recipients="size.large@example.net", raw=large)
    insert(sender, recipients="size.small@example.net", body="x")
    sender.send()
    first, second = sender.rows("SELECT status, last_error FROM outbox ORDER BY id")
    assert ("failed", "sent") == (first["status"], second["status"])
    assert str(SIZE_LIMIT_OCTETS) in first["last_error"].replace(",", "")
    assert ["size.small@example.net"] == [one.recipient for one in server.delivered(1, to="size.")]


def test_international_addresses_leave_where_the_relay_takes_them(sender: House, server: Server) -> None:
    row = insert(sender, recipients="größe@example.net", subject="SMTPUTF8", body="x")
    sender.send()
    assert {"größe@example.net": "sent"} == statuses(sender, row)
    assert ["größe@example.net"] == [one.recipient for one in server.delivered(1, to="größe")]
