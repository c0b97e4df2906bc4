"""Transfer encodings undone (RFC 2045 section 6), in pieces, so that a large attachment is never held a second time.

Lenient: whatever the octets, something comes out, and what was wrong with them is noted. Linear. Pure.
"""

import binascii
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import pybase64

from daemon.mail import posted
from daemon.mail.defects import Defect, Notes
from daemon.mail.source import Octets

PIECE_OCTETS: Final = 1_048_576  # decoded at once
IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary", "none", "7-bit", "8-bit"})

_QUOTED_PRINTABLE: Final = frozenset({"quoted-printable", "quoted printable", "quotedprintable"})
_UUENCODE: Final = frozenset({"uuencode", "x-uuencode", "uue", "x-uue"})
_YENC: Final = "yenc"
_BASE64_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_BLANKS: Final = b" \t\r\n\x0b\x0c"
_BASE64_LINE_OCTETS: Final = 1000  # where the first line's end is looked for; RFC 2045 section 6.8 says 76 letters
_BASE64_JUNK: Final = bytes(set(range(256)) - set(_BASE64_LETTERS) - {ord("=")})
_QP_BROKEN: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?(?:\n|\Z))")
_QP_PADDED: Final = re.compile(rb"=[ \t]++(\r?\n)")  # blanks that were added on the way, RFC 2045 section 6.7 (3)


def decoded(buffer: Octets, start: int, end: int, encoding: str, checksum: str | None, notes: Notes) -> Iterator[bytes]:
    """Yield the content of buffer[start:end]. encoding: in lower case.  checksum: what yEnc says its CRC is, None if it does not."""
    if encoding == "base64":
        return _base64(buffer, start, end, notes)
    if encoding in _QUOTED_PRINTABLE:
        return _quoted_printable(buffer, start, end, notes)
    if encoding in _UUENCODE:
        return _uuencode(buffer, start, end, notes)
    if encoding == _YENC:
        return _yenc(buffer, start, end, checksum, notes)
    if encoding not in IDENTITY:
        notes.add(Defect.TRANSFER_ENCODING_UNKNOWN)
    return (buffer[at : min(at + PIECE_OCTETS, end)] for at in range(start, end, PIECE_OCTETS))


def _quoted_printable(buffer: Octets, start: int, end: int, notes: Notes) -> Iterator[bytes]:
    for piece in _lines(buffer, start, end):
        if _QP_BROKEN.search(piece) is None:
            yield binascii.a2b_qp(piece)
        else:
            notes.add(Defect.QUOTED_PRINTABLE_DAMAGED)
            yield binascii.a2b_qp(_QP_PADDED.sub(rb"=\1", piece))


def _uuencode(buffer: Octets, start: int, end: int, notes: Notes) -> Iterator[bytes]:
    for piece in _lines(buffer, start, end):
        octets, is_sound = posted.uudecoded(piece)
        if not is_sound:
            notes.add(Defect.FILE_IN_TEXT_DAMAGED)
        yield octets


def _yenc(buffer: Octets, start: int, end: int, checksum: str | None, notes: Notes) -> Iterator[bytes]:
    found = 0
    for piece in _lines(buffer, start, end):
        octets = posted.ydecoded(piece)
        found = posted.crc32(octets, found)
        yield octets
    if checksum not in {None, str(found)}:
        notes.add(Defect.FILE_IN_TEXT_DAMAGED)


def _lines(buffer: Octets, start: int, end: int) -> Iterator[bytes]:
    """Yield pieces that end with a line."""
    while start < end:
        behind = min(start + PIECE_OCTETS, end)
        if behind < end:
            behind = buffer.find(b"\n", behind, end) + 1 or end
        yield buffer[start:behind]
        start = behind


def _base64(buffer: Octets, start: int, end: int, notes: Notes) -> Iterator[bytes]:
    """Pass over what is no base64; padding ends it, and may be missing. Half of the work of an index, so sound pieces are taken whole."""
    rest = padding = b""
    for at, behind in pairwise(_groups(buffer, start, end)):
        if not rest and (octets := _sound(buffer, at, behind)) is not None:
            yield octets
            continue
        raw = buffer[at:behind].translate(None, _BASE64_BLANKS)
        letters = raw.translate(None, _BASE64_JUNK)
        if len(letters) != len(raw):
            notes.add(Defect.BASE64_DAMAGED)
        body, padding, after = (rest + letters).partition(b"=")
        whole = len(body) - len(body) % 4
        rest = body[whole:]
        if whole:
            yield pybase64.b64decode(body[:whole])
        if padding:
            if after.strip(b"=") or not _is_blank(buffer, behind, end):
                notes.add(Defect.BASE64_DAMAGED)
            break
    if len(rest) == 1:
        notes.add(Defect.BASE64_DAMAGED)
    elif rest:
        if not padding:  # cut off, or forgotten
            notes.add(Defect.BASE64_DAMAGED)
        yield pybase64.b64decode(rest + b"=" * (4 - len(rest)))


def _groups(buffer: Octets, start: int, end: int) -> list[int]:
    """Give where pieces begin, and the end. If all lines are as long as the first, each has whole groups of letters, but the last."""
    line = buffer.find(b"\n", start, min(start + _BASE64_LINE_OCTETS, end)) + 1 - start
    four = 4 * max(1, line)  # lines, of whatever length, or letters
    last = end - (end - start) % four
    return [*range(start, last, max(four, PIECE_OCTETS - PIECE_OCTETS % four)), last, end]


def _is_blank(buffer: Octets, start: int, end: int) -> bool:
    """Tell whether nothing but blanks and padding is left."""
    pieces = (buffer[at : min(at + PIECE_OCTETS, end)] for at in range(start, end, PIECE_OCTETS))
    return not any(piece.translate(None, _BASE64_BLANKS + b"=") for piece in pieces)


def _sound(buffer: Octets, start: int, end: int) -> bytes | None:
    """Decode what is nothing but whole groups of letters and blanks, as nearly all is; None if there is more to it."""
    if buffer.find(b"=", start, end) >= 0:
        return None
    piece = memoryview(buffer)[start:end] if isinstance(buffer, bytes) else buffer[start:end]
    try:
        return pybase64.b64decode(piece, ignorechars=_BASE64_BLANKS)
    except binascii.Error:
        return None
