"""Hostile messages: what makes the stdlib's parser raise or take minutes gives a row here, soon.

The first table is that of the traps found in CPython 3.11 and 3.13; the second one takes parsers to their knees.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.mail import parse
from daemon.mail.defects import Defect
from daemon.mail.message import Parsed
from tests import corpus

HEAD = b"From: a@example.org\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
HTML = HEAD + b"Content-Type: text/html\r\n\r\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
DEFECTS = {defect.value for defect in Defect}
MOST_SECONDS = 5.0  # they take 0.3 at most on a free machine; without their caps, minutes


def texts(found: Parsed) -> Iterator[str]:
    yield from (
        found.message_id or "",
        found.in_reply_to or "",
        *found.references,
        found.from_name,
        found.from_address or "",
    )
    yield from (
        found.to_addresses,
        found.cc_addresses,
        found.subject,
        found.body_text,
        found.attachment_names,
        *found.defects,
    )
    for address in found.addresses:
        yield from (address.role, address.name, address.address)
    for row in found.attachments:
        yield from (row.part, row.filename, row.content_type, row.sha256, row.content_id or "", row.disposition)


def ensure_storable(found: Parsed) -> None:
    """Any database takes all of it, and each row once."""
    for text in texts(found):
        text.encode("utf-8")  # raises on half characters
        assert "\0" not in text
    assert DEFECTS >= set(found.defects)
    assert len(set(found.defects)) == len(found.defects)
    assert Defect.PARSER_FAULT not in found.defects
    assert len({(row.role, row.position) for row in found.addresses}) == len(found.addresses)
    assert len({row.part for row in found.attachments}) == len(found.attachments)
    assert None is found.sent_at or None is not found.sent_at.tzinfo


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (HEAD + b"Content-Type: text/plain; charset=x-none\r\n\r\n\xe9", "charset_unknown"),
        (HEAD + b"Content-Type: text/plain; charset=rot13\r\n\r\nabc", "charset_unknown"),
        (HEAD + b"Content-Type: text/plain; charset=hex\r\n\r\n4142", "charset_unknown"),
        (HEAD + b"Content-Type: text/plain; charset=punycode\r\n\r\nabc", "charset_unknown"),
        (HEAD + b"Content-Type: text/plain; charset=\0\r\n\r\nabc", "characters_replaced"),
        (HEAD + b"Content-Type: text/plain; charset=\r\n\r\n\xe9", "charset_wrong"),
        (HEAD + b"Content-Type: multipart/mixed\r\n\r\nabc", "boundary_missing"),
        (HEAD + b"Content-Type: \xff/\0;;=;\r\n\r\nabc", "content_type_unreadable"),
        (HEAD + b"Content-Type: nonsense\r\n\r\nabc", "content_type_unreadable"),
        (HEAD + b"To: .@\r\n\r\nabc", "address_unreadable"),
        (HEAD + b"Cc: @@\r\n\r\nabc", None),
        (HEAD + b"Cc: <a@[1.2.3\r\n\r\nabc", None),
        (HEAD + b"Message-ID: <>\r\n\r\nabc", "message_id_unreadable"),
        (HEAD + b"Message-ID: <foo@[\r\n\r\nabc", None),
        (b"From: =?utf-8?q?a=0D=0ABcc:_b@c?= <a@b>\r\n\r\nabc", None),
        (b"From: " + b"(" * 5000 + b"\r\n\r\nabc", "from_missing"),
        (HEAD + b"Content-Type: text/plain; name*=x\r\n\r\nabc", None),
        (HEAD + b"Content-Type: text/plain; name*9999999999=x; charset*=y\r\n\r\nabc", None),
        (HEAD + b"Subject: \xed\xa0\x80 \xff\r\n\r\nabc", "header_charset_guessed"),
        (HEAD + b"Content-Type: text/plain; charset=utf-16\r\n\r\nabc", None),
        (HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xed\xa0\x80abc", "charset_wrong"),
        (HEAD + b"Content-Type: message/rfc822\r\n\r\n", None),
        (MIXED + b"--b--", "boundary_missing"),
        (MIXED + b"--b", "multipart_unterminated"),
    ],
)
def test_what_the_stdlib_raises_on_is_a_row_with_its_defect(raw: bytes, defect: str | None) -> None:
    found = parse.parse(raw)
    ensure_storable(found)
    if defect is not None:
        assert defect in found.defects


SLOW: dict[str, Callable[[], bytes]] = {
    "multiparts in 10,000 multiparts": lambda: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(10_000)
    ),
    "messages in 10,000 messages": lambda: b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
    "400 multiparts and empty lines": lambda: (
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(400))
        + b"\n" * 500_000
    ),
    "100,000 fields": lambda: b"".join(b"X%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
    "50,000 addresses": lambda: b"To: " + b", ".join(b"A %d <a%d@b.c>" % (n, n) for n in range(50_000)) + b"\r\n\r\n",
    "50,000 odd addresses": lambda: b"To: " + b", ".join(b"(A) a%d @ b.c" % n for n in range(50_000)) + b"\r\n\r\n",
    "links": lambda: HTML + b"".join(b'<a href="https://b.example/%d">x</a>' % n for n in range(5000)),
    "open links": lambda: HTML + b'<a href="https://b.example/">x' * 6000,
    "hidden in hidden": lambda: HTML + b'<p style="display:none">x' * 8000,
    "tiny in tiny": lambda: HTML + b'<i style="font-size:0">x' * 8000,
    "quotes in quotes": lambda: HTML + b'<div class="gmail_quote">x' * 7000,
    "events": lambda: HEAD + b"Content-Type: text/calendar\r\n\r\n" + b"BEGIN:VEVENT\r\nATTENDEE:x\r\n" * 30_000,
    "calendar parameters": lambda: (
        HEAD + b"Content-Type: text/calendar\r\n\r\nBEGIN:VEVENT\r\nSUMMARY" + b";A=B" * 200_000
    ),
    "flowed": lambda: HEAD + b"Content-Type: text/plain; format=flowed\r\n\r\n" + b"> > \r\n" * 150_000,
    "open PGP": lambda: HEAD + b"\r\n" + b"-----BEGIN PGP\r\n" * 60_000,
    "equals signs": lambda: HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=\t" * 400_000,
    "split words": lambda: b"Subject: " + b"=?utf-8?q?=C3?= " * 4000 + b"\r\n\r\n",
    "segments": lambda: b"Content-Type: a/b; " + b"; ".join(b"x*%d=y" % (n % 9999) for n in range(8000)) + b"\r\n\r\n",
    "100,000 parts": lambda: MIXED + b"\n--b\n" * 100_000,
    "near delimiters": lambda: MIXED + b"\n--bX" * 500_000,
    "open <a": lambda: HTML + b"<a " * 70_000,
    "nested <div>": lambda: HTML + b"<div>" * 200_000,
    "nested <div> in many parts": lambda: (
        MIXED + (b"--b\r\nContent-Type: text/html\r\n\r\n" + b"<div>" * 5000 + b"\r\n") * 100
    ),
    "only <": lambda: HTML + b"<" * 500_000,
    "open <pre>": lambda: HTML + b"<pre>\n" * 30_000,
    "breaks": lambda: HTML + b"<br>" * 9000 + b" \n" * 50_000,
    "quotes": lambda: b'To: "' + b'\\"' * 100_000 + b"\r\n\r\n",
    "signs at": lambda: b"To: " + b"@ " * 200_000 + b"\r\n\r\n",
    "angles": lambda: b"To: " + b"<" * 200_000 + b"\r\n\r\n",
    "comments": lambda: b"To: " + b"(" * 200_000 + b"\r\n\r\n",
    "colons": lambda: b"To: " + b"a:" * 200_000 + b"\r\n\r\n",
    "blanks": lambda: b"To: a" + b" " * 400_000 + b"@b\r\n\r\n",
    "open words": lambda: b"Subject: " + b"=?a?q?" * 10_000 + b"\r\n\r\n",
    "open words as addresses": lambda: b"To: " + b"=?utf-8?q?" * 40_000 + b"\r\n\r\n",
    "open identifiers": lambda: b"References: " + b"<" * 65_000 + b"\r\n\r\n",
    "open parameters": lambda: b"Content-Type: multipart/mixed; " + b';a="' * 15_000 + b"\r\n\r\n",
    "quoted parameters": lambda: b'Content-Type: multipart/mixed; a="' + b'\\"' * 30_000 + b"\r\n\r\n",
    "blank parameters": lambda: b"Content-Type: a/b;" + b" " * 65_000 + b"\r\n\r\n",
    "broken lines": lambda: b"From: x\r\n" + b"zzz\r\n" * 150_000 + b"X-a: b\r\n\r\n",
    "folds": lambda: b"Subject: a\r\n" + b" \r\n" * 200_000 + b"\r\n",
    "parentheses in a date": lambda: b"Date: " + b"(" * 100_000 + b"\r\n\r\n",
    "NUL": lambda: b"\0" * 3_000_000,
    "punycode": lambda: (
        HEAD + b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a" * 400_000 + b"-" + b"z" * 400_000
    ),
    "UTF-7": lambda: HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+" * 900_000,
    "quoted-printable": lambda: HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"= " * 1_000_000,
}


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("multiparts in 10,000 multiparts", "nested_too_deep"),
        ("messages in 10,000 messages", "nested_too_deep"),
        ("100,000 fields", "headers_truncated"),
        ("50,000 addresses", "addresses_truncated"),
        ("100,000 parts", "too_many_parts"),
        ("links", "text_truncated"),
        ("events", "text_truncated"),
    ],
)
def test_a_message_that_is_capped_says_so(name: str, defect: str) -> None:
    assert defect in parse.parse(SLOW[name]()).defects


@pytest.mark.parametrize("name", SLOW)
def test_hostile_messages_take_little_time(name: str) -> None:
    raw = SLOW[name]()
    began = time.process_time()
    found = parse.parse(raw)
    assert MOST_SECONDS > time.process_time() - began
    ensure_storable(found)


def test_letters_of_every_shape_are_storable() -> None:
    for letter in corpus.letters(200, seed=3):
        ensure_storable(parse.parse(letter.octets))


# --- anything at all ------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Message-ID",
        "References",
        "In-Reply-To",
        "Content-Type",
        "Content-Disposition",
        "Content-Transfer-Encoding",
        "Content-ID",
        "X",
        "",
    ]
)
PIECES = st.sampled_from(
    [
        b"=?utf-8?q?=C3?=",
        b"=?utf-8?b?",
        b"?=",
        b'"',
        b"\\",
        b"(",
        b")",
        b"<",
        b">",
        b"@",
        b",",
        b";",
        b":",
        b"\xff",
        b"\0",
        b" ",
        b"\r\n ",
        b"\n",
        b"multipart/mixed; boundary=b",
        b"message/rfc822",
        b"text/html",
        b"; charset=utf-7",
        b"; name*0*=",
        b"''%",
        b"base64",
        b"attachment; filename=",
        b"Mon, 23 Nov 2026 12:00:00 +",
        b"\xed\xa0\x80",
        b"iso-2022-jp",
        b"\x1b$B",
        b"a",
    ]
)
VALUES = st.lists(PIECES | st.binary(max_size=6), max_size=12).map(b"".join)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(
    lambda fields: b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields)
)
BODIES = st.lists(
    st.sampled_from([b"--b\r\n", b"--b--\r\n", b"\r\n", b"<p>", b"&#0;", b"=", b"x"]) | FIELDS | st.binary(max_size=20)
).map(b"".join)


@given(raw=st.binary(max_size=2000))
@example(raw=b"\r")
@example(raw=b":")
@example(raw=b"\n\n")
@example(raw=b"Content-Type:multipart/a;boundary=\n--\n")
@settings(max_examples=60, deadline=None)
def test_any_octets_are_a_row(raw: bytes) -> None:
    ensure_storable(parse.parse(raw))


@given(fields=FIELDS, body=BODIES)
@settings(max_examples=60, deadline=None)
def test_anything_that_looks_like_mail_is_a_row(fields: bytes, body: bytes) -> None:
    raw = fields + b"\r\n" + body
    found = parse.parse(raw)
    ensure_storable(found)
    for row in found.attachments:
        assert row.octets == len(parse.attachment(raw, row.part) or b"")


def test_a_bug_of_ours_is_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.mail.mime.tree", lambda *_: 1 / 0)
    assert Parsed(defects=("parser_fault",)) == parse.parse(HEAD)
