"""What a message's octets become: columns, addresses, text."""

from datetime import UTC, datetime

import pytest

from daemon.demo import letters
from daemon.mail import body, parse
from daemon.mail.message import AddressRow, Parsed


def message(head: str, body: str | bytes = "") -> bytes:
    octets = body if isinstance(body, bytes) else body.encode()
    return head.strip("\n").replace("\n", "\r\n").encode() + b"\r\n\r\n" + octets


def parsed(head: str, body: str | bytes = "") -> Parsed:
    return parse.parse(message("From: a@example.org\nDate: Mon, 23 Nov 2026 12:00:00 +0000\n" + head, body))


def test_an_everyday_letter_becomes_columns() -> None:
    found = parse.parse(letters.sample()[2])
    assert found == Parsed(
        message_id="lunch-3@example.net",
        in_reply_to="lunch-2@example.org",
        references=("lunch-1@example.net", "lunch-2@example.org"),
        sent_at=datetime(2026, 11, 9, 10, 30, 12, tzinfo=UTC),
        from_name="Carol C. Cartographer",
        from_address="carol@example.net",
        to_addresses="Anna Archivist <anna@example.org>, Bob Builder <bob@example.net>",
        subject="Re: Lunch on Friday?",
        body_text="Half past twelve it is. A line that begins with a dot, for the protocol's sake:\n.\n..and this one with two.",
        addresses=(
            AddressRow(role="from", position=0, name="Carol C. Cartographer", address="carol@example.net"),
            AddressRow(role="to", position=0, name="Anna Archivist", address="anna@example.org"),
            AddressRow(role="to", position=1, name="Bob Builder", address="bob@example.net"),
        ),
    )


@pytest.mark.parametrize(
    ("number", "subject", "in_body", "defects"),
    [
        (3, "Grüße aus Köln", "Das Essen köstlich".lower(), ()),
        (4, "Schlüssel gesucht", "für den Fahrradkeller zurückgeben", ()),
        (5, "Kettles of the month", "on strike again", ()),
        (6, "Rechnung 2026-0815 für Papier", "119,00 €", ()),
        (7, "冬天的猫", "冬天的猫在窗台上晒太阳。", ()),
        (8, "Fwd: The blue stapler", "since Tuesday", ()),
        (10, "Blåbær på fjellet", "fortsatt blåbær", ()),
        (11, "Undelivered Mail Returned to Sender", "could not be delivered", ()),
        (12, "Déjà vu", "kein Café", ("header_charset_guessed", "date_unreadable", "charset_unknown", "charset_wrong")),
        (
            13,
            "Photos from the boiler room",
            "as promised",
            ("boundary_missing", "multipart_unterminated", "base64_damaged"),
        ),
    ],
)
def test_the_sample_letters_are_understood(number: int, subject: str, in_body: str, defects: tuple[str, ...]) -> None:
    found = parse.parse(letters.sample()[number])
    assert subject == found.subject
    assert in_body in found.body_text.replace("das Essen", "das essen")
    assert defects == found.defects


@pytest.mark.parametrize(
    ("raw", "defects"),
    [
        (b"", ("empty", "from_missing", "date_missing")),
        (b"\r\n", ("from_missing", "date_missing")),
        (b"just words\r\nand more\r\n", ("no_header", "from_missing", "date_missing")),
        (b"\0" * 1000, ("no_header", "from_missing", "date_missing", "characters_replaced")),
    ],
)
def test_what_is_no_message_is_still_a_row(raw: bytes, defects: tuple[str, ...]) -> None:
    assert defects == parse.parse(raw).defects


def test_octets_without_a_header_are_the_body() -> None:
    assert "just words\nand more" == parse.parse(b"just words\r\nand more\r\n").body_text


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"], ids=["CRLF", "LF", "CR"])
def test_line_ends_of_every_kind_are_read(line_end: bytes) -> None:
    raw = b"From: a@example.org\nSubject: folded\n  here\n\nfirst\nsecond\n".replace(b"\n", line_end)
    found = parse.parse(raw)
    assert ("folded here", "first\nsecond") == (found.subject.replace("  ", " "), found.body_text)


def test_a_broken_line_in_the_header_does_not_end_it() -> None:
    raw = b"From: a@example.org\r\nSubject: one\r\nthis was to be folded\r\nTo: b@example.org\r\n\r\nbody"
    found = parse.parse(raw)
    assert ("one", "b@example.org", "body") == (found.subject, found.to_addresses, found.body_text)
    assert "header_malformed" in found.defects


