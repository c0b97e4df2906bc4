"""Address fields as they come (RFC 5322 section 3.4), read leniently: `mail/address.py` is for what people give us.

Linear: each character is looked at a bounded number of times. Groups are opened, routes dropped, comments serve as names
where there is no other. The stdlib's reader raises IndexError, AttributeError or RecursionError on hostile fields.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from daemon.mail import charset, headers
from daemon.mail.defects import Defect, Notes

MAX_FIELD_OCTETS: Final = 524_288  # of one address field that are read: some 10,000 addresses
MAX_KNOWN_OCTETS: Final = 200  # of a field that is remembered
MAX_ADDRESSES: Final = 10_000  # of one role in one message
MAX_CHARACTERS: Final = 1000  # of a name or an address (RFC 5321 section 4.5.3.1.3: 254); longer ones are cut

_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_WORD: Final = re.compile(r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]{0,2000}\?=")
_ATOM: Final = re.compile(r'(?:(?!=\?)[^\s",:;<>()])+|=')
_PARENTHESIS: Final = re.compile(r"\\.|[()]", re.DOTALL)
_ROUTE: Final = re.compile(r"@[^:]*:")
# Nearly all there are, `Anna Nováková <anna@example.org>,` in ASCII, with an encoded-word or one "quoted" name or none:
# what the words, brackets and separators of the reader would come to, in one match. No `?` in the address: no encoded-word.
_PLAIN: Final = re.compile(
    r"""[ ]*+(?:"([ !#-\[\]-~]{0,500})"[ ]?|([!#-'*+\--9=?-~]++(?:[ ][!#-'*+\--9=?-~]++)*+)[ ])?"""
    r"""<([!#-'*+\-./0-9=A-Z^-~]{1,200}@[A-Za-z0-9.-]{1,200})>[ ]*+(?:,|$)"""
)
_APART: Final = frozenset(" \t\r\n<>()")  # what stands between words
_PIECE: Final = re.compile(r'"[^"]*"@\S+|\S+')  # a quoted local part may have blanks
_NEEDS_QUOTES: Final = re.compile(r'[,;<>"()]')


class Listed(NamedTuple):
    """One address of a field; either may be "", not both."""

    name: str
    address: str

    @property
    def shown(self) -> str:
        """As people read it."""
        if not self.name or not self.address:
            return self.address or self.name
        name = self.name
        if _NEEDS_QUOTES.search(name):
            name = '"' + name.replace('"', "'") + '"'
        return f"{name} <{self.address}>"


def read(values: Sequence[bytes], notes: Notes) -> list[Listed]:
    """Return the addresses of all fields of one name, in order."""
    listed: list[Listed] = []
    for value in values:
        if (
            len(value) <= MAX_KNOWN_OCTETS
            and (known := _known(value)) is not None
            and len(listed) <= MAX_ADDRESSES - MAX_KNOWN_OCTETS
        ):
            listed += known
            continue
        if len(value) > MAX_FIELD_OCTETS:
            notes.add(Defect.ADDRESSES_TRUNCATED)
        for one in _Reader(headers.raw_text(value[:MAX_FIELD_OCTETS], notes), notes).addresses():
            if len(listed) == MAX_ADDRESSES:
                notes.add(Defect.ADDRESSES_TRUNCATED)
                return listed
            listed.append(one)
    return listed


@lru_cache(maxsize=1024)  # the same people write to the same people
def _known(value: bytes) -> tuple[Listed, ...] | None:
    """Return the addresses of a short field; None if something was wrong with it, which has to be noted each time."""
    notes = Notes()
    found = tuple(_Reader(headers.raw_text(value, notes), notes).addresses())
    return None if notes.names() else found


class _Reader:
    """Reads one field from left to right."""

    def __init__(self, text: str, notes: Notes) -> None:
        self._text = text
        self._notes = notes
        self._at = 0
        self._forget()

    def _forget(self) -> None:
        self._words: list[str] = []  # each begins with a space unless it is glued to the one before
        self._angle: str | None = None
        self._comments: list[str] = []

    def addresses(self) -> Iterator[Listed]:
        """Yield them."""
        text, end = self._text, len(self._text)
        while (plain := _PLAIN.match(text, self._at)) is not None:
            quoted, words, address = plain.groups()
            name = self._clean((quoted or words or "").strip())[:MAX_CHARACTERS]
            yield Listed("" if name == address else name, address)
            self._at = plain.end()
        closers = {'"', "(", "<"}  # those that may still find their other half: an unmatched one is looked for once
        while self._at < end:
            letter = text[self._at]
            if letter in ",;":
                yield from self._finished()
                self._at += 1
            elif letter == ":":
                if self._angle is None and not any("@" in word for word in self._words):
                    self._forget()  # what came before was the name of a group
                self._at += 1
            elif letter in closers:
                if not self._bracketed(letter):
                    self._notes.add(Defect.ADDRESS_REPAIRED)
                    closers.discard(letter)
            elif letter.isspace() or letter in '"()<>':
                self._at += 1
            else:
                self._word()
        yield from self._finished()

    def _bracketed(self, opening: str) -> bool:
        """Read "quoted", (comment) or <angle>; False if it never ends."""
        if opening == '"':
            quoted = _QUOTED.match(self._text, self._at)
            if quoted is None:
                return False
            is_local_part = self._text.startswith("@", quoted.end())
            self._add(quoted[0] if is_local_part else _ESCAPED.sub(r"\1", quoted[1]), quoted.end())
            return True
        if opening == "<":
            end = self._text.find(">", self._at)
            if end < 0:
                return False
            inside = self._text[self._at + 1 : end]
            if self._angle is None or "@" in inside:
                self._angle = inside
            self._at = end + 1
            return True
        return self._comment()

    def _comment(self) -> bool:
        depth = 0
        for found in _PARENTHESIS.finditer(self._text, self._at):
            depth += {"(": 1, ")": -1}.get(found[0], 0)
            if depth == 0:
                self._comments.append(_ESCAPED.sub(r"\1", self._text[self._at + 1 : found.start()]))
                self._at = found.end()
                return True
        return False

    def _word(self) -> None:
        found = _WORD.match(self._text, self._at) or _ATOM.match(self._text, self._at)
        end = self._at + 1 if found is None else found.end()
        self._add(self._text[self._at : end], end)

    def _add(self, word: str, end: int) -> None:
        glued = bool(self._words) and self._text[self._at - 1] not in _APART
        self._words.append(word if glued else " " + word)
        self._at = end

    def _finished(self) -> Iterator[Listed]:
        words = "".join(self._words).strip()
        angle, comments = self._angle, self._comments
        self._forget()
        if angle is None and "@" in words:
            words, angle = _bare(words)
            if words:
                self._notes.add(Defect.ADDRESS_REPAIRED)
        if angle is None and not words:
            return
        route = None if angle is None else _ROUTE.match(angle)
        address = self._clean("" if angle is None else angle[route.end() :] if route else angle)
        address = (address if '"' in address else "".join(address.split()))[:MAX_CHARACTERS]
        name = self._clean(words or (" ".join(comments) if address else ""))[:MAX_CHARACTERS]
        if "@" not in address[1:-1]:
            self._notes.add(Defect.ADDRESS_UNREADABLE)
        if name or address:
            yield Listed("" if name == address else name, address)

    def _clean(self, text: str) -> str:
        return charset.one_line(headers.decoded(text, self._notes), self._notes)


def _bare(words: str) -> tuple[str, str]:
    """Split `Anna anna@example.org`, which lacks its brackets, into name and address; spaces about the @ are allowed."""
    words = re.sub(r"\s{0,100}@\s{0,100}", "@", words)
    pieces = _PIECE.findall(words)
    last = max(number for number, piece in enumerate(pieces) if "@" in piece)
    return " ".join(pieces[:last] + pieces[last + 1 :]), pieces[last]
