"""Outbox rows made into letters, read back with the stdlib's parser: what went in comes out."""

import re
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.mail.compose import Draft, Letter, Recipient, compose, new_message_id
from daemon.mail.entity import Attachment
from daemon.wire import lines

NOW = datetime(2026, 11, 23, 12, 0, 5, 123456, tzinfo=UTC)
MESSAGE_ID = "<1@example.org>"
LONG = "wörter und Ünsinn " * 30


def made(**columns: Any) -> Letter:
    known: dict[str, Any] = {"id": 7, "recipients": "bob@example.net"}
    if "raw" not in columns:
        known |= {"subject": "Hello", "body": "Text.\n"}
    return compose(Draft(**(known | columns)), account_address="anna@example.org", now=NOW, message_id=MESSAGE_ID)


def made_or_refused(**columns: Any) -> Letter | str:
    """The letter, or the complaint."""
    try:
        return made(**columns)
    except errors.InputInvalid as error:
        return str(error)


def read(letter: Letter) -> EmailMessage:
    mail = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert [] == [defect for part in mail.walk() for defect in part.defects]
    return mail


def ensure_sendable(letter: Letter) -> None:
    """Check what every composed letter promises."""
    assert letter.content.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", letter.content)
    assert b"\0" not in letter.content
    assert max(map(len, letter.content.split(b"\r\n"))) <= 998
    assert letter.needs_8bit == (not letter.content.isascii())


# --- header -----------------------------------------------------------------------------------------------------------


def test_a_row_of_three_columns_is_a_whole_letter() -> None:
    letter = made()
    assert (
        b"From: anna@example.org\r\n"
        b"To: bob@example.net\r\n"
        b"Subject: Hello\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:05 +0000\r\n"
        b"Message-ID: <1@example.org>\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Text.\r\n"
    ) == letter.content
    assert ("anna@example.org", (Recipient(address="bob@example.net", field="to"),)) == (
        letter.sender,
        letter.recipients,
    )
    assert (False, False, MESSAGE_ID) == (letter.needs_8bit, letter.needs_smtputf8, letter.message_id)


def test_the_same_row_gives_the_same_octets() -> None:
    columns = {"html": "<b>x</b>", "attachments": [Attachment(filename="a", content_type="", content=b"x")]}
    assert made(**columns) == made(**columns)


def test_recipients_are_each_named_once_and_bcc_is_not_in_the_letter() -> None:
    letter = made(
        recipients="Bob <bob@example.net>, carl@example.net",
        cc="bob@EXAMPLE.net, dora@example.net",
        bcc="Secret <eve@example.net>, carl@example.net",
    )
    assert [
        ("bob@example.net", "to"),
        ("carl@example.net", "to"),
        ("dora@example.net", "cc"),
        ("eve@example.net", "bcc"),
    ] == [(one.address, one.field) for one in letter.recipients]
    mail = read(letter)
    assert ("Bob <bob@example.net>, carl@example.net", "bob@EXAMPLE.net, dora@example.net", None) == (
        mail["To"],
        mail["Cc"],
        mail["Bcc"],
    )
    assert b"eve" not in letter.content
    assert b"Secret" not in letter.content


def test_sender_and_reply_to_come_from_their_columns() -> None:
    letter = made(sender="Anna Berg <anna@work.example>", reply_to="Office <office@work.example>, b@c")
    assert "anna@work.example" == letter.sender
    mail = read(letter)
    assert ("Anna Berg <anna@work.example>", "Office <office@work.example>, b@c") == (mail["From"], mail["Reply-To"])


