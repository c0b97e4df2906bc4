"""A real Postfix reports on letters of ours, a real Dovecot hands the reports over, and the rows say what became of whom."""

import socket

import pytest

from daemon import app
from daemon.mail import report as envelopes
from daemon.store import keys
from tests.e2e.real_house import House
from tests.servers.dovecot import Dovecot
from tests.servers.exim import Exim
from tests.servers.postfix import Delivered, Postfix

pytestmark = pytest.mark.servers


@pytest.fixture
def office(house: House, postfix: Postfix, dovecot: Dovecot, user: str) -> House:
    """A house that sends through Postfix and fetches from Dovecot."""
    house.with_smtp(postfix.plain_port, "plaintext", suppress_bounces="on")
    return house.with_pop3(user, dovecot.pop3s_port, "tls")


def send(house: House, sender: str, recipients: str) -> int:
    (row,) = house.change(
        "INSERT INTO outbox (sender, recipients, subject, body) VALUES (:sender, :to, 'Reported', 'x') RETURNING id",
        sender=sender,
        to=recipients,
    )
    house.send()
    return int(row["id"])


def fetch(house: House, dovecot: Dovecot, user: str, report: Delivered) -> None:
    """Let the report lie in the maildrop, as it would have been delivered there, and visit it as `postroom fetch` does."""
    head = f"Return-Path: <{report.sender}>\r\nDelivered-To: {report.recipient}\r\n"
    dovecot.fill(user, [head.encode() + report.octets])
    (result,) = app.fetch(house.settings, house.database)
    assert None is result.error


def recipients(house: House, row: int) -> list[tuple[object, ...]]:
    found = house.rows(
        "SELECT address, status, code, enhanced_code, reply FROM outbox_recipients WHERE outbox_id = :row ORDER BY address",
        row=row,
    )
    return [tuple(one.values()) for one in found]


def test_a_bounce_of_an_unknown_user_comes_back_to_its_row(
    office: House, postfix: Postfix, dovecot: Dovecot, user: str
) -> None:
    good, sender = f"stays-{office.database.kind}@example.net", f"bounced-{office.database.kind}@example.org"
    row = send(office, sender, f"gone@example.net, {good}")
    assert {"sent"} == {status for _, status, *_ in recipients(office, row)}
    (report,) = postfix.delivered(1, to=sender)
    fetch(office, dovecot, user, report)

    gone, stays = recipients(office, row)
    assert ("gone@example.net", "bounced", None, "5.1.1", 'unknown user: "missing@example.net"') == gone
    assert (good, "sent") == stays[:2]
    (verdict,) = office.rows("SELECT status, last_error FROM outbox WHERE id = :row", row=row)
    assert ("sent", f"gone@example.net: bounced: 5.1.1 {gone[4]}") == (verdict["status"], verdict["last_error"])
    (suppressed,) = office.rows("SELECT address, suppressed_by FROM suppressions WHERE report IS NOT NULL")
    assert ("gone@example.net", "bounce") == (suppressed["address"], suppressed["suppressed_by"])


def test_a_bounce_by_exim_comes_back_to_its_row(office: House, exim: Exim, dovecot: Dovecot, user: str) -> None:
    """Its fields say 5.0.0 and no more; its words are in the text alone."""
    office.with_smtp(exim.port, "plaintext", suppress_bounces="on")
    good, sender = f"stays-{office.database.kind}@example.net", f"bounced-{office.database.kind}@example.org"
    row = send(office, sender, f"gone@example.net, {good}")
    (report,) = exim.delivered(1, to=sender)
    fetch(office, dovecot, user, report)
    gone, stays = recipients(office, row)
    assert ("gone@example.net", "bounced", None, "5.1.1", "no such mailbox here") == gone
    assert (good, "sent") == stays[:2]


def test_a_report_of_delivery_is_known_by_its_envelope_id(
    office: House, postfix: Postfix, dovecot: Dovecot, user: str
) -> None:
    """No header of ours comes back that names the letter: this one is from another program, with the row's envelope id."""
    to, sender = f"told-{office.database.kind}@example.net", f"informed-{office.database.kind}@example.org"
    row = send(office, sender, to)
    with office.database.transaction() as tx:
        envelope_id = envelopes.envelope_id(row, keys.make_return_path(tx))
    _submit(
        postfix.plain_port,
        f"MAIL FROM:<{sender}> RET=HDRS ENVID={envelope_id}",
        f"RCPT TO:<{to}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{to}",
    )
    (report,) = postfix.delivered(1, to=sender)
    fetch(office, dovecot, user, report)
    assert [(to, "delivered", None, "2.0.0", "delivery via virtual: delivered to maildir")] == recipients(office, row)


def _submit(port: int, mail: str, rcpt: str) -> None:
    """Give a letter to Postfix with parameters that only RFC 3461 knows."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line, line.makefile("rb") as replies:
        for said, expected in (
            ("", b"220"),
            ("EHLO tests.example.org", b"250"),
            (mail, b"250"),
            (rcpt, b"250"),
            ("DATA", b"354"),
            ("Subject: Reported\r\nMessage-ID: <another@example.org>\r\n\r\nx\r\n.", b"250"),
            ("QUIT", b"221"),
        ):
            if said:
                line.sendall(said.encode() + b"\r\n")
            while (reply := replies.readline())[3:4] == b"-":
                pass
            assert reply.startswith(expected), reply
