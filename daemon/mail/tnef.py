"""Outlook's envelope, winmail.dat (TNEF): which files lie in it, and where ([MS-OXTNEF]).

The one library for Python, tnefparse, is of 2021 and copies what it reads; files lie in the stream as they are, so that their places
are all that is needed. Rich text (PR_RTF_COMPRESSED) is not read: the letter that it repeats comes beside it. Linear, never raises. Pure.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from daemon.mail import charset
from daemon.mail.defects import Defect, Notes

SIGNATURE: Final = b"\x78\x9f\x3e\x22"
MAX_FILES: Final = 1000  # of one stream; what follows is not looked at
MAX_NAME_OCTETS: Final = 1000

# Attributes of the stream ([MS-OXTNEF] section 2.1.3.3), and properties in them ([MS-OXPROPS]).
_BODY, _OEM_CODEPAGE, _MESSAGE_PROPERTIES = 0x800C, 0x9007, 0x9003
_RENDERING, _TITLE, _DATA, _ATTACHMENT_PROPERTIES = 0x9002, 0x8010, 0x800F, 0x9005
_PR_BODY, _PR_HTML, _PR_CODEPAGE = 0x1000, 0x1013, 0x3FDE
_PR_OBJECT, _PR_SHORT_NAME, _PR_NAME, _PR_TYPE, _PR_CONTENT_ID, _PR_DISPLAY = (
    0x3701,
    0x3704,
    0x3707,
    0x370E,
    0x3712,
    0x3001,
)
_UNICODE: Final = 0x1F
_VARIABLE: Final = frozenset({0x0D, 0x1E, _UNICODE, 0x102})
_WIDTHS: Final = {0x00: 4, 0x01: 4, 0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}  # fmt: skip
_CODEPAGES: Final = {
    **{28590 + number: f"iso-8859-{number}" for number in range(1, 17)},
    20127: "us-ascii",
    20866: "koi8-r",
    21866: "koi8-u",
    50220: "iso-2022-jp",
    51932: "euc-jp",
    51949: "euc-kr",
    54936: "gb18030",
    65001: "utf-8",
}
_MANY: Final = 0x1000  # a property with several values
_INTERFACE_OCTETS: Final = 16  # before an object: which interface it has


@dataclass(slots=True)
class Held:
    """One file, or the text of the message: where it lies in the stream, and what is said of it."""

    start: int = 0
    end: int = 0
    name: str = ""
    content_type: str = ""
    content_id: str = ""
    charset: str = ""


@dataclass(slots=True)
class Envelope:
    """What a stream holds."""

    files: list[Held] = field(default_factory=list)
    texts: list[Held] = field(default_factory=list)


class _Cut(Exception):
    """The stream ends within something."""


def read(stream: bytes, notes: Notes) -> Envelope:
    """Return what lies in a stream; what is damaged is noted, and what stands before it returned."""
    envelope = Envelope()
    codepage = ""
    try:
        for attribute, start, end in _attributes(stream):
            if attribute == _OEM_CODEPAGE:
                codepage = _codepage(stream, start, end)
            elif attribute == _RENDERING:
                if len(envelope.files) == MAX_FILES:
                    notes.add(Defect.TOO_MANY_PARTS)
                    break
                envelope.files.append(Held())
            elif attribute in {_TITLE, _DATA, _ATTACHMENT_PROPERTIES} and envelope.files:
                _take(stream, attribute, start, end, envelope.files[-1], codepage, notes)
            elif attribute == _BODY:
                behind = _first_nul(stream, start, end)
                envelope.texts.append(Held(start, behind, "", "text/plain", "", codepage))
            elif attribute == _MESSAGE_PROPERTIES:
                envelope.texts += _texts(stream, start, end, codepage)
    except _Cut:
        notes.add(Defect.TNEF_DAMAGED)
    envelope.files = [one for one in envelope.files if one.end > one.start or one.name]
    return envelope


def _attributes(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (number, begin, end) of the attributes: level, number and type, length, content, checksum."""
    if not stream.startswith(SIGNATURE):
        raise _Cut
    at = len(SIGNATURE) + 2
    while at < len(stream) and stream[at] in {1, 2}:  # other levels are what a gateway put behind it
        if at + 9 > len(stream):
            raise _Cut
        number, _type, octets = struct.unpack_from("<HHI", stream, at + 1)
        start = at + 9
        yield number, start, min(start + octets, len(stream))
        at = start + octets + 2
        if at > len(stream):
            raise _Cut


