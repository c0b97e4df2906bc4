"""Write header fields: folding (RFC 5322 section 2.2.3), encoded-words (RFC 2047), parameters (RFC 2231), lists of mailboxes.

Every function returns whole lines, ASCII but for international local parts (RFC 6532), none longer than 998 octets, each
begun by a field name or a space: no text, whatever is in it, can begin a field of its own. What can't be written is InputInvalid. Pure.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Final

from daemon.errors import InputInvalid
from daemon.mail.address import Mailbox

LINE_OCTETS: Final = 76  # where lines are folded if they can be: RFC 2047 section 2
MAX_WORD_OCTETS: Final = (
    900  # a word that can't be folded: RFC 5322 section 2.1.1 allows 998 octets a line, its name included
)
MAX_TEXT_CHARACTERS: Final = (
    50_000  # of one field; relays take about 100,000 octets of header (Postfix header_size_limit)
)
MAX_NAME_OCTETS: Final = 76  # of a field's own name; it stands on its first line
ENCODED_WORD_OCTETS: Final = 60  # RFC 2047 section 2 allows 75; so it fits behind any usual field name
PARAMETER_OCTETS: Final = 60  # of one piece of a parameter, before the next is begun

_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]*")  # RFC 5322 section 3.2.3
_NAME: Final = re.compile(rf"[!-9;-~]{{1,{MAX_NAME_OCTETS}}}")  # RFC 5322 section 3.6.8
_Q_SAFE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # RFC 2047 section 5 (3)
_PARAMETER_SAFE: Final = _Q_SAFE - frozenset(b"*") | frozenset(b"._")  # less than RFC 2231 section 7 allows
_QUOTABLE: Final = re.compile(r"[ -~]*")


def is_name(name: str) -> bool:
    """Tell whether it can be the name of a field."""
    return _NAME.fullmatch(name) is not None


def ensure_writable(text: str) -> str:
    """Return the text; InputInvalid when it has line breaks, other controls or half characters, or is too long."""
    if (control := _FORBIDDEN.search(text)) is not None:
        raise InputInvalid(f"a line break, control or broken character ({control[0]!a}) at place {control.start() + 1}")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InputInvalid(f"{len(text)} characters; a header field takes {MAX_TEXT_CHARACTERS}")
    return text


def text(name: str, value: str) -> bytes:
    """Write text for people: every character comes back as it was given, also `=?` and spaces at the ends."""
    ensure_writable(value)
    words = _words(value)
    plain = value.isascii() and "=?" not in value and value.strip(" ") == value
    if not plain or any(len(word) > MAX_WORD_OCTETS for word in words):
        words = encoded_words(value)
    return folded(name, words)


def verbatim(name: str, value: str) -> bytes:
    """Write a value that is a field body already (`<id@host>`, encoded-words): ASCII goes as it is, other text encoded."""
    ensure_writable(value)
    if not value.isascii():
        return folded(name, encoded_words(value))
    words = _words(value.strip(" "))
    if any(len(word) > MAX_WORD_OCTETS for word in words):
        raise InputInvalid(f"a word of more than {MAX_WORD_OCTETS} characters")
    return folded(name, words)


def mailboxes(name: str, given: Iterable[Mailbox]) -> bytes:
    """Write a list of addresses, in the order given."""
    words: list[str] = []
    for mailbox in given:
        if words:
            words[-1] += ","
        words += [*_phrase(mailbox.name), f"<{mailbox.address}>"] if mailbox.name else [mailbox.address]
    return folded(name, words)


def parameters(name: str, value: str, given: Sequence[tuple[str, str]]) -> bytes:
    """Write `value; key="…"`; long or international values in the form of RFC 2231."""
    words = [value]
    for key, content in given:
        for word in _parameter(key, ensure_writable(content)):
            words[-1] += ";"
            words.append(word)
    return folded(name, words)


def folded(name: str, words: Sequence[str]) -> bytes:
    """Write a field of words that are not broken; the first stays beside the name."""
    whole = f"{name}: {' '.join(words)}\r\n"
    if len(whole) <= LINE_OCTETS:
        return whole.encode()
    lines = [f"{name}:"]
    for number, word in enumerate(words):
        if number and len(lines[-1]) + 1 + len(word) > LINE_OCTETS:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join([*lines, ""]).encode()


def _words(value: str) -> list[str]:
    """Split at single spaces; further ones stay in front of the word, so that joining by one space gives the value again."""
    found = re.findall(r" *[^ ]+", value)
    return [*found[:1], *(word[1:] for word in found[1:])]


def encoded_words(value: str) -> list[str]:
    """Write text as encoded-words in UTF-8, whichever of B and Q is shorter; no character is split."""
    room = ENCODED_WORD_OCTETS - len("=?utf-8?q??=")
    octets = value.encode()
    is_q_shorter = sum(1 if one in _Q_SAFE or one == 0x20 else 3 for one in octets) <= len(octets) * 4 / 3
    words: list[str] = []
    piece, used = b"", 0
    for character in value:
        encoded = character.encode()
        cost = len(_q(encoded)) if is_q_shorter else len(encoded)
        if used + cost > (room if is_q_shorter else room // 4 * 3):
            words.append(_encoded_word(piece, is_q=is_q_shorter))
            piece, used = b"", 0
        piece += encoded
        used += cost
    words.append(_encoded_word(piece, is_q=is_q_shorter))
    return words


def _encoded_word(octets: bytes, *, is_q: bool) -> str:
    return f"=?utf-8?q?{_q(octets)}?=" if is_q else f"=?utf-8?b?{base64.b64encode(octets).decode()}?="


def _q(octets: bytes) -> str:
    return "".join(chr(one) if one in _Q_SAFE else "_" if one == 0x20 else f"={one:02X}" for one in octets)


def _phrase(name: str) -> list[str]:
    """Write a display name: atoms, else a quoted string, else encoded-words."""
    ensure_writable(name)
    clean = name.isascii() and "=?" not in name and name == " ".join(name.split())
    if clean and _ATOMS.fullmatch(name):
        return name.split(" ")
    if clean and len(name) <= LINE_OCTETS - 10:
        return [_quoted(name)]
    return encoded_words(name)


def _quoted(content: str) -> str:
    return '"' + re.sub(r'([\\"])', r"\\\1", content) + '"'


def _parameter(key: str, content: str) -> list[str]:
    if _QUOTABLE.fullmatch(content) and content.strip(" ") == content and len(content) <= PARAMETER_OCTETS:
        return [f"{key}={_quoted(content)}"]
    pieces = [""]
    for character in content:
        encoded = "".join(chr(one) if one in _PARAMETER_SAFE else f"%{one:02X}" for one in character.encode())
        if len(pieces[-1]) + len(encoded) > PARAMETER_OCTETS:
            pieces.append("")
        pieces[-1] += encoded
    if len(pieces) == 1:
        return [f"{key}*=utf-8''{pieces[0]}"]
    return [f"{key}*{number}*=" + ("" if number else "utf-8''") + piece for number, piece in enumerate(pieces)]
