"""Attachments: which parts are files, what they are called, what they hold."""

import base64
import hashlib

import pytest

from daemon.demo import letters
from daemon.mail import mime, parse, transfer
from daemon.mail.defects import Notes
from daemon.mail.message import AttachmentRow, Parsed

HEAD = b"From: a@example.org\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"


def with_part(part_head: str, body: bytes = b"x") -> bytes:
    return HEAD + (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
        + part_head.encode()
        + b"\r\n\r\n"
        + body
        + b"\r\n--b--\r\n"
    )


def only(found: Parsed) -> AttachmentRow:
    assert 1 == len(found.attachments)
    return found.attachments[0]


def test_attachments_are_described() -> None:
    raw = letters.sample()[6]
    found = parse.parse(raw)
    content = "Anwesend: Anna, Bob, Carol\nThema: der Fahrradkeller\nBeschluss: Der Schlüssel hängt künftig beim Hausmeister.\n"
    assert "Rechnung 2026\u20130815.pdf\nProtokoll März.txt" == found.attachment_names
    assert found.attachments[1] == AttachmentRow(
        part="3",
        filename="Protokoll März.txt",
        content_type="text/plain",
        octets=len(content.encode()),
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        content_id=None,
        disposition="attachment",
    )
    assert content.encode() == parse.attachment(raw, "3")
    assert None is parse.attachment(raw, "1")
    assert None is parse.attachment(raw, "9.9")


def test_inline_images_are_attachments_with_their_content_id() -> None:
    picture = only(parse.parse(letters.sample()[5]))
    assert ("2.2", "kettle@club", "inline") == (picture.part, picture.content_id, picture.disposition)


def test_a_message_that_is_one_file_is_its_own_part() -> None:
    raw = letters.sample()[9]
    statement = only(parse.parse(raw))
    assert ("1", "auszug.csv", 54) == (statement.part, statement.filename, statement.octets)
    assert 54 == len(parse.attachment(raw, "1") or b"")


def test_a_forwarded_message_is_a_file_and_text_and_its_files_are_too() -> None:
    inner = with_part('Content-Type: image/png; name="p.png"').replace(b"=b\r\n", b"=c\r\n").replace(b"--b", b"--c")
    found = parse.parse(with_part("Content-Type: message/rfc822", b"Subject: in/ner\r\n" + inner))
    assert [("2", "in-ner.eml"), ("2.2", "p.png")] == [(row.part, row.filename) for row in found.attachments]
    assert "hello\n\nin/ner\n\nhello" == found.body_text


def test_a_forwarded_message_in_base64_is_opened() -> None:
    head = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64"
    found = parse.parse(with_part(head, base64.encodebytes(b"Subject: inner\r\n\r\nwords\r\n")))
    assert "hello\n\ninner\n\nwords" == found.body_text
    assert 25 == only(found).octets


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        ('Content-Type: a/b; name="plain.txt"', "plain.txt"),
        ("Content-Type: a/b; name=bare name.txt", "bare name.txt"),
        ('Content-Type: a/b; name="one"\r\nContent-Disposition: attachment; filename="other"', "other"),
        ("Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("Content-Disposition: attachment; filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ('Content-Disposition: attachment; filename*0="a long"; filename*1=" name.txt"', "a long name.txt"),
        ("Content-Disposition: attachment; filename*1*=%9Fe; filename*0*=utf-8''Gr%C3%BC%C3", "Grüße"),
        ("Content-Disposition: attachment; filename*0*=iso-8859-1''caf%E9; filename*1=.txt", "café.txt"),
        ("Content-Disposition: attachment; filename*=''plain", "plain"),
        ("Content-Disposition: attachment; filename*=x", "x"),
        ("Content-Disposition: attachment; filename*=%", "%"),
        ('Content-Disposition: attachment; filename="=?utf-8?q?Gr=C3=BC=C3=9Fe?="', "Grüße"),
        ('Content-Disposition: attachment; filename="Grüße"', "Grüße"),
        ('Content-Disposition: attachment; filename="../../etc/passwd"', "passwd"),
        ('Content-Disposition: attachment; filename="C:\\dir\\file.txt"', "file.txt"),
        ('Content-Disposition: attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ('Content-Disposition: attachment; filename="unclosed', '"unclosed'),
        ("Content-Disposition: attachment; filename*0*0=x; filename*-1=y; filename", ""),
        ('Content-Disposition: attachment; filename="a\\u0000b"'.replace("\\u0000", "\0"), "a\ufffdb"),
        ("Content-Disposition: attachment", ""),
        ("Content-Disposition: something-new", ""),
    ],
)
def test_file_names_are_read_and_made_harmless(head: str, filename: str) -> None:
    assert filename == only(parse.parse(with_part(head))).filename


