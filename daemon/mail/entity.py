"""Make the body of a letter from a row's columns and attachments: MIME (RFC 2045-2047, 2231, 2387), 7-bit, boundaries computed.

What can't be written is InputInvalid, its message begins with the column's name. Pure.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from typing import Final, Literal, TypeVar
from urllib.parse import quote

from daemon.errors import InputInvalid
from daemon.mail import downgrade, field
from daemon.wire import lines

MAX_FILENAME_CHARACTERS: Final = 1000  # of an attachment; file systems end at 255
_TYPE: Final = re.compile(r"([A-Za-z0-9!#$&^_.+-]{1,127})/([A-Za-z0-9!#$&^_.+-]{1,127})")  # RFC 6838 section 4.2
_TYPE_PARAMETER: Final = re.compile(
    r'\s*;\s*([A-Za-z0-9!#$&^_.+-]{1,60})=(?:"([^"\\\x00-\x1f\x7f]*)"|([A-Za-z0-9!#$&^_.+:/-]+))'
)
_CONTENT_ID: Final = re.compile(r"<?([!-;=?-~]{1,200})>?")
_NOT_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
_ABOVE_ASCII: Final = bytes(range(0x7F, 0x100))
_BASE64_OCTETS: Final = 57 * 16_384  # encoded at once: whole lines, about a megabyte

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes with a letter. content_id: with it the HTML can show it, as `cid:…`."""

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Base64:
    """Octets that will stand in the letter in base64; encoded only when it is written, so that a large file is not held twice."""

    octets: bytes

    def written(self) -> Iterator[bytes]:
        """Yield the lines, many at once."""
        for at in range(0, len(self.octets), _BASE64_OCTETS):
            yield base64.encodebytes(self.octets[at : at + _BASE64_OCTETS]).replace(b"\n", b"\r\n")


Entity = list[bytes | _Base64]  # a part of the body with its header, in pieces


def of_column(name: str, make: Callable[[_Given], _Made], value: _Given) -> _Made:
    """Make something of a column's value; a complaint about it begins with the column's name."""
    try:
        return make(value)
    except InputInvalid as error:
        raise InputInvalid(f"{name}: {error}") from None


# --- the body -----------------------------------------------------------------------------------------------------------


def body(text: str | None, given_html: str | None, attachments: Sequence[Attachment], *, seed: str) -> Entity:
    """Return the letter's own Content fields, the empty line, and the body, in pieces. seed: of its boundaries.

    mixed( alternative( text, related( html, inline… ) ), attached… ); each layer only where there is something in it.
    """
    for number, one in enumerate(attachments, start=1):
        of_column(f"attachments: number {number}", _ensure_attachable, one)
    html = given_html or None  # an empty alternative would be shown in place of the other one
    inline = [one for one in attachments if html is not None and _is_shown(one, html)]
    attached = [one for one in attachments if html is None or not _is_shown(one, html)]
    entities: list[Entity] = []
    if text or html is None:
        entities.append(of_column("body", partial(_text, "plain"), text or ""))
    if html is not None:
        shown = [of_column("html", partial(_text, "html"), html), *(_file(one, "inline") for one in inline)]
        entities.append(_multipart("related", shown, seed, [("type", "text/html")]))
    whole = _multipart("alternative", entities, seed)
    return _multipart("mixed", [whole, *(_file(one, "attachment") for one in attached)], seed)


def _multipart(subtype: str, entities: Sequence[Entity], seed: str, more: Sequence[tuple[str, str]] = ()) -> Entity:
    """Join entities; a single one stays as it is."""
    if len(entities) == 1:
        return entities[0]
    # `=_` can't be in quoted-printable or base64 (RFC 2045 section 6.7); plain text, which is in one piece, is looked through.
    number = 0
    while True:
        digest = hashlib.sha256(f"{seed} {subtype} {number}".encode()).hexdigest()[:24]
        boundary = f"=_{subtype}_{digest}"
        if not any(boundary.encode() in piece for entity in entities for piece in entity if isinstance(piece, bytes)):
            break
        number += 1
    head = field.parameters("Content-Type", f"multipart/{subtype}", [*more, ("boundary", boundary)])
    line = b"--" + boundary.encode()
    return [
        *(head, b"\r\n"),
        *(piece for entity in entities for piece in (line, b"\r\n", *entity, b"\r\n")),
        *(line, b"--\r\n"),
    ]