@pytest.mark.parametrize(
    "name",
    [
        "Berg, Anna",
        'Anna "the" Berg',
        "Änne Böll",
        "李雷",
        "=?utf-8?q?x?=",
        "a@b",
        "Back\\slash",
        "J. R. Berg",
        "x" * 300,
        LONG.strip(),
        "Ünï  cödé",
        "<evil@example.org>",
        "👩\u200d👩\u200d👧 family",
    ],
)
def test_names_come_back_as_they_were(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    letter = made(recipients=f'"{quoted}" <bob@example.net>, carl@example.net')
    ensure_sendable(letter)
    # compat32 and the header module: the newer parser of 3.11 puts a space between encoded-words in a phrase.
    (bob, bobs), (carl, carls) = getaddresses([message_from_bytes(letter.content)["To"]])
    found = str(make_header(decode_header(bob)))
    assert (" ".join(name.split()), "bob@example.net") == (found, bobs)
    assert ("", "carl@example.net") == (carl, carls)


@pytest.mark.parametrize(
    "subject",
    [
        "Grüße aus Köln",
        "你好世界",
        "plain",
        "=?utf-8?q?not_encoded_by_us?=",
        "two  spaces",
        " leading",
        "trailing ",
        "word " * 100 + "end",
        "x" * 5000,
        LONG + "end",
        "漢" * 500,
        "a=b?c_d.",
        "🦆" * 40,
    ],
)
def test_subjects_come_back_as_they_were(subject: str) -> None:
    letter = made(subject=subject)
    ensure_sendable(letter)
    assert all(len(line) <= 78 for line in letter.content.split(b"\r\n\r\n")[0].split(b"\r\n")), "folded"
    assert subject == read(letter)["Subject"]


@pytest.mark.parametrize("subject", [None, ""])
def test_no_subject_is_no_field(subject: str | None) -> None:
    assert b"Subject" not in made(subject=subject).content


def test_own_fields_are_added() -> None:
    headers = {
        "X-Ticket": "42",
        "In-Reply-To": "<2@example.org>",
        "References": " ".join(f"<{number}.{'x' * 60}@example.org>" for number in range(20)),
        "X-Name": "Grüße",
        "List-Unsubscribe": "<https://example.org/" + "u" * 600 + ">",
        "Auto-Submitted": "auto-generated",
    }
    letter = made(headers=headers)
    ensure_sendable(letter)
    mail = read(letter)
    assert headers == {name: str(mail[name]) for name in headers}


INJECTIONS: list[dict[str, Any]] = [
    {column: text}
    for column in ("subject", "recipients", "cc", "bcc", "sender", "reply_to")
    for text in (
        "x\r\nBcc: eve@example.net",
        "x\nBcc: eve@example.net",
        "x\rBcc: eve@example.net",
        "x\0",
        "Eve\r\nBcc: e@e <a@b>",
        '"Eve\r\nBcc: e@e" <a@b>',
        "a@b (Eve\r\nBcc: e@e)",
        "=?utf-8?q?Eve=0D=0ABcc:_e=40e?= <a@b>",
        "a@b\r\n\r\nNew body",
        "a@b\u2028Bcc: e@e",
        "a@b\x85Bcc: e@e",
        "\ud800 <a@b>",
    )
]
INJECTIONS += [
    {"headers": {"X-A": "x\r\nBcc: eve@example.net"}},
    {"headers": {"X-A": "x\n\nbody"}},
    {"headers": {"X-A\r\nBcc": "eve@example.net"}},
    {"headers": {"X-A: x\r\nBcc: e@e\r\nX": "y"}},
    {"headers": {"X A": "y"}},
    {"headers": {"": "y"}},
    {"headers": {"X-Ä": "y"}},
    {"message_id": "<a@b>\r\nBcc: e@e"},
    {"attachments": [Attachment(filename='a"\r\nBcc: e@e', content_type="a/b", content=b"")]},
    {"attachments": [Attachment(filename="a", content_type="a/b\r\nBcc: e@e", content=b"")]},
    {"attachments": [Attachment(filename="a", content_type='a/b; x="\r\nBcc: e@e"', content=b"")]},
    {"attachments": [Attachment(filename="a", content_type="a/b", content=b"", content_id="x\r\nBcc: e@e")]},
]


@pytest.mark.parametrize("columns", INJECTIONS, ids=[ascii(columns)[:70] for columns in INJECTIONS])
def test_no_column_can_write_a_field_of_its_own(columns: dict[str, Any]) -> None:
    """Refused with one clear line that begins with the column, or harmless; never a field or a body that we did not write."""
    letter = made_or_refused(**columns)
    if isinstance(letter, str):
        assert letter.startswith(f"{next(iter(columns))}: ")
        assert letter.isprintable()
        return
    ours = {"from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version"}
    fields = {name.lower() for name, _ in message_from_bytes(letter.content).items()}
    assert set() == fields - ours - {"content-type", "content-transfer-encoding"}
    assert "Text.\n" == read(letter).get_content().replace("\r\n", "\n")


RESERVED = ["From", "to", "CC", "Bcc", "Sender", "Reply-To", "Subject", "Date", "Message-Id", "MIME-Version"]
RESERVED += ["Content-Type", "content-anything", "Resent-Bcc", "Return-Path", "Received"]


@pytest.mark.parametrize("name", RESERVED)
def test_own_fields_can_not_override_ours(name: str) -> None:
    with pytest.raises(errors.InputInvalid, match=f"^headers: {name} is written by the house"):
        made(headers={name: "x"})


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["subject", "sender", "reply_to", "cc", "bcc", "body", "html"]),
        st.text() | st.text(st.sampled_from('a@b<>"(),:;=?\r\n \tü漢\0\ud800.'), max_size=200),
    ),
    st.dictionaries(st.text(max_size=10), st.text(max_size=300), max_size=3),
)
def test_any_text_gives_a_sound_letter_or_one_clear_line(columns: dict[str, str], headers: Mapping[str, str]) -> None:
    letter = made_or_refused(**columns, headers=headers)
    if isinstance(letter, str):
        assert letter.isprintable()
        return
    ensure_sendable(letter)
    assert MESSAGE_ID == message_from_bytes(letter.content)["Message-ID"]