@pytest.mark.parametrize(
    ("head", "defects"),
    [
        ("filename*0*=utf-8''a; filename*1=b", ()),
        ("filename*1=b; filename*0=a", ("parameter_repaired",)),
        ("filename*0=a; filename*2=c", ("parameter_repaired",)),
        ('filename="=?utf-8?q?a?="', ()),  # against RFC 2047, and what most programs write
        ("filename*=utf-8''%C3", ("charset_wrong",)),
        ("filename*=x-none''%C3%BC", ("charset_unknown",)),
    ],
)
def test_repairs_of_file_names_are_named(head: str, defects: tuple[str, ...]) -> None:
    assert defects == parse.parse(with_part(f"Content-Disposition: attachment; {head}")).defects


@pytest.mark.parametrize(
    ("encoding", "body", "content", "defects"),
    [
        ("base64", b"aGVsbG8=", b"hello", ()),
        ("BASE64", b"aGVs\r\nbG8=\r\n", b"hello", ()),
        ("base64", b"aGVsbG8", b"hello", ("base64_damaged",)),  # cut off, or its padding forgotten
        ("base64", b"aGVsbG8=\r\ntrailer", b"hello", ("base64_damaged",)),
        ("base64", b"a!GVs\xffbG8=", b"hello", ("base64_damaged",)),
        ("base64", b"aGVsb", b"hel", ("base64_damaged",)),
        ("base64", b"", b"", ()),
        ("base64", b"====", b"", ()),
        ("quoted-printable", b"h=65llo=\r\n you", b"hello you", ()),
        ("quoted-printable", b"=ZZ =", b"=ZZ ", ("quoted_printable_damaged",)),
        ("quoted-printable", b"a= \t\r\nb =\r\n", b"ab ", ("quoted_printable_damaged",)),
        ("7bit", b"as\0it\xff is", b"as\0it\xff is", ()),
        ("", b"as it is", b"as it is", ()),
        ("x-strange", b"as it is", b"as it is", ("transfer_encoding_unknown",)),
    ],
)
def test_transfer_encodings_are_undone(encoding: str, body: bytes, content: bytes, defects: tuple[str, ...]) -> None:
    raw = with_part(f"Content-Type: a/b\r\nContent-Transfer-Encoding: {encoding}", body)
    found = parse.parse(raw)
    assert content == parse.attachment(raw, "2")
    assert (len(content), hashlib.sha256(content).hexdigest()) == (only(found).octets, only(found).sha256)
    assert defects == found.defects


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_content_is_the_same_in_any_pieces(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 40
    body = {"base64": base64.encodebytes(content), "8bit": content, "quoted-printable": b"a=\r\nb=20 \r\n" * 500}[
        encoding
    ]
    raw = with_part(f"Content-Type: a/b\r\nContent-Transfer-Encoding: {encoding}", body)
    whole = parse.attachment(raw, "2")
    for octets in (1, 7, 76, 1000):
        monkeypatch.setattr(transfer, "PIECE_OCTETS", octets)
        assert whole == parse.attachment(raw, "2")


def test_text_with_a_name_is_a_file_unless_it_is_the_whole_message() -> None:
    named = 'Content-Type: text/plain; name="notes.txt"'
    assert "notes.txt" == only(parse.parse(with_part(named))).filename
    lone = parse.parse(HEAD + named.encode() + b"\r\n\r\nhello")
    assert ("hello", ()) == (lone.body_text, lone.attachments)


def test_an_invitation_among_alternatives_is_a_file() -> None:
    body = b"--b\r\n\r\ncome\r\n--b\r\nContent-Type: text/x-amp-html\r\n\r\n<html>\r\n--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN\r\n--b--"
    found = parse.parse(HEAD + b"Content-Type: multipart/alternative; boundary=b\r\n\r\n" + body)
    assert "text/calendar" == only(found).content_type


def test_parts_are_numbered_by_their_place() -> None:
    inner = "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c\r\nContent-Type: a/b\r\n\r\ntwo\r\n--c--"
    root = mime.tree(with_part(inner), Notes())
    assert ["", "1", "2", "2.1", "2.2"] == [part.number for part in root.walk()]
