"""Header fields as they come: the block, unfolded values, encoded-words, Message-IDs (RFC 5322, 2047, 6532).

Lenient and linear: whatever the octets, something is returned in time proportional to their number, and what had to be
repaired is noted. The stdlib's field parsers are not used: many of them raise on hostile fields, or take quadratic time.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from daemon.mail import charset
from daemon.mail.defects import Defect, Notes
from daemon.mail.source import Octets

MAX_HEADER_OCTETS: Final = 1_048_576  # of one header block; Postfix stops at 100 kB, Exchange at 256 kB
MAX_FIELDS: Final = 2000  # fields of one header block that are read
MAX_KNOWN_NAME_OCTETS: Final = 100  # of a field's name that is remembered
MAX_TEXT_OCTETS: Final = 65_536  # of one unstructured field that are read
MAX_ID_CHARACTERS: Final = 998  # RFC 5322 section 2.1.1: a line
MAX_REFERENCES: Final = 200  # the last ones: the nearest relatives

Fields = dict[str, list[bytes]]

# Those that anybody asks for; a third of a header's octets are stamps and signatures, which need not be unfolded.
_READ: Final = {
    name.encode(): name
    for name in (
        *(
            "received",
            "from",
            "sender",
            "reply-to",
            "to",
            "cc",
            "bcc",
            "subject",
            "date",
            "message-id",
            "resent-message-id",
            "in-reply-to",
            "references",
        ),
        *("content-type", "content-disposition", "content-transfer-encoding", "content-id"),
        # Who sent it and what for, if it is no person: mail/report.py.
        *("return-path", "delivered-to", "x-original-to", "envelope-to", "x-failed-recipients", "auto-submitted"),
        *("precedence", "list-id", "x-autoreply", "x-autorespond", "x-autoresponder", "x-vacation"),
    )
}

# A field with its folds, or, in the last group, a line that is none.
_FIELD: Final = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)|([^\n]++)")
_NAME: Final = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NAME_ALONE: Final = re.compile(rb"[!-9;-~]+")
_KNOWN_NAME: Final = re.compile(
    rb"(?:from|to|cc|bcc|subject|date|message-id|mime-version|content-[a-z-]+|received|return-path|reply-to|references"
    rb"|in-reply-to|sender|x-[!-9;-~]+|list-[a-z-]+|dkim-signature|delivered-to)[ \t]*:",
    re.IGNORECASE,
)
_WORD_HEAD: Final = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?")
_ID: Final = re.compile(rf"<([^<>]{{1,{MAX_ID_CHARACTERS}}})>")
_ID_ALONE: Final = re.compile(rb"<[!-;=?-~]{1,%d}>" % MAX_ID_CHARACTERS)  # as it should be, and no other with it
_BASE64_JUNK: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


# --- the block ------------------------------------------------------------------------------------------------------


def split(buffer: Octets, start: int, end: int) -> tuple[int, int]:
    """Return where the header that begins at `start` ends and where the body begins."""
    if buffer.startswith(b"\r\n", start, end):
        return start, start + 2
    if buffer.startswith(b"\n", start, end):
        return start, start + 1
    crlf = buffer.find(b"\n\r\n", start, end)
    bare = buffer.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if bare >= 0:
        return bare + 1, bare + 2
    return (end, end) if crlf < 0 else (crlf + 1, crlf + 3)


def read(buffer: Octets, start: int, end: int, notes: Notes) -> tuple[Fields, int]:
    """Return the fields between `start` and the first empty line, and where the body begins.

    Only those in _READ; names are in lower case, values unfolded but raw. A line that is no field is passed over if a
    well-known field follows it, else the body begins with it.
    """
    plain = _plainly(buffer, start, end)
    if plain is not None:
        return plain
    header_end, body = split(buffer, start, end)
    if header_end - start > MAX_HEADER_OCTETS:
        notes.add(Defect.HEADERS_TRUNCATED)
        header_end = start + MAX_HEADER_OCTETS
    block = buffer[start:header_end]
    listed = _FIELD.findall(block)
    if len(listed) > MAX_FIELDS or b"\r\r\n" in block or any(line for _, _, line in listed):
        return _repaired(block.split(b"\n"), start, body, notes)
    fields: Fields = {}
    for name, value, _ in listed:
        read_as = _READ.get(name.lower())
        if read_as is not None:
            unfolded = value.replace(b"\r\n", b"").replace(b"\n", b"") if b"\n" in value else value
            fields.setdefault(read_as, []).append(unfolded.strip())
    return fields, body


def _plainly(buffer: Octets, start: int, end: int) -> tuple[Fields, int] | None:
    """Do as `read` for a header as it should be, in half the time; None if it has another line end than CRLF, or a line that is no field."""
    header_end = buffer.find(b"\r\n\r\n", start, end)
    if not 0 <= header_end - start <= MAX_HEADER_OCTETS:
        return None
    block = buffer[start:header_end].replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
    lines = block.split(b"\r\n")
    if len(lines) > MAX_FIELDS or not block.count(b"\r") == block.count(b"\n") == len(lines) - 1:
        return None
    fields: Fields = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        read_as = _read_as(name) if colon and len(name) <= MAX_KNOWN_NAME_OCTETS else None
        if read_as:
            fields.setdefault(read_as, []).append(value.strip())
        elif read_as is None:
            return None
    return fields, header_end + 4


@lru_cache(maxsize=1024)
def _read_as(name: bytes) -> str | None:
    """Give what a field is called in _READ, "" if it is passed over; None if it is no name, or one with a blank, which may be a fold."""
    return _READ.get(name.lower(), "") if _NAME_ALONE.fullmatch(name) else None


def _repaired(lines: list[bytes], start: int, body: int, notes: Notes) -> tuple[Fields, int]:
    """Do the same, line by line, for a header with lines that are no fields."""
    found: list[tuple[str, list[bytes]]] = []
    last_known = -1
    at = start
    for number, line in enumerate(lines):
        name = _NAME.match(line)
        if line[:1] in {b" ", b"\t"} and found:
            found[-1][1].append(line.rstrip(b"\r"))
        elif name is not None:
            if len(found) == MAX_FIELDS:
                notes.add(Defect.HEADERS_TRUNCATED)
                break
            found.append((_READ.get(name[1].lower(), ""), [line[name.end() :].rstrip(b"\r")]))
        elif line.strip() and not (number == 0 and line.startswith((b"From ", b">From "))):  # mbox's own line
            if last_known < 0:
                last_known = max((n for n, one in enumerate(lines) if _KNOWN_NAME.match(one)), default=0)
            notes.add(Defect.HEADER_MALFORMED if found or last_known > number else Defect.NO_HEADER)
            if last_known <= number:
                body = at
                break
        at += len(line) + 1
    fields: Fields = {}
    for field, pieces in found:
        if field:
            fields.setdefault(field, []).append(b"".join(pieces).strip())
    return fields, body


# --- values ---------------------------------------------------------------------------------------------------------


def raw_text(value: bytes, notes: Notes) -> str:
    """Return the field as text, its encoded-words still encoded. Raw 8-bit octets are UTF-8 (RFC 6532) or guessed."""
    if value.isascii():
        return value.decode("ascii")
    return charset.decode(value, "", notes, wrong=Defect.HEADER_CHARSET_GUESSED)


def unstructured(value: bytes, notes: Notes) -> str:
    """Return a field for people, decoded, on one line."""
    if len(value) > MAX_TEXT_OCTETS:
        notes.add(Defect.TEXT_TRUNCATED)
        value = value[:MAX_TEXT_OCTETS]
    return charset.one_line(decoded(raw_text(value, notes), notes), notes)


def decoded(text: str, notes: Notes) -> str:
    """Decode the encoded-words in `text` (RFC 2047), also where they should not be; broken ones stay as they are.

    Neighbours of one charset are joined before they are decoded: many senders cut characters in two.
    """
    if "=?" not in text:
        return text
    alone = _alone(text)
    if alone is not None:
        return charset.decode(alone[1], alone[0], notes, wrong=Defect.ENCODED_WORD_BROKEN)
    pieces: list[str] = []
    word_charset, word_octets = "", b""
    for literal, declared, octets in _words(text, notes):
        if word_octets and not literal and declared == word_charset and _ends_within(word_octets, word_charset):
            notes.add(Defect.ENCODED_WORD_REPAIRED)
        if word_octets and (literal or declared != word_charset):
            pieces.append(charset.decode(word_octets, word_charset, notes, wrong=Defect.ENCODED_WORD_BROKEN))
            word_octets = b""
        pieces.append(literal)
        word_charset, word_octets = declared, word_octets + octets
    pieces.append(charset.decode(word_octets, word_charset, notes, wrong=Defect.ENCODED_WORD_BROKEN))
    return "".join(pieces)


def _alone(text: str) -> tuple[str, bytes] | None:
    """Give the charset and the octets of a text that is one sound encoded-word and nothing else, as most with any are."""
    head = _WORD_HEAD.match(text)
    if head is None or not text.endswith("?=", head.end()):
        return None
    payload = text[head.end() : -2]
    if "?" in payload or " " in payload or not payload.isascii() or (head[2] in "bB" and len(payload) & 3):
        return None
    octets = _octets(head[2], payload)
    return (head[1].lower(), octets) if octets else None


def _ends_within(octets: bytes, declared: str) -> bool:
    """Tell whether a word ends within a character (RFC 2047 section 5 forbids it); of UTF-8, which is nearly all there is."""
    if octets[-1] < 0x80 or declared not in {"utf-8", "utf8"}:
        return False
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _words(text: str, notes: Notes) -> Iterator[tuple[str, str, bytes]]:
    """Yield (the text before it, charset, octets) for each encoded-word, and what is left at the end as ("…", "", b"")."""
    at = 0  # up to here it was yielded
    after_word = False
    search = text.find("=?")
    closing = -1
    while search >= 0:
        head = _WORD_HEAD.match(text, search)
        if head is None:
            search = text.find("=?", search + 2)
            continue
        if closing < head.end():
            closing = text.find("?=", head.end())
        if closing < 0:
            notes.add(Defect.ENCODED_WORD_BROKEN)
            break
        following = text.find("=?", head.end(), closing)
        payload = text[head.end() : closing]
        octets = None if 0 <= following < closing - 1 else _octets(head[2], payload)
        if octets is None:
            notes.add(Defect.ENCODED_WORD_BROKEN)
            search = text.find("=?", head.end())
            continue
        literal = text[at:search]
        if (
            " " in payload
            or (head[2] in "bB" and len(payload) & 3)  # its padding was forgotten
            or (literal[-1:].isalnum() if literal else after_word)  # within a word, or with no blank between two
            or text[closing + 2 : closing + 3].isalnum()
            or not payload.isascii()
        ):
            notes.add(Defect.ENCODED_WORD_REPAIRED)
        yield "" if after_word and not literal.strip() else literal, head[1].lower(), octets
        at, after_word = closing + 2, True
        search = text.find("=?", at)
    yield text[at:], "", b""


def _octets(encoding: str, payload: str) -> bytes | None:
    """Return what an encoded-word holds; None when it can't be read."""
    octets = payload.encode("utf-8", "replace")  # 8-bit text in there is against the rules, and happens
    if encoding in "qQ":
        return binascii.a2b_qp(octets.replace(b"_", b"=20"), header=False)
    letters = octets.translate(None, _BASE64_JUNK)
    if len(letters) % 4 == 1:
        return None
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


def message_ids(value: bytes, notes: Notes) -> tuple[str, ...]:
    """Return the Message-IDs in a field without their angle brackets, each once, at most the last MAX_REFERENCES."""
    if not value:
        return ()
    if _ID_ALONE.fullmatch(value) is not None and b"=?" not in value:
        return (value[1:-1].decode("ascii"),)
    text = decoded(raw_text(value[-MAX_TEXT_OCTETS:], notes), notes)
    found = ["".join(one.split()) for one in _ID.findall(text)]
    if not found and len(words := text.split()) == 1 and len(words[0]) <= MAX_ID_CHARACTERS:
        found = [words[0].strip("<>")]  # without its brackets
    ids = [charset.scrubbed(one, notes) for one in found if one]
    if not ids:
        notes.add(Defect.MESSAGE_ID_UNREADABLE)
    each = tuple(dict.fromkeys(ids))
    if len(each) > MAX_REFERENCES:
        notes.add(Defect.REFERENCES_TRUNCATED)
    return each[-MAX_REFERENCES:]
