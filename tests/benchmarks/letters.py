"""The mail that is measured with: small everyday letters, a mixture with attachments, and one enormous letter.

Seeded: the same arguments give the same octets. All lines end in CRLF, so that a server sends what is stored. In the small
and in the mixed kind half of the texts are ASCII, the others quoted-printable, base64 or 8-bit; many have an HTML twin, trace
fields and a signature field. Small: 3.0 kB on average. Mixed: four of five have an attachment (median 300 kB of octets before
base64, at most 2 MB), 0.5 MB on average.
"""

import base64
from collections.abc import Iterator
from random import Random
from typing import Final

from tests.corpus import PEOPLE, SENTENCES, _attachment, _multipart, _part, _word

CRLF: Final = b"\r\n"
MARK: Final = b"\nMessage-ID: <bench."  # once in each letter, and in no text: what is counted in an mbox
PLAIN: Final = (
    "Please find the minutes of the last meeting below.",
    "The invoice for the new boiler has arrived and is higher than the estimate.",
    "We still need two volunteers for Saturday, from nine until about noon.",
    "Could somebody check whether the spare key is in the drawer?",
    "Delivery is now planned for the second week of the month.",
    "The schedule has changed again; see the table on the notice board.",
    "Thanks to everybody who helped with moving the piano.",
    "Regards, and see you on Thursday.",
)
BASE64_GROWTH: Final = 1.37  # with its line ends


def small(count: int, seed: int = 1) -> Iterator[bytes]:
    """Give letters of 3.0 kB on average."""
    for number in range(count):
        random = Random(f"small:{seed}:{number}")
        body = _text_part(random, random.randint(10, 32))
        if random.random() < 0.35:
            body = _multipart(random, "alternative", body, _html_part(random, 8))
        yield _head(random, f"small.{seed}.{number}") + body


def mixed(count: int, seed: int = 1) -> Iterator[bytes]:
    """Give letters of 0.5 MB on average, most of it in attachments."""
    for number in range(count):
        random = Random(f"mixed:{seed}:{number}")
        lines = random.randint(5, 80)
        body = _text_part(random, lines)
        if random.random() < 0.6:
            body = _multipart(random, "alternative", body, _html_part(random, lines))
        if random.random() < 0.8:
            octets = int(min(2e6, max(1e4, random.lognormvariate(12.6, 1.1))))
            parts = [_attachment(random, octets, 'filename="report.bin"')]
            if random.random() < 0.2:
                parts.append(_attachment(random, random.randint(10_000, 60_000), "filename*=utf-8''M%C3%A4rz.bin"))
            body = _multipart(random, "mixed", body, *parts)
        yield _head(random, f"mixed.{seed}.{number}") + body


def repeated(count: int) -> Iterator[bytes]:
    """Give letters that all have one and the same attachment of 1 MB, and 2 kB of text of their own."""
    attachment = _attachment(Random("repeated"), 1_000_000, 'filename="report.bin"')
    for number in range(count):
        random = Random(f"repeated:{number}")
        yield _head(random, f"repeated.{number}") + _multipart(random, "mixed", _text_part(random, 30), attachment)


def huge(octets: int) -> Iterator[bytes]:
    """Give one letter with an attachment, of about `octets` as it is sent."""
    random = Random(f"huge:{octets}")
    attachment = _attachment(random, int(octets / BASE64_GROWTH), 'filename="film.bin"')
    yield _head(random, f"huge.{octets}") + _multipart(random, "mixed", _text_part(random, 20), attachment)


def _lines(random: Random, count: int) -> str:
    lines = random.choices(PLAIN, k=count)
    if random.random() < 0.3:
        lines[random.randrange(count)] = random.choice((".", "..", ".hidden", "...and so on"))
    return "\r\n".join(lines) + "\r\n"


def _text_part(random: Random, count: int) -> bytes:
    kind = random.random()
    if kind < 0.5:
        return _part("text/plain; charset=us-ascii", _lines(random, count).encode())
    half = max(1, count // 2)
    text = (_lines(random, half) + "\r\n".join(random.choices(SENTENCES, k=3)) + "\r\n" + _lines(random, half)).encode()
    if kind < 0.7:
        return _part("text/plain; charset=utf-8", text, "quoted-printable")
    return _part("text/plain; charset=utf-8", text, "base64" if kind < 0.85 else "8bit")


def _html_part(random: Random, rows: int) -> bytes:
    cells = "".join(
        f'<tr><td style="font:12px sans-serif">{one}</td></tr>\r\n' for one in random.choices(PLAIN, k=rows)
    )
    page = f'<html><body><table width="100%">\r\n{cells}</table></body></html>\r\n'.encode()
    return _part("text/html; charset=utf-8", page, "quoted-printable")


def _head(random: Random, name: str) -> bytes:
    """Return the fields of a letter that some relays have passed on, up to those of its body."""
    second = random.randint(10, 59)
    lines = ["Return-Path: <bounces@club.example>"]
    for hop in range(random.randint(1, 4)):
        lines += [
            f"Received: from mx{hop}.club.example (mx{hop}.club.example [192.0.2.{random.randint(1, 254)}])",
            f"\tby relay{hop}.example.net (Postfix) with ESMTPS id {random.getrandbits(48):012X}",
            f"\tfor <house@example.org>; Fri, 13 Nov 2026 08:10:{second} +0100",
        ]
    if random.random() < 0.6:
        signature = "\r\n\t ".join(base64.b64encode(random.randbytes(48)).decode() for _ in range(4))
        lines += [
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=club.example; s=sel1;",
            f"\th=from:to:subject:date:message-id; bh={base64.b64encode(random.randbytes(32)).decode()};",
            f"\tb={signature}",
        ]
    subject = random.choice(SENTENCES) if random.random() < 0.3 else random.choice(PLAIN)
    head = "\r\n".join(lines).encode() + CRLF
    head += b"From: " + _word(random.choice(PEOPLE)) + b" <member%d@club.example>" % random.randint(1, 500) + CRLF
    head += b'To: "House, Whole" <house@example.org>\r\nSubject: ' + _word(subject) + CRLF
    head += f"Date: Fri, 13 Nov 2026 08:{random.randint(10, 59)}:{second} +0100\r\n".encode()
    head += b"Message-ID: <bench.%s@club.example>" % name.encode() + CRLF
    if random.random() < 0.4:
        head += b"In-Reply-To: <%016x@club.example>" % random.getrandbits(64) + CRLF
    return head + b"MIME-Version: 1.0" + CRLF
