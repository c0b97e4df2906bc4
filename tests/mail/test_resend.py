"""Resent- fields in front, not an octet touched behind them; and what a message says of its own way."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import errors
from daemon.mail import address, resend
from daemon.wire import lines

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ANNA = "anna@example.org"
TARGET = "anna@elsewhere.example"
OURS = "<20261125120000.000000.7.postroom@example.org>"
PLAIN = "From: bob@example.net\nMessage-ID: <1@example.net>\n"


def written(source: bytes, *, to: str = TARGET, cc: str = "") -> bytes:
    return resend.write(
        source,
        sender=address.parse_one(f"Anna <{ANNA}>"),
        to=address.parse_list(to),
        cc=address.parse_list(cc),
        now=NOW,
        message_id=OURS,
    )


def test_the_fields_stand_before_the_message_and_nothing_of_it_is_touched() -> None:
    source = b"Received: by x\r\nFrom: b@example.net\r\nBcc: c@example.net\r\n\r\n\xff\x00.\r\n.\r\n"
    assert (
        b"Resent-Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nResent-From: Anna <anna@example.org>\r\n"
        b"Resent-To: anna@elsewhere.example\r\nResent-Cc: carol@example.net\r\n"
        b"Resent-Message-ID: <20261125120000.000000.7.postroom@example.org>\r\n" + source
    ) == written(source, cc="carol@example.net")


@given(st.binary(max_size=200))
def test_whatever_the_body_is_it_ends_the_letter_as_it_is(body: bytes) -> None:
    source = b"Subject: x\r\n\r\n" + body
    assert written(source).endswith(b"postroom@example.org>\r\n" + lines.normalised(source))


@pytest.mark.parametrize(
    "source", [b"", b"\r\n", b" folded\r\nSubject: x\r\n", b"From bob Mon\r\nSubject: x\r\n", b"x"]
)
def test_what_does_not_begin_with_a_field_is_not_put_behind_ours(source: bytes) -> None:
    with pytest.raises(errors.InputInvalid, match="does not begin with a header field"):
        written(source)


REPORT = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n"
CIRCLES = [
    ("Received: by x\n" * 101, "", "through 101 servers"),
    (f"Resent-From: Anna <{ANNA}>\nResent-Message-ID: {OURS}\n", "", "sent it on before"),
    (f"Resent-From: ANNA@Example.ORG\nresent-message-id:\n {OURS}\n", "", "sent it on before"),
    (f"Delivered-To: {TARGET}\n", "", "Delivered-To"),
    ("Delivered-To: bob@example.net\nDelivered-To: Anna@Elsewhere.example\n", "", "Delivered-To"),
    ("Return-Path: <>\n", f"returned:\nResent-Message-ID: {OURS}\n", "a Resent-Message-ID in it is ours"),
    ("Auto-Submitted: auto-replied\n", f"> Resent-Message-ID: x\nResent-Message-ID: {OURS}\n", "in it is ours"),
    (REPORT, f"Final-Recipient: rfc822; {TARGET}\n", f"a report about mail to {TARGET}"),
    (f"Auto-Submitted: auto-replied (vacation)\nFrom: Anna <{TARGET}>\n", "I am away.", "an automatic answer"),
    (f"Return-Path: <>\nFrom: {TARGET}\n", "I am away.", "an automatic answer"),
    (f"X-Autoreply: yes\nFrom: {TARGET}\n", "I am away.", "an automatic answer"),
    ("Return-Path: <>\n", f"<{TARGET.upper()}>: no such user", f"a report about mail to {TARGET}"),
]
# Another account of the house sends to this one; a report about an ordinary letter; a letter that the target's owner wrote.
STRAIGHT = [
    ("", ""),
    ("Received: by x\n" * 100, ""),
    ("Resent-From: carol@example.org\nResent-Message-ID: <20261125120000.1.8.postroom@example.org>\n", ""),
    (f"Resent-From: {ANNA}\nResent-Message-ID: <by-hand@example.org>\n", ""),
    (f"Delivered-To: {ANNA}\n", f"Delivered-To: {TARGET}\nResent-From: {ANNA}\nResent-Message-ID: {OURS}\n"),
    (REPORT + "Return-Path: <>\n", "Final-Recipient: rfc822; bob@example.net\nMessage-ID: " + OURS),
    (f"From: {TARGET}\nAuto-Submitted: no\n", "hello"),
    ("Auto-Submitted: auto-generated\n", f"your address {TARGET}"),
    ("Delivered-To: <<broken\n", ""),
]


@pytest.mark.parametrize(("fields", "body", "reason"), CIRCLES)
def test_a_circle_is_recognised(fields: str, body: str, reason: str) -> None:
    for end in ("\n", "\r\n"):
        source = (fields + PLAIN + "\n" + body).replace("\n", end).encode()
        assert reason in (resend.Journey(source).circle(ANNA, [TARGET]) or "")


@pytest.mark.parametrize(("fields", "body"), STRAIGHT)
def test_a_straight_way_is_none(fields: str, body: str) -> None:
    assert resend.Journey((fields + PLAIN + "\n" + body).encode()).circle(ANNA, [TARGET]) is None


@pytest.mark.parametrize("body", [b"<" + b"a.postroom@" * 200_000, b"\n" * 1_000_000, b" \n " * 500_000])
def test_hostile_bodies_are_looked_through_in_one_go(body: bytes) -> None:
    source = (
        b"Return-Path: <>\r\nContent-Type: multipart/report" + b" " * 500_000 + b"\r\n\r\nresent-message-id:" + body
    )
    assert resend.Journey(source).circle(ANNA, [TARGET]) is None


def test_who_was_sent_it_by_this_house_has_it() -> None:
    journey = resend.Journey(PLAIN.encode() + b"\n")
    assert "1@example.net" == journey.message_id
    assert f"{TARGET} was sent it from here" == journey.circle(ANNA, [TARGET], {TARGET.upper()})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Received: from a (b\n\t[1.2.3.4]); Wed, 25 Nov 2026\n 12:00:00 +0100\nReceived: by x; Mon, 1 Jan 2001 1:00:00 Z\n", 11),
        ("Received: by x; yesterday\n", None),
        ("Received: by x\n", None),
        ("Date: Wed, 25 Nov 2026 12:00:00 +0100\n", None),
    ],
)  # fmt: skip
def test_the_topmost_received_field_says_when_it_came(fields: str, expected: int | None) -> None:
    came = resend.Journey(fields.encode() + b"\n").came_at
    assert (None if expected is None else NOW.replace(hour=expected)) == came