# --- body -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["body", "html"])
@pytest.mark.parametrize("broken", ["a\0", "Gr\udcfcn"])
def test_a_text_that_would_be_damaged_is_refused(column: str, broken: str) -> None:
    with pytest.raises(errors.InputInvalid, match=f"^{column}: NUL, or octets that are not UTF-8"):
        made(**{"body": None, column: broken})


@settings(max_examples=60)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.text(st.sampled_from("ab. =\t\n\rü-漢\x0c\x1b"), max_size=300)
)
def test_any_body_comes_back_but_for_its_line_ends(body: str) -> None:
    letter = made(body=body)
    ensure_sendable(letter)
    expected = re.sub("\r\n|\r", "\n", body)
    if expected and not expected.endswith("\n"):
        expected += "\n"
    payload = message_from_bytes(letter.content).get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert expected.replace("\n", "\r\n").encode() == payload


BODIES = [
    ("ASCII", "Text.\n", "7bit"),
    ("a line of 998", "x" * 998, "7bit"),
    ("a line of 999", "x" * 999, "quoted-printable"),
    ("German", "Schöne Grüße aus Köln, und noch ein Satz ohne das.\n", "quoted-printable"),
    ("Chinese", "你好世界\n", "base64"),
    ("dots", ".\n..\n.x\n", "7bit"),
    ("one long German line", "Schöne Grüße aus Köln, und noch ein Satz ohne das. " * 300, "quoted-printable"),
    ("empty", "", "7bit"),
]


