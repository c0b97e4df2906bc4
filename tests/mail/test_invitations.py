"""Invitations as text, and what is marked as signed or encrypted."""

import base64

import pytest

from daemon.mail import calendar, parse
from daemon.mail.defects import Notes

HEAD = b"From: a@example.org\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
ICS = """BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20261124T130000
DTEND;TZID=Europe/Berlin:20261124T140000
SUMMARY:Tea\\, with
  kettle
LOCATION:Third floor
RRULE:FREQ=WEEKLY
ORGANIZER;CN="Builder, Bob":mailto:bob@example.net
ATTENDEE;CN=Anna;RSVP=TRUE:MAILTO:anna@example.org
ATTENDEE:mailto:carol@example.org
DESCRIPTION:Bring cups.\\nThank you.
BEGIN:VALARM
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
END:VCALENDAR
"""
SHOWN = """Invitation: Tea, with kettle
When: 2026-11-24 13:00 \u2013 14:00 (Europe/Berlin)
Repeats: FREQ=WEEKLY
Where: Third floor
Organizer: Builder, Bob <bob@example.net>
Attendees: Anna <anna@example.org>, carol@example.org"""


def test_an_invitation_says_what_when_where_and_who() -> None:
    assert SHOWN == calendar.readable(ICS, Notes(), described=False)
    assert SHOWN + "\n\nBring cups.\nThank you." == calendar.readable(ICS, Notes(), described=True)


def test_an_invitation_stands_below_the_text_once() -> None:
    part = (
        b"--b\r\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n"
        + ICS.replace("\n", "\r\n").encode()
    )
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ncome\r\n" + part * 2 + b"--b--\r\n"
    found = parse.parse(HEAD + raw)
    assert f"come\n\n{SHOWN}" == found.body_text
    assert ["text/calendar"] * 2 == [row.content_type for row in found.attachments]


@pytest.mark.parametrize(
    ("lines", "when"),
    [
        ("DTSTART:20261124T120000Z", "When: 2026-11-24 12:00 (UTC)"),
        ("DTSTART;VALUE=DATE:20261124\nDTEND;VALUE=DATE:20261126", "When: 2026-11-24 \u2013 2026-11-26"),
        ("DTSTART:20261124T230000\nDTEND:20261125T010000", "When: 2026-11-24 23:00 \u2013 2026-11-25 01:00"),
        ("DTSTART:soon", "When: soon"),
        ("SUMMARY:x", "Event: x"),
        ("DTSTART", ""),
    ],
)
def test_times_are_shown_as_they_were_meant(lines: str, when: str) -> None:
    assert when == calendar.readable(f"BEGIN:VEVENT\n{lines}\nEND:VEVENT", Notes(), described=False)


def test_a_whole_calendar_is_cut_and_named() -> None:
    notes = Notes()
    text = calendar.readable("BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n" * 21, notes, described=False)
    assert calendar.MAX_EVENTS == text.count("Event: x")
    assert ("text_truncated",) == notes.names()


# --- signed, encrypted ----------------------------------------------------------------------------------------------

ENVELOPED = base64.b64encode(bytes.fromhex("308006092a864886f70d010703a0803080020100")).decode()
SIGNED = base64.b64encode(bytes.fromhex("308006092a864886f70d010702a0803080020101")).decode()
PARTS = "boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: {}\r\n\r\nx\r\n--b--"


@pytest.mark.parametrize(
    ("content", "protection"),
    [
        ("text/plain\r\n\r\nopen", ()),
        ("multipart/signed; " + PARTS.format("application/pgp-signature"), ("pgp_signed",)),
        ("multipart/signed; " + PARTS.format("application/pkcs7-signature; name=smime.p7s"), ("smime_signed",)),
        ("multipart/mixed; " + PARTS.format("application/x-pkcs7-signature"), ("smime_signed",)),
        ("multipart/encrypted; " + PARTS.format("application/octet-stream"), ("pgp_encrypted",)),
        ("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nx", ("smime_encrypted",)),
        ("application/x-pkcs7-mime; smime-type=signed-data\r\n\r\nx", ("smime_signed",)),
        (f"application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n{ENVELOPED}", ("smime_encrypted",)),
        (f"application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n{SIGNED}", ("smime_signed",)),
        ("application/pkcs7-mime; smime-type=certs-only\r\n\r\nx", ()),
        ("text/plain\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nx", ("pgp_encrypted",)),
        ("text/plain\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nx", ("pgp_signed",)),
    ],
)
def test_what_is_protected_is_marked(content: str, protection: tuple[str, ...]) -> None:
    assert protection == parse.parse(HEAD + b"Content-Type: " + content.encode()).protection
