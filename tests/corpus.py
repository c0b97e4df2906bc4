"""Letters of many shapes, made from a seed: the same seed gives the same octets.

Each has CRLF line ends and ends with one, so that a POP3 server can send it as it is (`as_sent` gives what it makes of
others). Otherwise anything goes: 8-bit headers, NUL, bare CR, lines longer than a buffer, broken MIME, no header at all. No
two are equal. SHAPES is the table; add a shape by writing a function that returns the part after the trace fields.
"""

# ruff: noqa: RUF001 -- letters of other scripts are the point here
import base64
import quopri
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.header import Header
from random import Random
from typing import Final

CRLF: Final = b"\r\n"
PEOPLE: Final = ("Berta Öztürk", "Zoë Quigley", "Тарас Коваль", "王小明", "Ngũgĩ Njoroge", "plain joe", "Åse Bjørnstad")
SENTENCES: Final = (
    "The kettle on the third floor is on strike again.",
    "Bitte die Schlüssel für den Fahrradkeller zurückgeben.",
    "Les crêpes sont prêtes, apportez du cidre.",
    "Тираж газеты отложен до пятницы.",
    "冬天的猫在窗台上晒太阳。",
    "Η βιβλιοθήκη κλείνει νωρίς σήμερα.",
    "Nobody has seen the blue stapler since Tuesday.",
    "Wöchentliche Übung: fünf Äpfel jonglieren.",
    "Row 12, seats 4 to 9, and do bring the umbrella.",
    "🎻 rehearsal moves to the boiler room 🔥",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message and the name of its shape, for a test's report."""

    shape: str
    octets: bytes


def letters(count: int = 500, seed: int = 1) -> Iterator[Letter]:
    """Give `count` letters; every shape comes up when count >= len(SHAPES)."""
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        random = Random(f"{seed}:{number}")
        yield Letter(shape.__name__, shape(random, f"{seed}.{number}"))


def small(count: int, seed: int = 1) -> Iterator[bytes]:
    """Give `count` everyday letters of about three thousand octets, for measuring."""
    for number in range(count):
        random = Random(f"small:{seed}:{number}")
        text = _text(random, random.randint(30, 60))
        yield _head(random, f"small.{seed}.{number}") + _part("text/plain; charset=utf-8", text.encode(), "8bit")


def as_sent(octets: bytes) -> bytes:
    """Return what a POP3 server sends of a stored message: CRLF for a bare LF, and one at the end (RFC 1939 section 3)."""
    lines = re.sub(rb"(?<!\r)\n", CRLF, octets)
    return lines if lines.endswith(CRLF) else lines + CRLF


# --- pieces ---------------------------------------------------------------------------------------------------------


def _text(random: Random, sentences: int) -> str:
    return "".join(random.choice(SENTENCES) + random.choice((" ", " ", "\r\n")) for _ in range(sentences)) + "\r\n"


def _word(text: str) -> bytes:
    """Encode a header's text (RFC 2047), folded where it is long."""
    return Header(text, "utf-8", maxlinelen=70).encode(linesep="\r\n").encode() if not text.isascii() else text.encode()


def _head(random: Random, name: str, *, subject: str | None = None) -> bytes:
    sender = random.choice(PEOPLE)
    lines = [b"Return-Path: <list-bounces@club.example>"]
    lines += [
        b"Received: from hop%d.club.example (unknown [198.51.100.%d])\r\n\tby hop%d.club.example with ESMTP; Fri, 13 Nov 2026 0%d:10:00 +0100"
        % (hop, random.randint(1, 254), hop + 1, hop)
        for hop in range(random.randint(0, 3))
    ]
    lines += [
        b"From: " + _word(sender) + b" <member%d@club.example>" % random.randint(1, 99),
        b"To: Household <house@example.org>",
        b"Subject: " + _word(subject if subject is not None else random.choice(SENTENCES)),
        b"Date: Fri, 13 Nov 2026 0%d:%02d:%02d +0100"
        % (random.randint(0, 9), random.randint(0, 59), random.randint(0, 59)),
        b"Message-ID: <%s@club.example>" % name.encode(),
        b"MIME-Version: 1.0",
    ]
    return CRLF.join(lines) + CRLF


def _part(content_type: str, content: bytes, encoding: str = "7bit", *more: str) -> bytes:
    """Return a MIME part: its fields, a blank line, its encoded content."""
    if encoding == "base64":
        content = base64.encodebytes(content).replace(b"\n", CRLF)
    elif encoding == "quoted-printable":
        content = quopri.encodestring(content.replace(CRLF, b"\n")).replace(b"\n", CRLF)
    fields = [f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {encoding}", *more]
    return as_sent("\r\n".join(fields).encode() + CRLF + CRLF + content)


def _multipart(random: Random, kind: str, *parts: bytes) -> bytes:
    mark = b"==%032x" % random.getrandbits(128)
    body = b"".join(b"--" + mark + CRLF + part + CRLF for part in parts)
    return (
        b'Content-Type: multipart/%s;\r\n\tboundary="%s"\r\n\r\n' % (kind.encode(), mark)
        + body
        + b"--"
        + mark
        + b"--\r\n"
    )


def _plain(random: Random, sentences: int = 6) -> bytes:
    return _part("text/plain; charset=utf-8", _text(random, sentences).encode(), "quoted-printable")


def _html(random: Random) -> bytes:
    rows = "".join(f"<li>{random.choice(SENTENCES)}</li>\r\n" for _ in range(8))
    page = f"<!doctype html><html><body><ul>\r\n{rows}</ul><p>&copy;&nbsp;club</p></body></html>\r\n"
    return _part("text/html; charset=utf-8", page.encode(), "base64")


def _attachment(random: Random, octets: int, filename: str) -> bytes:
    disposition = f"Content-Disposition: attachment; {filename}"
    return _part("application/octet-stream", random.randbytes(octets), "base64", disposition)


# --- shapes ---------------------------------------------------------------------------------------------------------


def ascii_text(random: Random, name: str) -> bytes:
    text = " ".join(one for one in SENTENCES if one.isascii()) + "\r\n"
    return _head(random, name, subject="hello") + CRLF + text.encode() * random.randint(1, 9)


def utf8_8bit(random: Random, name: str) -> bytes:
    return _head(random, name) + _part("text/plain; charset=utf-8", _text(random, 12).encode(), "8bit")


def quoted_printable(random: Random, name: str) -> bytes:
    return _head(random, name) + _plain(random, 20)


def latin1_8bit(random: Random, name: str) -> bytes:
    text = "Grüße aus Köln, ça va, señor? ½ £\r\n" * random.randint(1, 20)
    return _head(random, name) + _part("text/plain; charset=iso-8859-1", text.encode("latin-1"), "8bit")


def japanese(random: Random, name: str) -> bytes:
    text = "会議は午後三時からです。\r\nよろしくお願いします。\r\n" * random.randint(1, 5)
    return _head(random, name) + _part("text/plain; charset=iso-2022-jp", text.encode("iso-2022-jp"))


def chinese_gb18030(random: Random, name: str) -> bytes:
    text = "附件是上周的报告，请查收。\r\n" * random.randint(1, 5)
    return _head(random, name) + _part("text/plain; charset=gb18030", text.encode("gb18030"), "base64")


def alternative(random: Random, name: str) -> bytes:
    return _head(random, name) + _multipart(random, "alternative", _plain(random), _html(random))


def html_only(random: Random, name: str) -> bytes:
    return _head(random, name) + _html(random)


def attachments(random: Random, name: str) -> bytes:
    named = _attachment(random, random.randint(1, 60_000), 'filename="minutes.bin"')
    odd = _attachment(random, random.randint(1, 9000), "filename*=utf-8''%C3%9Cbersicht%20%E5%86%AC.bin")
    return _head(random, name) + _multipart(random, "mixed", _plain(random), named, odd)


def related(random: Random, name: str) -> bytes:
    image = _part(
        "image/png", random.randbytes(3000), "base64", "Content-ID: <cat@club>", "Content-Disposition: inline"
    )
    return _head(random, name) + _multipart(random, "related", _html(random), image)


def nested(random: Random, name: str) -> bytes:
    inner = _plain(random)
    for _ in range(random.randint(3, 30)):
        inner = _multipart(random, "mixed", inner)
    return _head(random, name) + inner


def forwarded(random: Random, name: str) -> bytes:
    letter = _part("message/rfc822", alternative(random, f"inner.{name}"), "8bit")
    return _head(random, name) + _multipart(random, "mixed", _plain(random), letter)


def delivery_report(random: Random, name: str) -> bytes:
    status = b"Reporting-MTA: dns; hop1.club.example\r\n\r\nFinal-Recipient: rfc822; gone@club.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    report = _part("message/delivery-status", status)
    return _head(random, name) + _multipart(random, "report; report-type=delivery-status", _plain(random), report)


def calendar(random: Random, name: str) -> bytes:
    event = f"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{name}\r\nSUMMARY:Tee\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    part = _part("text/calendar; method=REQUEST; charset=utf-8", event.encode())
    return _head(random, name) + _multipart(random, "alternative", _plain(random), part)


def large(random: Random, name: str) -> bytes:
    part = _attachment(random, random.randint(200_000, 900_000), 'filename="film.bin"')
    return _head(random, name) + _multipart(random, "mixed", _plain(random), part)


def dots(random: Random, name: str) -> bytes:
    lines = [random.choice((b".", b"..", b"...", b".hidden", b". ", b"x.", b".\r")) for _ in range(200)]
    return _head(random, name) + CRLF + b".\r\n" + CRLF.join(lines) + b"\r\n.\r\n"


def replies_in_the_text(random: Random, name: str) -> bytes:
    lines = b"+OK\r\n-ERR no such message\r\n+OK 2 octets\r\nQUIT\r\n354 go ahead\r\n250 2.0.0 ok\r\nFrom here on\r\n>From there\r\n"
    return _head(random, name) + CRLF + lines * random.randint(1, 4)


def buffer_edges(random: Random, name: str) -> bytes:
    """Lines whose ends fall on and around the sizes that buffers have."""
    sizes = [edge + offset for edge in (78, 512, 998, 4096, 8192, 16_384, 65_536) for offset in (-2, -1, 0, 1)]
    random.shuffle(sizes)
    return _head(random, name) + CRLF + b"".join(b"." * random.randint(0, 2) + b"e" * octets + CRLF for octets in sizes)


def one_long_line(random: Random, name: str) -> bytes:
    return _head(random, name) + CRLF + b"long " * random.randint(20_000, 60_000) + CRLF


def blank_lines(random: Random, name: str) -> bytes:
    return _head(random, name) + CRLF * random.randint(2, 2000)


def header_only(random: Random, name: str) -> bytes:
    return _head(random, name)


def header_and_nothing(random: Random, name: str) -> bytes:
    return _head(random, name) + CRLF


def no_header(_random: Random, name: str) -> bytes:
    return CRLF + f"only text, {name}\r\n".encode()


def not_a_header(_random: Random, name: str) -> bytes:
    return f"this was never a header {name}\r\n\tand neither is this\r\n: nor this\r\n\r\ntext\r\n".encode()


def tiny(_random: Random, name: str) -> bytes:
    return f"{name}\r\n".encode()


def raw_8bit_header(random: Random, name: str) -> bytes:
    subject = random.choice(("Größe".encode(), "Größe".encode("latin-1"), b"\xff\xfe\x80 not any charset"))
    return (
        b"Subject: " + subject + CRLF + _head(random, name).replace(b"Subject: ", b"X-Subject: ") + CRLF + b"text\r\n"
    )


def long_references(random: Random, name: str) -> bytes:
    references = b"References:" + b"".join(b"\r\n <%032x@club.example>" % random.getrandbits(128) for _ in range(300))
    return references + CRLF + _head(random, name) + CRLF + b"text\r\n"


def many_fields(random: Random, name: str) -> bytes:
    fields = b"".join(b"X-Hop-%d: %s\r\n" % (n, b"h" * random.randint(0, 200)) for n in range(400))
    return fields + _head(random, name) + CRLF + b"text\r\n"


def many_recipients(random: Random, name: str) -> bytes:
    people = b",\r\n\t".join(b'"Person, %d" <p%d@club.example>' % (n, n) for n in range(300))
    return b"Cc: " + people + CRLF + _head(random, name) + CRLF + b"text\r\n"


def same_message_id(random: Random, name: str) -> bytes:
    head = re.sub(rb"Message-ID: [^\r]*", b"Message-ID: <again@club.example>", _head(random, name))
    return head + CRLF + f"copy {name}\r\n".encode()


def unknown_charset(random: Random, name: str) -> bytes:
    return _head(random, name) + _part("text/plain; charset=x-klingon", b"\xc3\xa4\xff pIqaD\r\n", "8bit")


def broken_boundary(random: Random, name: str) -> bytes:
    whole = _multipart(random, "mixed", _plain(random), _html(random))
    return _head(random, name) + whole.replace(b"--==", b"--=", random.randint(1, 2))


def unfinished_multipart(random: Random, name: str) -> bytes:
    whole = _multipart(random, "mixed", _plain(random), _attachment(random, 3000, 'filename="cut.bin"'))
    return _head(random, name) + as_sent(whole[: len(whole) * 2 // 3].rstrip(b"\r\n"))


def broken_base64(random: Random, name: str) -> bytes:
    return _head(random, name) + _part("text/plain", b"x") + b"Zm9v*&%=YmFy\r\n=\r\n" * random.randint(1, 9)


def broken_words(random: Random, name: str) -> bytes:
    subject = random.choice(("=?utf-8?b?4pyT?==?utf-8?q?=E2=9C?= =?utf-8?q?=93?=", "=?nope?x?y?=", "=?utf-8?b?####?="))
    return _head(random, name, subject=subject) + CRLF + b"text\r\n"


def nul_octets(random: Random, name: str) -> bytes:
    return _head(random, name) + CRLF + b"before\x00after\r\n\x00\r\n" * random.randint(1, 9)


def bare_cr(random: Random, name: str) -> bytes:
    return _head(random, name) + CRLF + b"one\rtwo\r\r\n\rthree\r\n\r.\r\n" * random.randint(1, 9)


def every_octet(random: Random, name: str) -> bytes:
    octets = [bytes([n]) for n in range(256) if n != 0x0A]
    random.shuffle(octets)
    return _head(random, name) + CRLF + b"".join(octets) + b"end\r\n"


def binary(random: Random, name: str) -> bytes:
    noise = as_sent(random.randbytes(random.randint(1, 40_000)))
    return _head(random, name) + _part("application/octet-stream", noise, "binary")


def signed(random: Random, name: str) -> bytes:
    signature = _part("application/pkcs7-signature", random.randbytes(1800), "base64")
    return _head(random, name) + _multipart(random, "signed; protocol=x", _plain(random), signature)


def flowed(random: Random, name: str) -> bytes:
    text = "> quoted and \r\n> flowing \r\n>> twice\r\n\r\n-- \r\nthe undersigned\r\n"
    return _head(random, name) + _part('text/plain; charset="utf-8"; format=flowed', text.encode())


SHAPES: Final[tuple[Callable[[Random, str], bytes], ...]] = (
    ascii_text,
    utf8_8bit,
    quoted_printable,
    latin1_8bit,
    japanese,
    chinese_gb18030,
    alternative,
    html_only,
    attachments,
    related,
    nested,
    forwarded,
    delivery_report,
    calendar,
    large,
    dots,
    replies_in_the_text,
    buffer_edges,
    one_long_line,
    blank_lines,
    header_only,
    header_and_nothing,
    no_header,
    not_a_header,
    tiny,
    raw_8bit_header,
    long_references,
    many_fields,
    many_recipients,
    same_message_id,
    unknown_charset,
    broken_boundary,
    unfinished_multipart,
    broken_base64,
    broken_words,
    nul_octets,
    bare_cr,
    every_octet,
    binary,
    signed,
    flowed,
)