def test_a_forgotten_empty_line_loses_no_text() -> None:
    found = parse.parse(b"From: a@example.org\r\nSubject: one\r\nDear all,\r\n\r\nthe rest")
    assert "Dear all,\n\nthe rest" == found.body_text


def test_the_line_that_mbox_puts_before_a_message_is_no_defect() -> None:
    found = parse.parse(
        b"From a@example.org Mon Nov 23 12:00:00 2026\r\nFrom: a@example.org\r\nDate: 23 Nov 2026 12:00 +0000\r\n\r\nx"
    )
    assert ("a@example.org", ()) == (found.from_address, found.defects)


def test_a_field_twice_counts_once() -> None:
    found = parsed("Subject: first\nSubject: second")
    assert ("first", ("header_duplicate",)) == (found.subject, found.defects)


def test_to_fields_are_joined() -> None:
    assert "b@example.org, c@example.org" == parsed("To: b@example.org\nTo: c@example.org").to_addresses


# --- which text is shown --------------------------------------------------------------------------------------------

ALTERNATIVE = """\
--x\r
Content-Type: text/plain\r
\r
{plain}\r
--x\r
Content-Type: text/html\r
\r
<p>rich</p>\r
--x--\r
"""


def test_the_plain_alternative_is_taken() -> None:
    head = "Content-Type: multipart/alternative; boundary=x"
    assert "plain" == parsed(head, ALTERNATIVE.format(plain="plain")).body_text


def test_an_empty_plain_alternative_is_not_taken() -> None:
    head = "Content-Type: multipart/alternative; boundary=x"
    assert "rich" == parsed(head, ALTERNATIVE.format(plain=" \r\n")).body_text


def test_texts_that_stand_side_by_side_are_all_taken() -> None:
    assert (
        "plain\n\nrich"
        == parsed("Content-Type: multipart/mixed; boundary=x", ALTERNATIVE.format(plain="plain")).body_text
    )


def test_a_part_may_begin_without_a_header() -> None:
    found = parsed("Content-Type: multipart/mixed; boundary=x", "--x\r\n\r\nbare\r\n--x--")
    assert ("bare", ()) == (found.body_text, found.defects)


def test_a_boundary_that_begins_like_another_is_not_mistaken() -> None:
    body = "--x\r\n\r\none\r\n--xy\r\nstill one\r\n--x--\r\n"
    assert "one\n--xy\nstill one" == parsed("Content-Type: multipart/mixed; boundary=x", body).body_text


@pytest.mark.parametrize("declared", ['boundary="other"', "", "boundary="])
def test_a_wrong_boundary_is_guessed_from_the_body(declared: str) -> None:
    found = parsed(f"Content-Type: multipart/mixed; {declared}", "--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n")
    assert ("one\n\ntwo", ("boundary_missing",)) == (found.body_text, found.defects)


def test_a_multipart_without_parts_is_text() -> None:
    found = parsed("Content-Type: multipart/mixed; boundary=x", "no part in sight")
    assert ("no part in sight", ("boundary_missing",)) == (found.body_text, found.defects)


def test_forgotten_hyphens_behind_the_last_part_are_no_part() -> None:
    found = parsed("Content-Type: multipart/mixed; boundary=x", "--x\r\nContent-Type: a/b\r\n\r\none\r\n--x\r\n")
    assert (1, ("multipart_unterminated",)) == (len(found.attachments), found.defects)


def test_digests_hold_messages() -> None:
    found = parsed("Content-Type: multipart/digest; boundary=x", "--x\r\n\r\nSubject: inner\r\n\r\nwords\r\n--x--")
    assert "inner\n\nwords" == found.body_text
    assert ["message/rfc822"] == [row.content_type for row in found.attachments]


def test_a_long_text_is_cut_at_a_line() -> None:
    found = parsed("Content-Type: text/plain; charset=utf-8", ("ä" * 70 + "\r\n") * 10_000)
    assert ("text_truncated",) == found.defects
    assert {"ä" * 70} == set(found.body_text.split("\n"))
    assert 500_000 < len(found.body_text) <= body.MAX_BODY_CHARACTERS


def test_the_html_is_given_as_it_came() -> None:
    raw = message("Content-Type: multipart/alternative; boundary=x", ALTERNATIVE.format(plain="plain"))
    assert "<p>rich</p>" == parse.html(raw)
    assert None is parse.html(message("Subject: plain", "text"))
