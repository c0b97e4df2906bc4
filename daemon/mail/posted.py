"""Files within a text, as they were posted before MIME: uuencode (POSIX), yEnc (yenc.org, draft 1.3).

`find` says where they lie, the others decode them. Linear. Pure.
"""

import binascii
import re
import zlib
from dataclasses import dataclass
from typing import Final

MAX_NAME_OCTETS: Final = 255

_LINE: Final = rb"(?:begin [0-7]{3,4} (?P<uu>[^\r\n]{1,255})|=ybegin (?P<y>[^\r\n]{1,500}))\r?\n"
_FIRST: Final = re.compile(_LINE)
_NEXT: Final = re.compile(rb"\n" + _LINE)
# Octets of a line, then three for four letters; no small letter, so `end` ends it. A last line of nothing may be there.
_UU_LINES: Final = re.compile(rb"(?:[ -`]{1,100}[ \t]*+\r?(?:\n|$))++")
_UU_END: Final = re.compile(rb"end[ \t]*\r?(?:\n|$)")
_Y_PART: Final = re.compile(rb"=ypart [^\r\n]{0,500}\r?\n")
_Y_END: Final = re.compile(rb"=yend ([^\r\n]{0,500})\r?(?:\n|$)")
_Y_CRC: Final = re.compile(rb"\b(p?crc32)=([0-9a-fA-F]{8})\b")
_Y_NAME: Final = re.compile(rb"\bname=([^\r\n]{1,255})")
_BY_42: Final = bytes((octet - 42) % 256 for octet in range(256))
_BY_106: Final = bytes((octet - 106) % 256 for octet in range(256))  # behind an escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One file. begin, end: of all that is no text.  start, stop: of its lines.  crc32: of what yEnc says, None if it does not."""

    encoding: str
    name: bytes
    begin: int
    end: int
    start: int
    stop: int
    crc32: int | None = None
    is_whole: bool = True


def find(text: bytes) -> list[Posted]:
    """Give the files in a text, in order."""
    files: list[Posted] = []
    begun = _FIRST.match(text) or _NEXT.search(text)
    while begun is not None:
        found = _yenc(text, begun) if begun["y"] else _uuencode(text, begun)
        if found is not None:
            files.append(found)
        # The line feed behind it may be the one before the next.
        begun = _NEXT.search(text, begun.end() - 1 if found is None else max(found.end, begun.end()) - 1)
    return files


def _uuencode(text: bytes, begun: re.Match[bytes]) -> Posted | None:
    lines = _UU_LINES.match(text, begun.end())
    if lines is None or not _fits(lines[0].split(b"\n", 1)[0].rstrip(b"\r")):
        return None  # a sentence that begins so
    begin = begun.start() + begun[0].startswith(b"\n")
    ended = _UU_END.match(text, lines.end())
    return Posted(
        encoding="uuencode",
        name=begun["uu"],
        begin=begin,
        end=lines.end() if ended is None else ended.end(),
        start=lines.start(),
        stop=lines.end(),
        is_whole=ended is not None,
    )


def _fits(line: bytes) -> bool:
    """Tell whether a line is as long as its first letter says; blanks at its end may be lost, a checksum may be there."""
    wanted = ((line[0] - 32 & 63) + 2) // 3 * 4
    return len(line.rstrip()) - 1 <= wanted + 2 and (len(line) - 1 >= wanted - 3 or line.rstrip() != line)


def _yenc(text: bytes, begun: re.Match[bytes]) -> Posted | None:
    name = _Y_NAME.search(begun["y"])
    if name is None:
        return None
    begin = begun.start() + begun[0].startswith(b"\n")
    part = _Y_PART.match(text, begun.end())
    start = begun.end() if part is None else part.end()
    place = text.find(b"\n=yend ", start - 1)
    ended = None if place < 0 else _Y_END.match(text, place + 1)
    if ended is None:
        return Posted(
            encoding="yenc",
            name=name[1],
            begin=begin,
            end=len(text),
            start=start,
            stop=len(text),
            is_whole=False,
        )
    sums = dict(_Y_CRC.findall(ended[1]))
    crc = sums.get(b"pcrc32") or (sums.get(b"crc32") if part is None else None)
    return Posted(
        encoding="yenc",
        name=name[1],
        begin=begin,
        end=ended.end(),
        start=start,
        stop=place + 1,
        crc32=None if crc is None else int(crc, 16),
    )


def uudecoded(lines: bytes) -> tuple[bytes, bool]:
    """Decode whole lines; and tell whether all were sound. What frames them is passed over."""
    pieces: list[bytes] = []
    is_sound = True
    for line in lines.split(b"\n"):
        stripped = line.rstrip(b"\r")
        if not stripped or stripped == b"end" or stripped.startswith(b"begin "):
            continue
        try:
            pieces.append(binascii.a2b_uu(stripped))
        except binascii.Error:
            # What its first letter says, of what is there: some encoders add a checksum, or fill up with anything.
            octets = (stripped[0] - 32 & 63) if stripped[0] <= 96 else 0
            needed = (octets * 8 + 5) // 6
            letters = bytes(letter for letter in stripped[1 : 1 + needed] if 32 <= letter <= 96)
            is_sound = is_sound and octets > 0 and len(letters) == needed
            pieces.append(binascii.a2b_uu(stripped[:1] + letters) if octets else b"")
    return b"".join(pieces), is_sound


def ydecoded(lines: bytes) -> bytes:
    """Decode whole lines."""
    first, *escaped = lines.translate(None, b"\r\n").split(b"=")
    pieces = [first.translate(_BY_42)]
    for piece in escaped:
        pieces += (piece[:1].translate(_BY_106), piece[1:].translate(_BY_42))
    return b"".join(pieces)


def crc32(octets: bytes, before: int = 0) -> int:
    """Go on with a checksum."""
    return zlib.crc32(octets, before)