def _properties(stream: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, type, begin, end) of the values of properties; of several values of one, the first."""
    at += 4  # how many there are
    while at + 4 <= end:
        kind, number = struct.unpack_from("<HH", stream, at)
        at += 4
        if number >= 0x8000:  # it has a name: a GUID, and a number or a text
            is_text = _word(stream, at + 16, end)
            at += 24 if not is_text else 24 + _padded(_word(stream, at + 20, end))
        values = 1
        single = kind & ~_MANY
        if kind & _MANY or single in _VARIABLE:
            values = _word(stream, at, end)
            at += 4
        for value in range(values):
            if single in _VARIABLE:
                octets = _word(stream, at, end)
                at += 4
            elif single in _WIDTHS:
                octets = _WIDTHS[single]
            else:
                raise _Cut
            if at + octets > end:
                raise _Cut
            if value == 0:
                yield number, single, at, at + octets
            at += _padded(octets)


def _padded(octets: int) -> int:
    return (octets + 3) & ~3


def _word(stream: bytes, at: int, end: int) -> int:
    if at + 4 > end:
        raise _Cut
    return int.from_bytes(stream[at : at + 4], "little")


def _first_nul(stream: bytes, start: int, end: int) -> int:
    found = stream.find(b"\0", start, end)
    return end if found < 0 else found


def _codepage(stream: bytes, start: int, end: int) -> str:
    """Name a code page of Windows as a charset."""
    number = int.from_bytes(stream[start : min(start + 4, end)], "little")
    return _CODEPAGES.get(number, f"cp{number}")


def _take(stream: bytes, attribute: int, start: int, end: int, held: Held, codepage: str, notes: Notes) -> None:
    """Take over what an attribute says of the file that is being described."""
    if attribute == _TITLE:
        held.name = held.name or _string(stream, start, end, codepage, notes)
    elif attribute == _DATA:
        held.start, held.end = start, end
    else:
        for number, kind, begin, stop in _properties(stream, start, end):
            code = "utf-16-le" if kind == _UNICODE else codepage
            if number == _PR_OBJECT:  # what stands in its place elsewhere is a picture of it
                held.start, held.end = min(begin + (_INTERFACE_OCTETS if kind == 0x0D else 0), stop), stop
                if stream.startswith(SIGNATURE, held.start, held.end):
                    held.content_type = "application/ms-tnef"  # a message within the message
            elif number == _PR_NAME or (number in {_PR_SHORT_NAME, _PR_DISPLAY} and not held.name):
                held.name = _string(stream, begin, stop, code, notes) or held.name
            elif number == _PR_TYPE and not held.content_type:
                held.content_type = _string(stream, begin, stop, code, notes).lower()
            elif number == _PR_CONTENT_ID:
                held.content_id = _string(stream, begin, stop, code, notes)


def _texts(stream: bytes, start: int, end: int, codepage: str) -> Iterator[Held]:
    """Yield the message's own text; its HTML is in the code page that stands beside it."""
    internet = codepage
    held: list[Held] = []
    for number, kind, begin, stop in _properties(stream, start, end):
        if number == _PR_CODEPAGE:
            internet = _codepage(stream, begin, stop)
        elif number in {_PR_BODY, _PR_HTML} and kind in _VARIABLE:
            is_html = number == _PR_HTML
            if kind == _UNICODE:
                behind = stop - 2 if stream.endswith(b"\0\0", begin, stop) else stop
            else:
                behind = _first_nul(stream, begin, stop)
            code = "utf-16-le" if kind == _UNICODE else "" if is_html else codepage
            held.append(Held(begin, behind, "", "text/html" if is_html else "text/plain", "", code))
    for one in held:
        one.charset = one.charset or internet
        yield one


def _string(stream: bytes, start: int, end: int, code: str, notes: Notes) -> str:
    octets = stream[start : min(end, start + MAX_NAME_OCTETS)]
    text = charset.decode(octets, code, notes)
    return charset.one_line(text.partition("\0")[0], notes)
