"""The parts of a message (RFC 2045, 2046, 2231): where each lies in the octets, what it says it is.

Cuts by offsets, from the outside in: linear in the message's octets, and a large attachment is never
held a second time, or not once if the message is a Source. The stdlib's parser is not used for this: it copies a message five times over (200 MB: 1.9 GB), recurses
to its end on 970 nested parts, and takes 9 s for 400 nested ones and 200 kB of empty lines. Raises nothing. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from daemon.mail import charset, headers, transfer
from daemon.mail.defects import Defect, Notes
from daemon.mail.source import Octets

MAX_PARTS: Final = 1000  # of one message; what follows is not looked at
MAX_DEPTH: Final = 100  # multiparts and forwarded messages within one another
MAX_DELIMITERS_TRIED: Final = 100_000  # lines that begin like a delimiter: real mail has a few for each part
MAX_SCANNED_RATIO: Final = 30  # octets looked at for delimiters, over all levels, as a multiple of the message's own
MAX_ENCODED_MESSAGE_OCTETS: Final = 16_777_216  # of a forwarded message in base64, which has to be decoded whole
MAX_PARAMETER_OCTETS: Final = 65_536  # of one field with parameters
MAX_KNOWN_OCTETS: Final = 100  # of a field that is remembered
MAX_SEGMENTS: Final = 500  # of one parameter (RFC 2231 section 3)

_TYPE: Final = re.compile(r"\s*([\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100})")
_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')  # not each backslash: Windows senders put paths here
_SEGMENT: Final = re.compile(r"([^*]+)\*(?:(\d{1,4})(\*?))?$")
_GUESSED_BOUNDARY: Final = re.compile(rb"\s*--([^\r\n]{1,70}?)[ \t]*\r?\n")
_AFTER_DELIMITER: Final = re.compile(rb"(--)?[ \t]*(?:\r?\n|\r?$)")


@dataclass(slots=True, kw_only=True)
class Part:
    """One node of the tree; `number` as in AttachmentRow. Its content is buffer[start:end], still encoded; its header is before it."""

    number: str
    fields: headers.Fields
    content_type: str
    parameters: dict[str, str]
    disposition: str
    filename: str
    encoding: str
    buffer: Octets = field(repr=False)
    begin: int  # of its header
    start: int
    end: int
    is_whole: bool = False  # a message itself, or a forwarded one, rather than a part of one
    children: list["Part"] = field(default_factory=list)

    def walk(self) -> Iterator["Part"]:
        """Yield the part and all below it, in order."""
        if not self.children:
            yield self
            return
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.children)


def value_and_parameters(value: bytes, notes: Notes) -> tuple[str, dict[str, str]]:
    """Read `value; name=parameter; …`; names in lower case, RFC 2231 segments joined, encoded-words decoded."""
    if not value:
        return "", {}
    if len(value) <= MAX_KNOWN_OCTETS and (known := _known(value)) is not None:
        return known[0], dict(known[1])
    return _read_value(value, notes)


@lru_cache(maxsize=512)  # `text/plain; charset=utf-8`, `8bit`
def _known(value: bytes) -> tuple[str, dict[str, str]] | None:
    """Read a short value; None if something was wrong with it, which has to be noted each time."""
    notes = Notes()
    found = _read_value(value, notes)
    return None if notes.names() else found


def _read_value(value: bytes, notes: Notes) -> tuple[str, dict[str, str]]:
    text = headers.raw_text(value[:MAX_PARAMETER_OCTETS], notes)
    head, semicolon, rest = text.partition(";")
    if not semicolon:
        return head.strip().lower(), {}
    plain: dict[str, str] = {}
    segments: dict[str, dict[int, tuple[bool, str]]] = {}
    for found in _PARAMETER.finditer(semicolon + rest):
        name = found[1].lower()
        given = found[3].strip() if found[2] is None else _ESCAPED.sub(r"\1", found[2])
        segment = _SEGMENT.match(name)
        if segment is None:
            plain.setdefault(name, charset.one_line(headers.decoded(given, notes), notes))
        else:
            numbered = segments.setdefault(segment[1], {})
            if len(numbered) < MAX_SEGMENTS:
                numbered.setdefault(int(segment[2] or 0), (segment[2] is None or bool(segment[3]), given))
    for name, numbered in segments.items():
        plain[name] = _joined(numbered, notes)
    return head.strip().lower(), plain


def _joined(numbered: dict[int, tuple[bool, str]], notes: Notes) -> str:
    """Join the segments of an RFC 2231 parameter: charset'language'text stands at the head of the first."""
    declared = ""
    octets = b""
    if list(numbered) != list(range(len(numbered))):
        notes.add(Defect.PARAMETER_REPAIRED)  # out of order, or one is missing
    for position, (_, (is_encoded, given)) in enumerate(sorted(numbered.items())):
        text = given
        if position == 0 and is_encoded and text.count("'") >= 2:
            declared, _, text = text.split("'", 2)
        octets += unquote_to_bytes(text) if is_encoded else text.encode("utf-8", "replace")
    return charset.one_line(charset.decode(octets, declared, notes), notes)


# --- the tree -------------------------------------------------------------------------------------------------------


def tree(raw: Octets, notes: Notes) -> Part:
    """Return the parts of a message."""
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")  # line ends of old Macs
    return _Cutter(len(raw), notes).message(raw, 0, len(raw), "", 0)


class _Cutter:
    """Cuts one message, within its budgets."""

    def __init__(self, octets: int, notes: Notes) -> None:
        self._notes = notes
        self._parts = 0
        self._tried = 0
        self._octets_to_scan = MAX_SCANNED_RATIO * octets + transfer.PIECE_OCTETS

    def message(self, buffer: Octets, start: int, end: int, prefix: str, depth: int) -> Part:
        """Cut a whole message; its parts are numbered below `prefix`."""
        root = self._part(buffer, start, end, "text/plain")
        root.is_whole = True
        alone = f"{prefix}.1".lstrip(".")
        root.number = prefix if root.content_type.startswith("multipart/") else alone
        self._below(root, depth)
        if not root.content_type.startswith("multipart/"):
            root.number = alone  # also when it only claimed to have parts
        return root

    def _part(self, buffer: Octets, start: int, end: int, default_type: str) -> Part:
        self._parts += 1
        fields, body = headers.read(buffer, start, end, self._notes)
        content_type, parameters = self._content_type(fields, default_type)
        disposition, more = self._value(fields, "content-disposition")
        encoding, _ = self._value(fields, "content-transfer-encoding")
        return Part(
            number="",
            fields=fields,
            content_type=content_type,
            parameters=parameters,
            # What is neither is treated as attachment (RFC 2183 section 2.8).
            disposition=disposition if disposition in {"", "inline"} else "attachment",
            filename=base_name(given) if (given := more.get("filename") or parameters.get("name")) else "",
            encoding=encoding.partition("(")[0].strip("\"' "),
            buffer=buffer,
            begin=start,
            start=body,
            end=end,
        )

    def _value(self, fields: headers.Fields, name: str) -> tuple[str, dict[str, str]]:
        return value_and_parameters(fields[name][0], self._notes) if name in fields else ("", {})

    def _content_type(self, fields: headers.Fields, default_type: str) -> tuple[str, dict[str, str]]:
        values = fields.get("content-type")
        if not values:
            return default_type, {}
        content_type, parameters = value_and_parameters(values[0], self._notes)
        found = _TYPE.match(content_type)
        if found is None:
            if content_type not in {"text", ""}:  # RFC 1049 and empty fields: known and harmless
                self._notes.add(Defect.CONTENT_TYPE_UNREADABLE)
            return "text/plain", parameters
        return found[1], parameters

    def _below(self, part: Part, depth: int) -> None:
        """Cut what is within a part, if it has parts."""
        is_message = part.content_type in {"message/rfc822", "message/global", "message/news"}
        if not is_message and not part.content_type.startswith("multipart/"):
            return
        if depth >= MAX_DEPTH:
            self._notes.add(Defect.NESTED_TOO_DEEP)
            return
        if not is_message:
            self._multipart(part, depth)
        elif self._parts < MAX_PARTS:
            buffer, start, end = part.buffer, part.start, part.end
            if part.encoding not in transfer.IDENTITY:
                if end - start > MAX_ENCODED_MESSAGE_OCTETS:
                    return
                buffer = b"".join(content(part, self._notes))
                start, end = 0, len(buffer)
            inner = self.message(buffer, start, end, part.number, depth + 1)
            part.children.append(inner)

    def _multipart(self, part: Part, depth: int) -> None:
        ranges = self._ranges(part)
        if not ranges:
            part.content_type = "text/plain"
            return
        default_type = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        for position, (start, end) in enumerate(ranges, start=1):
            if self._parts >= MAX_PARTS:
                self._notes.add(Defect.TOO_MANY_PARTS)
                return
            child = self._part(part.buffer, start, end, default_type)
            child.number = f"{part.number}.{position}".lstrip(".")
            part.children.append(child)
            self._below(child, depth + 1)

    def _ranges(self, part: Part) -> list[tuple[int, int]]:
        """Return where the parts of a multipart lie; none when no delimiter is found."""
        boundary = part.parameters.get("boundary", "").encode("utf-8", "replace")
        ranges = self._between(part, boundary) if boundary else []
        if not ranges:
            self._notes.add(Defect.BOUNDARY_MISSING)
            guessed = _GUESSED_BOUNDARY.match(part.buffer[part.start : min(part.end, part.start + 1000)])
            if guessed is not None:
                ranges = self._between(part, guessed[1])
        return ranges

    def _between(self, part: Part, boundary: bytes) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        begun: int | None = None
        for before, after, is_last in self._delimiters(part, b"--" + boundary):
            if begun is not None:
                ranges.append((begun, max(begun, before)))
            begun = None if is_last else after
            if is_last:
                break
        if begun is not None:
            self._notes.add(Defect.MULTIPART_UNTERMINATED)
            # Nothing behind the last delimiter: only its two hyphens were forgotten.
            if not ranges or part.end - begun > 4 or part.buffer[begun : part.end].strip():
                ranges.append((begun, part.end))
        return ranges

    def _delimiters(self, part: Part, line: bytes) -> Iterator[tuple[int, int, bool]]:
        """Yield (end of what stands before, begin of what comes after, whether it is the last) for each delimiter line."""
        self._octets_to_scan -= part.end - part.start
        if self._octets_to_scan < 0:
            self._notes.add(Defect.NESTED_TOO_DEEP)
            return
        buffer, end = part.buffer, part.end
        needle = b"\n" + line
        # The line feed before the first may be the header's: a multipart has a header, so there is an octet before it.
        found = buffer.find(needle, part.start - 1, end)
        while found >= 0:
            self._tried += 1
            if self._tried > MAX_DELIMITERS_TRIED:
                self._notes.add(Defect.TOO_MANY_PARTS)
                return
            at = found + len(needle)
            rest = _rest_of_line(buffer, at, end)
            if rest is None:
                found = buffer.find(needle, at, end)
                continue
            before = found - 1 if buffer[found - 1 : found] == b"\r" else found
            yield before, at + rest.end(), rest[1] is not None
            # The line end behind a delimiter may be the one before the next.
            found = buffer.find(needle, max(at + rest.end() - 1, at), end)


def _rest_of_line(buffer: Octets, start: int, end: int) -> re.Match[bytes] | None:
    """Match what stands behind a boundary; None if the line is no delimiter. Blanks may go on for long."""
    octets = 100
    while True:
        rest = _AFTER_DELIMITER.match(buffer[start : min(start + octets, end)])
        if rest is None or rest.end() < octets or start + octets >= end:
            return rest
        octets *= 2


def base_name(filename: str) -> str:
    """Return the name without the path that some senders put before it."""
    return re.split(r"[/\\]", filename)[-1].strip()[:255]


def is_body(part: Part) -> bool:
    """Tell whether a leaf is text for reading rather than a file."""
    if part.content_type not in {"text/plain", "text/html"} or part.disposition == "attachment":
        return False
    return not part.filename or part.is_whole  # a lone text with a name is still the letter


def content(part: Part, notes: Notes) -> Iterator[bytes]:
    """Yield the decoded content in pieces."""
    return transfer.decoded(part.buffer, part.start, part.end, part.encoding, part.parameters.get("crc32"), notes)