@pytest.mark.parametrize(("body", "encoding"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_text_is_sent_in_seven_bits_and_readable_where_it_can(body: str, encoding: str) -> None:
    letter = made(body=body)
    ensure_sendable(letter)
    assert not letter.needs_8bit
    assert encoding == read(letter)["Content-Transfer-Encoding"]


def test_a_line_of_from_and_dots_stays() -> None:
    body = "From here on\n.\n.. two\nFrom there\n"
    assert body == read(made(body=body)).get_content().replace("\r\n", "\n")


def shape(mail: EmailMessage) -> Any:
    """The tree of content types."""
    if mail.is_multipart() and mail.get_content_maintype() == "multipart":
        return (mail.get_content_subtype(), *(shape(part) for part in mail.iter_parts()))  # type: ignore[arg-type]
    return mail.get_content_type()


PNG = Attachment(filename="logo.png", content_type="image/png", content=b"\x89PNG\r\n\0", content_id="logo@x")
PDF = Attachment(filename="a.pdf", content_type="application/pdf", content=b"%PDF")
SHOWS = '<img src="cid:logo@x">'
SHAPES: list[tuple[dict[str, Any], Any]] = [
    ({"body": "x"}, "text/plain"),
    ({"body": None}, "text/plain"),
    ({"body": None, "html": "<b>x</b>"}, "text/html"),
    ({"body": "", "html": "<b>x</b>"}, "text/html"),
    ({"body": "x", "html": ""}, "text/plain"),
    ({"body": "x", "html": "<b>x</b>"}, ("alternative", "text/plain", "text/html")),
    ({"body": "x", "attachments": [PDF]}, ("mixed", "text/plain", "application/pdf")),
    (
        {"body": "x", "html": SHOWS, "attachments": [PDF, PNG]},
        ("mixed", ("alternative", "text/plain", ("related", "text/html", "image/png")), "application/pdf"),
    ),
    ({"body": None, "html": SHOWS, "attachments": [PNG]}, ("related", "text/html", "image/png")),
    (
        {"body": "x", "html": "no image", "attachments": [PNG]},
        ("mixed", ("alternative", "text/plain", "text/html"), "image/png"),
    ),
    ({"body": "x", "attachments": [PNG]}, ("mixed", "text/plain", "image/png")),
]


@pytest.mark.parametrize(("columns", "expected"), SHAPES, ids=[str(expected) for _, expected in SHAPES])
def test_the_body_has_the_layers_it_needs_and_no_other(columns: dict[str, Any], expected: Any) -> None:
    letter = made(**columns)
    ensure_sendable(letter)
    assert expected == shape(read(letter))


def test_text_html_and_inline_image_come_back() -> None:
    mail = read(made(body="Hällo\n", html=f"<p>Hällo</p>{SHOWS}\n", attachments=[PNG]))
    plain, rich = mail.get_body(("plain",)), mail.get_body(("related", "html"))
    assert plain is not None
    assert rich is not None
    assert "Hällo\n" == plain.get_content().replace("\r\n", "\n")
    html, image = rich.iter_parts()
    assert isinstance(html, EmailMessage)
    assert isinstance(image, EmailMessage)
    assert f"<p>Hällo</p>{SHOWS}\n" == html.get_content().replace("\r\n", "\n")
    assert ("<logo@x>", "inline", "logo.png", PNG.content) == (
        image["Content-ID"],
        image.get_content_disposition(),
        image.get_filename(),
        image.get_content(),
    )


@pytest.mark.parametrize("compat", [policy.default, policy.compat32], ids=["default", "compat32"])
@pytest.mark.parametrize(
    "filename",
    ["a.pdf", "März 2026.pdf", 'quo"te\\.txt', "漢字" * 60 + ".txt", "x" * 200 + ".pdf", "a;b=c.txt", "per%cent*'.txt"],
)
def test_file_names_come_back_as_they_were(filename: str, compat: Any) -> None:
    letter = made(attachments=[replace(PDF, filename=filename)])
    ensure_sendable(letter)
    parts = list(message_from_bytes(letter.content, policy=compat).walk())
    assert filename == parts[-1].get_filename()


def test_a_file_without_a_name_or_type_gets_one() -> None:
    (part,) = read(made(attachments=[replace(PDF, filename="", content_type="")])).iter_attachments()
    assert ("attachment", "application/octet-stream") == (part.get_filename(), part.get_content_type())


def test_parameters_of_a_type_are_kept_but_not_its_name() -> None:
    given_type = 'Text/CSV; charset=iso-8859-1; header="present" ; name="x.csv"'
    (part,) = read(made(attachments=[replace(PDF, content_type=given_type)])).iter_attachments()
    assert ("text/csv", {"charset": "iso-8859-1", "header": "present"}) == (
        part.get_content_type(),
        dict(part["Content-Type"].params),
    )


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_octets_of_attachments_come_back(contents: list[bytes]) -> None:
    files = [Attachment(filename=f"{n}", content_type="application/x-any", content=c) for n, c in enumerate(contents)]
    letter = made(attachments=files)
    ensure_sendable(letter)
    assert contents == [part.get_payload(decode=True) for part in read(letter).iter_attachments()]


def test_a_message_goes_as_a_message_where_it_can() -> None:
    inner = b"Subject: inner\n\nText.\n"
    (part,) = read(made(attachments=[replace(PDF, content_type="message/rfc822", content=inner)])).iter_attachments()
    assert ("message/rfc822", "7bit") == (part.get_content_type(), part["Content-Transfer-Encoding"])
    assert "inner" == part.get_content()["Subject"]


@pytest.mark.parametrize("inner", [b"Subject: \xfc\r\n\r\n", b"S: x\r\n\r\n" + b"x" * 999, b"a\0"])
def test_a_message_that_can_not_go_as_it_is_goes_as_a_file(inner: bytes) -> None:
    (part,) = read(made(attachments=[replace(PDF, content_type="message/rfc822", content=inner)])).iter_attachments()
    assert ("application/octet-stream", inner) == (part.get_content_type(), part.get_content())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content_type": "pdf"}, "can't be the type of a file"),
        ({"content_type": "multipart/mixed; boundary=x"}, "can't be the type of a file"),
        ({"content_type": "a/b; nonsense"}, "what is behind the type"),
        ({"content_type": "a/b c"}, "what is behind the type"),
        ({"content_id": "a b"}, "not of the form"),
        ({"filename": "a\nb"}, "line break"),
        ({"filename": "\ud800"}, "broken character"),
        ({"filename": "x" * 1001}, "more than 1000"),
    ],
)
def test_an_attachment_that_can_not_be_named_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(errors.InputInvalid, match=f"^attachments: number 2: .*{reason}"):
        made(attachments=[PDF, replace(PDF, **change)])  # type: ignore[arg-type]