def _text(subtype: Literal["plain", "html"], text: str) -> Entity:
    """Write a text part in UTF-8. What no text may have (NUL, octets that are not UTF-8) is refused: sent, it would be damaged."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    try:
        octets = text.encode().replace(b"\n", b"\r\n")
    except UnicodeEncodeError:
        octets = b"\0"  # half a character; the message below says where
    if b"\0" in octets and (broken := _NOT_TEXT.search(text)) is not None:
        raise InputInvalid(f"NUL, or octets that are not UTF-8 ({broken[0]!a}), at place {broken.start() + 1}")
    piece: bytes | _Base64
    if octets.isascii() and downgrade.has_short_lines(octets):
        encoding, piece = "7bit", octets
    elif len(octets) - len(octets.translate(None, _ABOVE_ASCII)) <= len(octets) // 6:
        # binascii ends its soft line breaks as the first line of the text ends; there is one, see above.
        encoding, piece = "quoted-printable", binascii.b2a_qp(octets, istext=True)
    else:
        encoding, piece = "base64", _Base64(octets)
    return [_text_head(subtype, encoding), b"\r\n", piece]


@cache
def _text_head(subtype: Literal["plain", "html"], encoding: str) -> bytes:
    head = field.parameters("Content-Type", f"text/{subtype}", [("charset", "utf-8")])
    return head + field.folded("Content-Transfer-Encoding", [encoding])


def joined(pieces: Entity) -> bytes:
    """Write the letter into one buffer, which then is the letter."""
    buffer = BytesIO()
    for piece in pieces:
        buffer.writelines([piece] if isinstance(piece, bytes) else piece.written())
    return buffer.getvalue()


# --- attachments --------------------------------------------------------------------------------------------------------


def _ensure_attachable(one: Attachment) -> None:
    _content_type(one.content_type)
    field.ensure_writable(one.filename)
    if len(one.filename) > MAX_FILENAME_CHARACTERS:
        raise InputInvalid(f"a filename of more than {MAX_FILENAME_CHARACTERS} characters")
    if one.content_id and _CONTENT_ID.fullmatch(one.content_id) is None:
        raise InputInvalid(f"content_id {ascii(one.content_id)[:80]} is not of the form name@host")


def _content_type(given: str) -> tuple[str, list[tuple[str, str]]]:
    """Return type/subtype in lower case and its parameters, but for the file's name, which has its own place."""
    given = given.strip(" ") or "application/octet-stream"
    found = _TYPE.match(given)
    if found is None or found[1].lower() == "multipart":
        raise InputInvalid(f"content_type {ascii(given)[:80]} can't be the type of a file")
    place, parameters = found.end(), list[tuple[str, str]]()
    while (one := _TYPE_PARAMETER.match(given, place)) is not None:
        place = one.end()
        parameters.append((one[1].lower(), one[2] if one[3] is None else one[3]))
    if given[place:].strip(" ;"):
        raise InputInvalid(f"content_type {ascii(given)[:80]}: what is behind the type can't be read")
    return found[0].lower(), [(key, value) for key, value in parameters if key != "name"]


def _is_shown(one: Attachment, html: str) -> bool:
    """Tell whether the HTML shows the attachment by its content id."""
    if not one.content_id:
        return False
    bare = one.content_id.strip("<>")
    return f"cid:{bare}" in html or f"cid:{quote(bare, safe='')}" in html or f"cid:{quote(bare, safe='@')}" in html


def _file(one: Attachment, disposition: str) -> Entity:
    """Write an attachment; its octets arrive as they are, a message's line ends excepted."""
    kind, parameters = _content_type(one.content_type)
    encoding = "base64"
    piece: bytes | _Base64 = _Base64(one.content)
    if kind.startswith("message/"):
        # RFC 2046 section 5.2.1: these must not be encoded; one that can't go as it is goes as a file.
        octets = lines.normalised(one.content)
        if octets.isascii() and b"\0" not in octets and downgrade.has_short_lines(octets):
            encoding, piece = "7bit", octets
        else:
            kind, parameters = "application/octet-stream", []
    head = field.parameters("Content-Type", kind, parameters)
    head += field.folded("Content-Transfer-Encoding", [encoding])
    head += field.parameters("Content-Disposition", disposition, [("filename", one.filename or "attachment")])
    if one.content_id:
        head += field.folded("Content-ID", [f"<{one.content_id.strip('<>')}>"])
    return [head, b"\r\n", piece]
