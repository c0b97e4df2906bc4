"""Files that lie in a message in other ways than MIME's: uuencode, yEnc, winmail.dat."""

import base64
import binascii
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail import parse, posted, tnef
from tests.mail.test_parse_traps import ensure_storable

HEAD = b"From: a@example.org\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
CONTENT = bytes(range(256)) * 3 + b"end"


def uuencoded(content: bytes, name: bytes = b"cat.gif", end: bytes = b"`\r\nend\r\n") -> bytes:
    lines = [binascii.b2a_uu(content[n : n + 45]).replace(b"\n", b"\r\n") for n in range(0, len(content), 45)]
    return b"begin 644 " + name + b"\r\n" + b"".join(lines) + end


def yencoded(content: bytes, name: bytes = b"cat.gif", crc: int | None = None) -> bytes:
    octets = b"".join(
        b"=" + bytes([(octet + 106) % 256]) if (octet + 42) % 256 in b"\0\r\n=" else bytes([(octet + 42) % 256])
        for octet in content
    )
    head = b"=ybegin line=128 size=%d name=%b\r\n" % (len(content), name)
    crc = zlib.crc32(content) if crc is None else crc
    return head + octets + b"\r\n=yend size=%d crc32=%08x\r\n" % (len(content), crc)


def attribute(number: int, content: bytes) -> bytes:
    return struct.pack("<BHHI", 2, number, 6, len(content)) + content + b"\0\0"


def properties(*values: tuple[int, int, bytes]) -> bytes:
    given = [
        struct.pack("<HHII", kind, number, 1, len(octets)) + octets + b"\0" * (-len(octets) % 4)
        for kind, number, octets in values
    ]
    return struct.pack("<I", len(values)) + b"".join(given)


def envelope(*attributes: bytes) -> bytes:
    return tnef.SIGNATURE + b"\1\0" + attribute(0x9007, struct.pack("<II", 1252, 0)) + b"".join(attributes)


LETTER = envelope(
    attribute(0x9003, properties((0x1F, 0x1000, "Grüße\r\n".encode("utf-16-le") + b"\0\0"))),
    attribute(0x9002, b"\0" * 14),
    attribute(0x8010, b"CAT~1.GIF\0"),
    attribute(0x800F, CONTENT),
    attribute(0x9005, properties((0x1F, 0x3707, "Kätzchen.gif\0".encode("utf-16-le")), (0x1E, 0x370E, b"image/gif\0"))),
    attribute(0x9002, b"\0" * 14),
    attribute(0x800F, b"two"),
)
FORWARDED = envelope(attribute(0x9002, b""), attribute(0x9005, properties((0x0D, 0x3701, b"\0" * 16 + LETTER))))


def as_winmail(stream: bytes) -> bytes:
    return (
        HEAD
        + b'Content-Type: application/ms-tnef; name="winmail.dat"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + base64.encodebytes(stream)
    )


@pytest.mark.parametrize("encoded", [uuencoded(CONTENT), yencoded(CONTENT)], ids=["uuencode", "yEnc"])
@pytest.mark.parametrize("transfer", ["8bit", "base64"])
def test_a_file_in_a_text_becomes_an_attachment(encoded: bytes, transfer: str) -> None:
    body = b"before\r\n" + encoded + b"after\r\n"
    raw = HEAD + f"Content-Transfer-Encoding: {transfer}\r\n\r\n".encode()
    raw += base64.encodebytes(body) if transfer == "base64" else body
    found = parse.parse(raw)
    assert ("before\nafter", ("file_in_text",)) == (found.body_text, found.defects)
    assert [("1.1", "cat.gif", len(CONTENT))] == [(row.part, row.filename, row.octets) for row in found.attachments]
    assert CONTENT == parse.attachment(raw, "1.1")


def test_files_may_follow_one_another_and_be_all_there_is() -> None:
    raw = HEAD + b"\r\n" + uuencoded(b"one", b"1.txt") + uuencoded(b"two", b"C:\\2.txt") + yencoded(b"three", b"3.txt")
    found = parse.parse(raw)
    assert ("", ["1.txt", "2.txt", "3.txt"]) == (found.body_text, [row.filename for row in found.attachments])
    assert [b"one", b"two", b"three"] == [parse.attachment(raw, f"1.{number}") for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "encoded",
    [uuencoded(CONTENT, end=b""), yencoded(CONTENT, crc=1), yencoded(CONTENT).partition(b"=yend")[0]],
    ids=["no end", "wrong checksum", "no yend"],
)
def test_a_damaged_file_is_kept_and_named(encoded: bytes) -> None:
    raw = HEAD + b"\r\ntext\r\n" + encoded
    found = parse.parse(raw)
    assert {"file_in_text", "file_in_text_damaged"} == set(found.defects)
    assert CONTENT == parse.attachment(raw, "1.1")
    assert "text" == found.body_text


@pytest.mark.parametrize(
    "text",
    [
        "begin 644 times again\nand then some more of it",
        "begin 644 x",
        "Begin 644 x\n#",
        "=ybegin is a word",
        "=ybegin line=1 size=2\nwithout a name",
        "begin 644 SHOUTING\nTHIS IS A VERY LONG LINE OF TEXT IN CAPITALS INDEED\nend",
    ],
)
def test_what_only_begins_so_stays_text(text: str) -> None:
    found = parse.parse(HEAD + b"\r\n" + text.replace("\n", "\r\n").encode())
    assert (text, (), ()) == (found.body_text, found.attachments, found.defects)