def test_a_text_that_guesses_the_boundary_does_not_end_its_part() -> None:
    first = made(attachments=[PDF])
    boundary = read(first).get_boundary()
    letter = made(body=f"--{boundary}\n\n--{boundary}--\n", attachments=[PDF])
    assert ("mixed", "text/plain", "application/pdf") == shape(read(letter))


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"recipients": ""}, "recipients: there is no address in it"),
    ({"recipients": "nobody:;", "cc": "a@b"}, "recipients: there is no address in it"),
    ({"recipients": "anna"}, "recipients: “anna” is no address"),
    ({"cc": "anna"}, "cc: “anna”"),
    ({"bcc": "anna"}, "bcc: “anna”"),
    ({"sender": "anna"}, "sender: “anna”"),
    ({"sender": "a@b, c@d"}, "sender: one address is needed"),
    ({"reply_to": "anna"}, "reply_to: “anna”"),
    ({"subject": "x" * 50_001}, "subject: 50001 characters"),
    ({"headers": {"X-A": "x" * 1000}}, "headers: X-A: a word of more than"),
    ({"headers": {"X-A": 1}}, "headers: X-A: a text is needed"),
    ({"headers": {"X" * 77: "1"}}, "is no name for a header field"),
    ({"message_id": "no id"}, "message_id: not of the form"),
]


@pytest.mark.parametrize(("columns", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_a_row_that_can_not_be_a_letter_says_which_column(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.InputInvalid) as raised:
        made(**columns)
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()


# --- international addresses ------------------------------------------------------------------------------------------


def test_an_international_domain_needs_nothing_of_the_relay() -> None:
    letter = made(recipients="Bob <bob@bücher.example>")
    assert ("bob@xn--bcher-kva.example", False, False) == (
        letter.recipients[0].address,
        letter.needs_smtputf8,
        letter.needs_8bit,
    )


def test_an_international_local_part_needs_smtputf8() -> None:
    letter = made(recipients="Jörg <jörg@example.net>")
    assert (True, True) == (letter.needs_smtputf8, letter.needs_8bit)
    assert b"<j\xc3\xb6rg@example.net>" in letter.content
    hidden = made(bcc="jörg@example.net")
    assert (True, False) == (hidden.needs_smtputf8, hidden.needs_8bit)


# --- raw --------------------------------------------------------------------------------------------------------------

RAW = b"From: a@b\r\nTo: c@d\r\nMessage-ID: <own@b>\r\nX-Odd:   spaces  \r\n\r\nText.\r\n.\r\n"


def test_a_raw_message_goes_octet_for_octet_with_the_columns_envelope() -> None:
    letter = made(raw=RAW, recipients="bob@example.net", bcc="eve@example.net", sender="anna@work.example")
    assert RAW == letter.content
    assert ("anna@work.example", ["bob@example.net", "eve@example.net"], "<own@b>", False) == (
        letter.sender,
        [one.address for one in letter.recipients],
        letter.message_id,
        letter.needs_8bit,
    )


# What a long line in the text makes of the label, and of the line.
LABELLED = b"\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
SOFT = (b"a" * 75 + b"=\r\n") * 13 + b"a" * 24 + b"\r\n"
RAWS = [
    ("bare LF", RAW.replace(b"\r\n", b"\n"), RAW),
    ("bare CR", RAW.replace(b"\r\n", b"\r"), RAW),
    ("no last line end", RAW[:-2], RAW),
    ("header only", b"Subject: x", b"Subject: x\r\n"),
    ("Bcc", b"Bcc: eve@example.net\r\n" + RAW, RAW),
    ("folded bcc", RAW.replace(b"To:", b"bCC : eve@a,\r\n\tmallory@b\r\nTo:"), RAW),
    ("Resent-Bcc", b"Resent-Bcc: eve@a\r\n" + RAW, RAW),
    ("Bcc last", b"A: b\r\nBcc: eve@a\r\n\r\nBcc: in the text\r\n", b"A: b\r\n\r\nBcc: in the text\r\n"),
    (
        "a long line",
        RAW + b"a" * 999,
        RAW.replace(b"\r\n\r\n", LABELLED, 1).replace(b"\r\n.\r\n", b"\r\n=2E\r\n") + SOFT,
    ),
    ("Bcc last of a header alone", b"A: b\r\nBcc: eve@a", b"A: b\r\n"),
]


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in RAWS], ids=[case[0] for case in RAWS])
def test_only_line_ends_and_bcc_of_a_raw_message_change(raw: bytes, expected: bytes) -> None:
    letter = made(raw=raw)
    assert expected == letter.content
    assert b"eve" not in letter.content


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Message-ID: <a@b>\r\n", "<a@b>"),
        (b"MESSAGE-ID:\r\n <a@b>\r\n", "<a@b>"),
        (b"Message-Id : <a@b> (x)\r\n", "<a@b>"),
        (b"Message-ID: nonsense\r\n", None),
        (b"Message-ID: <\xff@b>\r\n", None),
        (b"", None),
    ],
)
def test_the_id_of_a_raw_message_is_its_own(field: bytes, expected: str | None) -> None:
    assert expected == made(raw=b"From: a@b\r\n" + field + b"\r\n<no@id>\r\n").message_id


