"""What comes back: reports of the mail servers that there are, and of those that mean us no good."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mail import bounce, delivery_status, parse, report
from daemon.mail.delivery_status import Fate
from daemon.mail.report import Kind

REPORTS = Path(__file__).parent / "reports"
LETTER = "20261123100000.000000.7.postroom@example.org"
NAMES = sorted(file.stem for file in REPORTS.glob("*.eml"))


def octets(name: str) -> bytes:
    return (REPORTS / f"{name}.eml").read_bytes()


# name: (kind, action, status, code, a part of the diagnostic)
SAID = {
    "postfix_failed": (Kind.REPORT, "failed", "5.1.1", 550, "User unknown in virtual mailbox table"),
    "postfix_expired": (
        Kind.REPORT,
        "failed",
        "4.4.1",
        None,
        "connect to mx.example.net[192.0.2.25]:25: Connection timed",
    ),
    "postfix_delayed": (Kind.REPORT, "delayed", "4.4.1", None, "Connection timed out"),
    "postfix_delivered": (Kind.REPORT, "delivered", "2.0.0", 250, "Ok: queued as 1F00B9"),
    "postfix_relayed": (Kind.REPORT, "relayed", "2.0.0", 250, "Ok: queued as 1F00B9"),
    "postfix_alias": (Kind.REPORT, "failed", "5.2.2", 552, "Mailbox full"),
    "exim_dsn": (Kind.REPORT, "failed", "5.1.1", 550, "User unknown"),
    "exim_own_words": (Kind.REPORT, "failed", "5.1.1", None, "no such mailbox here"),
    "exim_text": (Kind.REPORT, "failed", "5.1.1", 550, "Recipient address rejected: User unknown"),
    "exim_warning": (Kind.REPORT, "delayed", "4.2.0", 450, "Greylisted"),
    "qmail": (Kind.REPORT, "failed", "5.1.1", None, "Sorry, no mailbox here by that name. (#5.1.1)"),
    "sendmail": (Kind.REPORT, "failed", "5.1.1", 550, "<bob@example.net>... User unknown"),
    "exchange": (Kind.REPORT, "failed", "5.1.10", 550, "RESOLVER.ADR.RecipientNotFound; Recipient bob@example.net"),
    "gmail": (Kind.REPORT, "failed", "5.1.1", 550, "does not exist. Please try double-checking the recipient's"),
    "gmail_text": (Kind.REPORT, "failed", "5.1.1", 550, "User unknown"),
    "receipt": (Kind.RECEIPT, "delivered", "", None, "receipt: displayed"),
    "complaint": (Kind.COMPLAINT, "delivered", "", None, "complaint: abuse"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_report_says_what_became_of_whom_and_of_which_letter(name: str) -> None:
    kind, action, status, code, part = SAID[name]
    found = report.read(octets(name))
    (fate,) = found.fates
    assert (kind, action, status, code) == (found.kind, fate.action, fate.status, fate.code)
    assert part in fate.diagnostic
    assert "bob@example.net" == fate.recipients[0]
    assert LETTER in found.returned
    assert "anna@example.org" in found.return_paths
    assert parse.parse(octets(name)).may_report


@pytest.mark.parametrize(
    ("name", "kind", "answers"),
    [
        ("answer", Kind.ANSWER, (LETTER, "older@example.org")),
        ("answer_on_a_list", Kind.ANSWER, (LETTER,)),
        ("postmaster_in_person", Kind.ANSWER, (LETTER,)),
        ("vacation", Kind.AUTOMATIC, (LETTER,)),
        ("forwarded_bounce", Kind.OTHER, ()),
        ("unclear", Kind.UNCLEAR, ()),
    ],
)
def test_what_is_no_report_is_told_apart(name: str, kind: Kind, answers: tuple[str, ...]) -> None:
    found = report.read(octets(name))
    assert (kind, answers, ()) == (found.kind, found.answers, found.fates)


def test_every_fixture_is_looked_at() -> None:
    assert set(NAMES) == {
        *SAID,
        "answer",
        "answer_on_a_list",
        "postmaster_in_person",
        "vacation",
        "forwarded_bounce",
        "unclear",
        "global",
    }


def test_international_addresses_come_in_two_spellings() -> None:
    found = report.read(octets("global"))
    assert (r"gr\x{F6}\x{DF}e@example.net", "größe@example.net") == found.fates[0].recipients
    assert (LETTER,) == found.returned


def test_the_recipient_that_we_named_comes_before_the_one_it_went_on_to() -> None:
    assert ("bob@example.net", "robert@elsewhere.example") == report.read(octets("postfix_alias")).fates[0].recipients
    assert ("bob+2Btag@example.net", "bob+tag@example.net") == delivery_status.addresses("rfc822;bob+2Btag@example.net")


@pytest.mark.parametrize("name", ["postfix_failed", "exim_dsn", "qmail", "exim_text"])
def test_a_letter_that_was_sent_on_is_known_by_what_we_called_it(name: str) -> None:
    resent = octets(name).replace(b"\nMessage-ID: <2026", b"\nResent-Message-ID: <resent@x>\r\nMessage-ID: <2026")
    assert {"resent@x", LETTER} == set(report.read(resent).returned)


def test_a_report_on_many_recipients_has_a_fate_for_each() -> None:
    more = b"".join(
        b"\r\nFinal-Recipient: rfc822; r%d@example.net\r\nAction: %s\r\nStatus: 5.1.1\r\n" % (number, action)
        for number, action in enumerate(
            [b"failed", b"Delivered (left)", b"RELAYED", b"expanded", b"delayed", b"unheard-of"]
        )
    )
    raw = octets("postfix_failed").replace(b"\r\n\r\n--4F2A31C0DE.1795428003/relay.example.org\r\nContent-Description: Undelivered",
                                           b"\r\n" + more + b"\r\n--4F2A31C0DE.1795428003/relay.example.org\r\nContent-Description: Undelivered")  # fmt: skip
    assert ["failed", "failed", "delivered", "relayed", "expanded", "delayed"] == [
        one.action for one in report.read(raw).fates
    ]


@pytest.mark.parametrize("name", NAMES)
def test_bare_line_feeds_change_nothing(name: str) -> None:
    assert report.read(octets(name)) == report.read(octets(name).replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("name", NAMES)
def test_the_letter_within_may_be_cut_off(name: str) -> None:
    """A report is read from its first 4 MiB, whatever it returns."""
    whole = report.read(octets(name))
    returned = report.read(octets(name).replace(b"Please pay.", b"Please pay.\r\n" * 10_000)[:60_000])
    assert (whole.kind, whole.fates, whole.returned) == (returned.kind, returned.fates, returned.returned)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("Auto-Submitted: auto-replied", Kind.AUTOMATIC),
        ("Auto-Submitted: auto-generated; x=1", Kind.AUTOMATIC),
        ("Auto-Submitted: no", Kind.ANSWER),
        ("Precedence: junk", Kind.AUTOMATIC),
        ("Precedence: list", Kind.ANSWER),
        ("Precedence: bulk\r\nList-Id: <a.example>", Kind.ANSWER),
        ("X-Autoreply: yes", Kind.AUTOMATIC),
        ("Return-Path: <>", Kind.AUTOMATIC),
        ("Return-Path: <bob@example.net>", Kind.ANSWER),
    ],
)
def test_a_machines_answer_is_none(field: str, kind: Kind) -> None:
    raw = f"{field}\r\nFrom: bob@example.net\r\nTo: anna@example.org\r\nIn-Reply-To: <1@example.org>\r\n\r\nHi.\r\n"
    assert kind is report.read(raw.encode()).kind


def test_words_of_a_mail_daemon_that_name_nobody_are_still_a_bounce() -> None:
    fates, found = bounce.read("Your mail could not be delivered: 552 5.2.2 full\n\nMessage-ID: <a@b>\n", "failure", "")
    assert ((Fate(recipients=(), action="failed", status="5.2.2", code=552, diagnostic="Your mail could not be delivered: 552 5.2.2 full"),), ("a@b",)) == (fates, found)  # fmt: skip


# --- envelope ids -----------------------------------------------------------------------------------------------------

KEY = b"k" * 32


@given(st.integers(1, 2**63 - 1))
def test_an_envelope_id_is_read_with_the_key_only(outbox_id: int) -> None:
    made = report.envelope_id(outbox_id, KEY)
    assert outbox_id == report.read_envelope_id(made, KEY) == report.read_envelope_id(made.upper(), KEY)
    assert re.fullmatch("[a-z0-9-]{20,32}", made)  # no xtext, and far below the 100 of RFC 3461 section 4.4
    assert None is report.read_envelope_id(made, b"another key")
    assert None is report.read_envelope_id(report.envelope_id(outbox_id % 1000 + 1, b"another key"), KEY)


@pytest.mark.parametrize(
    "text", ["", "pr", "pr7-aaaaaaaaaaaaaaaa", "7", "prZZZZZZZZZZZZZZZ-aaaaaaaaaaaaaaaa", "pr7-" + "ä" * 16]
)
def test_what_is_no_envelope_id_of_ours_names_no_row(text: str) -> None:
    assert None is report.read_envelope_id(text, KEY)


# --- hostile ----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "blocks": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    + b"Action: failed\r\nFinal-Recipient: rfc822;a@b\r\n\r\n" * 30_000,
    "one field": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\nDiagnostic-Code: smtp; "
    + b"550 " * 300_000,
    "folds": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\nStatus:"
    + b"\r\n 5" * 300_000,
    "colons": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" + b"a:" * 500_000,
    "addresses": b"From: MAILER-DAEMON@x\r\n\r\ncould not be delivered\r\n" + b"<a@b>:\r\n" * 100_000,
    "half addresses": b"From: MAILER-DAEMON@x\r\n\r\ncould not be delivered\r\n" + b"a" * 200 + b"@" * 60_000,
    "ids": b"From: MAILER-DAEMON@x\r\n\r\nundeliverable\r\n" + b"Message-ID: <a\r\n" * 60_000,
    "blanks": b"From: MAILER-DAEMON@x\r\n\r\nundeliverable\r\n" + b" " * 1_000_000,
    "words": b"From: MAILER-DAEMON@x\r\n\r\ndelivery " + b"word " * 13_000 + b"delivery " * 10_000,
    "failed": b"From: MAILER-DAEMON@x\r\nX-Failed-Recipients: " + b"a@b, " * 100_000 + b"\r\n\r\nx",
    "to": b"Content-Type: multipart/report\r\nTo: " + b"+pr" * 100_000 + b"@x\r\n\r\n",
    "escapes": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\nFinal-Recipient: utf-8;"
    + rb"\x{FFFFFF}\x{D800}" * 1000 + b"@x +00",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reports_are_read_within_bounds(name: str) -> None:
    found = report.read(HOSTILE[name])
    assert len(found.fates) <= delivery_status.MAX_RECIPIENTS
    for fate in found.fates:
        fate.diagnostic.encode()
        assert len(fate.diagnostic) <= delivery_status.MAX_DIAGNOSTIC_CHARACTERS
        assert not any("\ud800" <= letter <= "\udfff" for one in fate.recipients for letter in one)


PIECES = st.sampled_from(
    [
        *(b"Content-Type: multipart/report; boundary=b\r\n", b"--b\r\n", b"--b--\r\n", b"\r\n", b"\n", b"\0", b"\xff"),
        *(b"Content-Type: message/delivery-status\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n", b"Action: failed\r\n"),
        *(b"Final-Recipient: rfc822;bob@example.net\r\n", b"Status: 5.1.1\r\n", b"Diagnostic-Code: smtp; 550 no\r\n", b" fold\r\n"),
        *(b"From: MAILER-DAEMON@x\r\n", b"Return-Path: <>\r\n", b"X-Failed-Recipients: a@b\r\n", b"In-Reply-To: <a@b>\r\n"),
        *(b"Hi. This is the qmail-send program\r\n", b"<bob@example.net>:\r\n", b"Message-ID: <a@b>\r\n", b"Precedence: bulk\r\n"),
        *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: message/feedback-report\r\n\r\n", b"Feedback-Type: abuse\r\n"),
    ]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=40))
def test_whatever_comes_is_read(pieces: list[bytes]) -> None:
    """A report, whatever is in it, and nothing else is raised; what the indexer queues by its shape is what is read as one."""
    raw = b"".join(pieces)
    found = report.read(raw)
    if found.kind in {Kind.REPORT, Kind.RECEIPT, Kind.COMPLAINT, Kind.UNCLEAR}:
        assert parse.parse(raw).may_report