def test_blanks_that_were_lost_at_line_ends_are_zeros() -> None:
    content = b"x" * 45 + b"\0" * 45
    encoded = uuencoded(content).replace(b" " * 60, b"")
    assert len(encoded) < len(uuencoded(content))
    assert content == parse.attachment(HEAD + b"\r\n" + encoded, "1.1")


def test_uuencode_may_be_called_a_transfer_encoding() -> None:
    raw = HEAD + b"Content-Type: image/gif\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n" + uuencoded(CONTENT)
    assert (CONTENT, ()) == (parse.attachment(raw, "1"), parse.parse(raw).defects)


def test_winmail_is_an_attachment_and_what_lies_in_it_too() -> None:
    raw = as_winmail(LETTER)
    found = parse.parse(raw)
    assert ("Grüße", ()) == (found.body_text, found.defects)
    assert [
        ("1", "winmail.dat", "application/ms-tnef"),
        ("1.1", "Kätzchen.gif", "image/gif"),
        ("1.2", "", "application/octet-stream"),
    ] == [(row.part, row.filename, row.content_type) for row in found.attachments]
    assert [CONTENT, b"two"] == [parse.attachment(raw, part) for part in ("1.1", "1.2")]


def test_the_text_in_winmail_is_taken_where_there_is_no_other() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nthe text\r\n--b\r\n"
    raw = HEAD + head + as_winmail(LETTER).partition(b"+0000\r\n")[2] + b"\r\n--b--"
    assert "the text" == parse.parse(raw).body_text


def test_a_message_in_winmail_is_opened() -> None:
    raw = as_winmail(FORWARDED)
    found = parse.parse(raw)
    assert ["1", "1.1", "1.1.1", "1.1.2"] == [row.part for row in found.attachments]
    assert CONTENT == parse.attachment(raw, "1.1.1")


@pytest.mark.parametrize("cut", [3, 20, 60, 200])
def test_a_damaged_winmail_stays_as_it_is(cut: int) -> None:
    raw = as_winmail(LETTER[:cut])
    found = parse.parse(raw)
    assert ("tnef_damaged",) == found.defects
    assert LETTER[:cut] == parse.attachment(raw, "1")


def test_winmail_within_winmail_ends() -> None:
    stream = LETTER
    for _ in range(30):
        stream = envelope(attribute(0x9002, b""), attribute(0x9005, properties((0x0D, 0x3701, b"\0" * 16 + stream))))
    assert ("nested_too_deep",) == parse.parse(as_winmail(stream)).defects


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_winmail_is_a_row(data: st.DataObject) -> None:
    stream = bytearray(FORWARDED)
    for _ in range(data.draw(st.integers(1, 6))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    raw = as_winmail(bytes(stream))
    found = parse.parse(raw)
    ensure_storable(found)
    for row in found.attachments:
        assert row.octets == len(parse.attachment(raw, row.part) or b"")


@given(content=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_what_was_posted_comes_back(content: bytes) -> None:
    for encoded in (uuencoded(content), yencoded(content)):
        if content or encoded.startswith(b"="):
            assert content == parse.attachment(HEAD + b"\r\nx\r\n" + encoded + b"\r\ny", "1.1")


HOSTILE = {
    "begin": HEAD + b"\r\n" + b"begin 644 x\r\n" * 70_000,
    "begin and a line": HEAD + b"\r\n" + b"begin 644 x\r\n#ABC\r\n" * 50_000,
    "ybegin": HEAD + b"\r\n" + b"=ybegin name=x\r\n" * 60_000,
    "ybegin and yend": HEAD + b"\r\n" + b"=ybegin name=x\r\n=yend \r\n" * 40_000,
    "uuencode": HEAD + b"\r\n" + uuencoded(b"x" * 700_000),
    "lines without letters": HEAD + b"\r\nbegin 644 x\r\n#ABCD\r\n" + b"    \r\n" * 150_000,
    "attributes": as_winmail(tnef.SIGNATURE + b"\1\0" + attribute(0x9002, b"") * 90_000),
    "properties": as_winmail(envelope(attribute(0x9003, struct.pack("<I", 2**31) + struct.pack("<HHI", 3, 1, 1) * 100_000))),
    "no values": as_winmail(envelope(attribute(0x9003, b"\0" * 4 + struct.pack("<HHI", 0x1E, 1, 0) * 120_000))),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_little_time(name: str) -> None:
    began = time.process_time()
    found = parse.parse(HOSTILE[name])
    assert time.process_time() - began < 5.0  # half a second on a free machine; in a square of the length, minutes
    ensure_storable(found)


@given(lines=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_lines_are_decoded_somehow(lines: bytes) -> None:
    posted.uudecoded(lines)
    posted.ydecoded(lines)
    raw = HEAD + b"Content-Type: image/gif\r\nContent-Transfer-Encoding: uuencode\r\n\r\n" + lines
    assert "parser_fault" not in parse.parse(raw).defects