def test_a_raw_message_with_eight_bits_says_so() -> None:
    assert made(raw=b"Subject: x\r\n\r\n\xfc\r\n").needs_8bit


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"no header\r\n\r\n",
        b"From anna@example.org Mon Nov 23\r\nSubject: x\r\n\r\n",
        b" a: b",
        b"Bcc: a@b\r\n",
        b"Subject: " + b"a" * 999 + b"\r\n",
        b"Subject: x\0\r\n",
    ],
)
def test_raw_nonsense_is_refused(raw: bytes) -> None:
    with pytest.raises(errors.InputInvalid, match=r"^raw: "):
        made(raw=raw)


@pytest.mark.parametrize(
    "columns", [{"subject": "x"}, {"body": "x"}, {"html": "x"}, {"headers": {"A": "b"}}, {"attachments": [PDF]}]
)
def test_a_raw_message_takes_nothing_beside_it(columns: dict[str, Any]) -> None:
    with pytest.raises(errors.InputInvalid, match=r"^raw: a complete message"):
        made(raw=RAW, **columns)


# --- ids --------------------------------------------------------------------------------------------------------------


def test_ids_are_fixed_by_row_and_time() -> None:
    assert "<20261123120005.123456.7.postroom@example.org>" == new_message_id(NOW, "example.org", unique="7")
    east = NOW.astimezone(timezone(timedelta(hours=8)))
    assert new_message_id(NOW, "example.org", "7") == new_message_id(east, "example.org", "7")


@pytest.mark.parametrize(
    ("domain", "expected"), [("bücher.example", "xn--bcher-kva.example"), ("a b", "localhost"), ("", "localhost")]
)
def test_ids_are_ascii(domain: str, expected: str) -> None:
    assert new_message_id(NOW, domain, "7").endswith(f".7.postroom@{expected}>")


def test_the_draft_keeps_the_id_it_has() -> None:
    assert "<old@x>" == made(message_id="old@x").message_id == read(made(message_id="<old@x>"))["Message-ID"]


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_large_attachment_is_written_once() -> None:
    """Beside the octets given there is the letter, and no further copy on the way to the wire."""
    large = Attachment(filename="a.bin", content_type="application/octet-stream", content=bytes(range(256)) * 32_768)
    tracemalloc.start()
    letter = made(attachments=[large])
    assert lines.stuff(letter.content) is letter.content
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.4 * len(letter.content)


def test_ten_thousand_recipients_make_a_letter() -> None:
    letter = made(recipients=", ".join(f"Jörg {n} <r{n}@example.net>" for n in range(10_000)))
    ensure_sendable(letter)
    assert 10_000 == len({one.address for one in letter.recipients})
