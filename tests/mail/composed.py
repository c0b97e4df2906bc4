"""Letters put together at random from pieces that are as they should be and pieces that are not, made from a seed.

Each choice of a piece has a name, and a Letter says which were taken: so what two parsers disagree about can be put down to a piece.
"""

# ruff: noqa: RUF001 -- letters of other scripts are the point here
import base64
import quopri
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

CRLF: Final = b"\r\n"
GRUSS: Final = "Grüße, Jörg"

SUBJECTS: Final[Mapping[str, bytes]] = {
    "plain": b"The kettle",
    "folded": b"The kettle\r\n on the third floor\r\n\tis on strike",
    "q": b"=?utf-8?q?Gr=C3=BC=C3=9Fe=2C_J=C3=B6rg?=",
    "b": b"=?UTF-8?B?R3LDvMOfZSwgSsO2cmc=?=",
    "latin-1": b"=?iso-8859-1?Q?Gr=FC=DFe=2C_J=F6rg?= and more",
    "two words": b"=?utf-8?q?one_?= \r\n =?utf-8?q?two?= three",
    "split character": b"=?utf-8?q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?=",
    "iso-2022-jp": b"=?ISO-2022-JP?B?GyRCJDMkcyRLJEEkTxsoQg==?=",
    "gb2312 with gbk": b"=?gb2312?B?" + base64.b64encode("镕基".encode("gbk")) + b"?=",
    "blank in a word": b"=?utf-8?q?Gr=C3=BC=C3=9Fe an alle?=",
    "word in a word": b"pre=?utf-8?q?fix?=ed",
    "unknown charset": b"=?x-none?q?caf=C3=A9?=",
    "wrong charset": b"=?utf-8?q?caf=E9?=",
    "no padding": b"=?utf-8?B?R3LDvMOfZQ?=",
    "never ends": b"=?utf-8?q?Gr=C3=BC and so on",
    "raw utf-8": GRUSS.encode(),
    "raw latin-1": GRUSS.encode("latin-1"),
    "empty": b"",
}
PEOPLE: Final[Mapping[str, bytes]] = {
    "bare": b"anna@example.org",
    "angle": b"<anna@example.org>",
    "named": b"Anna A. Archivist <anna@example.org>",
    "quoted": b'"Archivist, Anna" <anna@example.org>',
    "escaped": b'"Anna \\"A\\" B" <anna@example.org>',
    "comment": b"anna@example.org (Anna)",
    "inner comment": b"Anna (at work) <anna@example.org>",
    "q": b"=?utf-8?q?J=C3=B6rg?= <anna@example.org>",
    "quoted q": b'"=?utf-8?q?J=C3=B6rg?=" <anna@example.org>',
    "comma in q": b"=?utf-8?q?a=2C_b?= <anna@example.org>",
    "raw": "Jörg <anna@example.org>".encode(),
    "address as name": b"bob@example.net <anna@example.org>",
    "quoted local part": b'"anna a"@example.org',
    "group": b"Friends: anna@example.org, Bob <bob@example.net>;",
    "empty group": b"undisclosed-recipients:;",
    "route": b"<@relay.example:anna@example.org>",
    "no brackets": b"Anna anna@example.org",
    "open": b"Anna <anna@example.org",
    "no domain": b"anna",
    "capitals": b"Anna <Anna@Example.ORG>",
    "literal": b"anna@[192.0.2.1]",
}
DATES: Final[Mapping[str, bytes]] = {
    "standard": b"Mon, 23 Nov 2026 13:00:00 +0100",
    "no weekday": b"23 Nov 2026 12:00:00 GMT",
    "no seconds": b"Mon, 23 Nov 2026 12:00 +0000",
    "comment": b"Mon, 23 Nov 2026 13:00:00 +0100 (CET)",
    "named zone": b"Mon, 23 Nov 2026 07:00:00 EST",
    "two digits": b"Mon, 23 Nov 26 12:00:00 GMT",
    "year 19126": b"Mon, 23 Nov 19126 12:00:00 GMT",
    "no zone": b"Mon, 23 Nov 2026 12:00:00",
    "asctime": b"Mon Nov 23 12:00:00 2026",
    "ISO": b"2026-11-23T12:00:00Z",
    "German": b"Mo, 23 Nov 2026 13:00:00 +0100",
    "Italian": b"lun, 23 nov 2026 13:00:00 +0100",
    "numbers": b"23.11.2026 12:00:00 +0000",
    "no such day": b"Mon, 31 Feb 2026 12:00:00 +0000",
    "nonsense": b"yesterday",
}
NAMES: Final[Mapping[str, bytes]] = {
    "none": b"attachment",
    "quoted": b'attachment; filename="minutes 1.pdf"',
    "bare": b"attachment; filename=minutes.pdf",
    "blank unquoted": b"attachment; filename=minutes of 1.pdf",
    "rfc2231": b"attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf",
    "pieces": b'attachment; filename*0="a long "; filename*1="name.pdf"',
    "pieces mixed": b"attachment; filename*0*=utf-8''Gr%C3; filename*1*=%BC%C3%9Fe; filename*2=\".pdf\"",
    "pieces out of order": b'attachment; filename*1="name.pdf"; filename*0="a long "',
    "q": b'attachment; filename="=?utf-8?q?Gr=C3=BC=C3=9Fe=2Epdf?="',
    "raw": b'attachment; filename="' + "Grüße.pdf".encode() + b'"',
    "path": b'attachment; filename="C:\\dir\\minutes.pdf"',
    "inline": b'inline; filename="picture.png"',
    "unknown word": b'something; filename="x.bin"',
}
TEXTS: Final[Mapping[str, tuple[str, str, str]]] = {  # charset, content-transfer-encoding, text
    "ascii": ("us-ascii", "7bit", "Half past twelve it is.\r\n"),
    "utf-8": ("utf-8", "8bit", f"{GRUSS}.\r\n冬天的猫\r\n"),
    "utf-8 qp": ("utf-8", "quoted-printable", f"{GRUSS} = gut\r\n"),
    "utf-8 base64": ("utf-8", "base64", f"{GRUSS}.\r\n"),
    "latin-1": ("iso-8859-1", "8bit", f"{GRUSS}.\r\n"),
    "koi8-r": ("koi8-r", "base64", "Тираж газеты\r\n"),
    "iso-2022-jp": ("iso-2022-jp", "7bit", "会議は午後三時からです。\r\n"),
    "no charset": ("", "8bit", "plain ascii\r\n"),
    "cp1252 as latin-1": ("iso-8859-1", "8bit", "“quoted” – 5 €\r\n"),
}
ENCODINGS: Final = ("base64", "quoted-printable", "8bit", "base64 cut", "base64 junk", "x-unknown")


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, and the names of the pieces that it is of: `subject` -> `split character`, …; texts and files by number."""

    octets: bytes
    pieces: Mapping[str, str]


def letters(count: int, seed: int = 1) -> Iterator[Letter]:
    """Give `count` letters."""
    for number in range(count):
        yield _Composer(Random(f"composed:{seed}:{number}"), f"{seed}.{number}").letter()


class _Composer:
    """Puts one letter together."""

    def __init__(self, random: Random, name: str) -> None:
        self._random = random
        self._name = name
        self._pieces: dict[str, str] = {}
        self._files = self._texts = 0

    def letter(self) -> Letter:
        fields = [
            b"From: " + self._pick("from", PEOPLE),
            b"To: " + b", ".join(self._pick(f"to {n}", PEOPLE) for n in range(self._random.randint(1, 3))),
            b"Subject: " + self._pick("subject", SUBJECTS),
            b"Date: " + self._pick("date", DATES),
            b"Message-ID: <%s@composed.example>" % self._name.encode(),
        ]
        self._random.shuffle(fields)
        octets = CRLF.join(fields) + CRLF + self._body(0)
        damage = self._random.choice(("none",) * 6 + ("cut", "bare LF", "no last delimiter"))
        self._pieces["damage"] = damage
        if damage == "cut":
            octets = octets[: -len(octets) // 5]
        elif damage == "bare LF":
            octets = octets.replace(CRLF, b"\n")
        elif damage == "no last delimiter":
            octets = octets.rstrip(CRLF).removesuffix(b"--")
        return Letter(octets, self._pieces)

    def _pick(self, place: str, pieces: Mapping[str, bytes]) -> bytes:
        name = self._random.choice(tuple(pieces))
        self._pieces[place] = name
        return pieces[name]

    def _body(self, depth: int) -> bytes:
        kinds = ("text", "html", "alternative", "mixed", "mixed", "related", "forwarded", "digest", "signed")
        kind = self._random.choice(kinds if depth < 2 else kinds[:2])
        self._pieces.setdefault("body", kind)
        self._pieces["bodies"] = f"{self._pieces.get('bodies', '')} {kind}".strip()
        if kind in {"text", "html"}:
            return self._text(kind)
        if kind == "forwarded":
            inner = b"Subject: inner\r\nFrom: bob@example.net\r\n" + self._body(depth + 1)
            return b"Content-Type: message/rfc822\r\n\r\n" + inner
        parts = {
            "alternative": lambda: [self._text("text"), self._text("html")],
            "mixed": lambda: [self._body(depth + 1), *(self._file() for _ in range(self._random.randint(1, 3)))],
            "related": lambda: [self._text("html"), self._file()],
            "digest": lambda: [b"\r\nSubject: one\r\n\r\nfirst\r\n", b"\r\nSubject: two\r\n\r\nsecond\r\n"],
            "signed": lambda: [self._text("text"), b"Content-Type: application/pgp-signature\r\n\r\nx\r\n"],
        }[kind]()
        mark = b"=_%016x" % self._random.getrandbits(64)
        said = self._random.choice((mark,) * 9 + (b"other",))
        if said != mark:
            self._pieces["boundary"] = "wrong"
        head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind.encode(), said)
        return head + b"".join(b"--%s\r\n%s\r\n" % (mark, part) for part in parts) + b"--%s--\r\n" % mark

    def _text(self, kind: str) -> bytes:
        self._texts += 1
        name = self._random.choice(tuple(TEXTS))
        self._pieces[f"text {self._texts}"] = name
        charset, encoding, text = TEXTS[name]
        octets = text.encode("cp1252" if name.startswith("cp1252") else charset or "ascii")
        if kind == "html":
            octets = b"<p>" + octets + b"</p>"
        parameter = f"; charset={charset}" if charset else ""
        head = f"Content-Type: text/{'html' if kind == 'html' else 'plain'}{parameter}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        return head.encode() + _encoded(octets, encoding)

    def _file(self) -> bytes:
        self._files += 1
        disposition = self._pick(f"name {self._files}", NAMES)
        encoding = self._random.choice(ENCODINGS)
        self._pieces[f"encoding {self._files}"] = encoding
        content = self._random.randbytes(self._random.randint(0, 300))
        if encoding in {"quoted-printable", "8bit", "x-unknown"}:
            content = base64.b85encode(content)
        said = encoding.partition(" ")[0]
        head = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: %s\r\nContent-Disposition: %s\r\n\r\n"
        return head % (said.encode(), disposition) + _encoded(content, encoding)


def _encoded(octets: bytes, encoding: str) -> bytes:
    if encoding.startswith("base64"):
        octets = base64.encodebytes(octets).replace(b"\n", CRLF)
        if encoding.endswith("cut"):
            return octets[: len(octets) * 2 // 3]
        return octets.replace(CRLF, b"!\r\n") if encoding.endswith("junk") else octets
    if encoding == "quoted-printable":
        return quopri.encodestring(octets.replace(CRLF, b"\n")).replace(b"\n", CRLF)
    return octets
