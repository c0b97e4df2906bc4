"""The piece of a message's text that shows why it was found. Pure.

It is cut here, and not by the databases: for the few messages that are shown only, alike on both, and for scripts that neither
of them cuts.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from daemon.store.query import ideographs, spelling
from daemon.store.query.tree import ANYWHERE, Words

CHARACTERS: Final = 160  # of a snippet
BEFORE: Final = 50  # of them, at most, before the first word that was found
SHOWN_FIELDS: Final = frozenset(
    {ANYWHERE, "body", "own", "attachment"}
)  # what is in the others is in the columns beside it
_BLANKS: Final = re.compile(r"\s+")
_LETTER: Final = r"[^\W_]"
_MARKS: Final = "[\u0300-\u036f]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of text on one line. found: (start, end) of each word that was asked for, in characters."""

    text: str
    found: tuple[tuple[int, int], ...] = ()

    def marked(self, opening: str, closing: str) -> str:
        """Give the text with marks around what was found."""
        pieces, place = list[str](), 0
        for start, end in self.found:
            pieces += (self.text[place:start], opening, self.text[start:end], closing)
            place = end
        return "".join(pieces) + self.text[place:]


def sought(leaves: Sequence[Words]) -> re.Pattern[str] | None:
    """Give what finds the words of a query in a text; None if none is looked for in texts."""
    patterns = [_phrase(leaf) for leaf in leaves if leaf.field in SHOWN_FIELDS]
    return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def snippet(texts: Iterable[str], pattern: re.Pattern[str] | None) -> Snippet:
    """Cut a piece out of the first text in which something is found, else from the beginning of the first."""
    head = ""
    for text in texts:
        if pattern is not None and (found := pattern.search(text)) is not None:
            return _cut(text, found.start(), pattern)
        head = head or text[: 2 * CHARACTERS]
    flat = _BLANKS.sub(" ", head).strip()
    return Snippet(text=flat if len(flat) <= CHARACTERS else flat[:CHARACTERS].rstrip() + "…")


def _cut(text: str, place: int, pattern: re.Pattern[str]) -> Snippet:
    start, end = max(0, place - BEFORE), place + 2 * CHARACTERS
    lead, tail = text[start:place], text[place:end]
    if start:  # from the beginning of a word on
        lead = "…" + (lead.partition(" ")[2] if " " in lead else lead)
    flat = _BLANKS.sub(" ", lead + tail).lstrip()
    is_cut = len(flat) > CHARACTERS or end < len(text)
    if len(flat) > CHARACTERS:
        flat = flat[:CHARACTERS]
    flat = flat.rstrip() + ("…" if is_cut else "")
    return Snippet(text=flat, found=tuple(one.span() for one in pattern.finditer(flat) if one.end() > one.start()))


def _phrase(leaf: Words) -> str:
    if any(map(ideographs.are_in, leaf.words)):
        composed = r"\W*".join(map(re.escape, leaf.words))
        return "|".join({unicodedata.normalize(form, composed) for form in ("NFC", "NFD")})
    phrases = [r"[\W_]+".join("".join(map(_accented, word)) for word in one) for one in spelling.spellings(leaf.words)]
    ending = f"{_LETTER}*" if leaf.is_prefix else f"(?!{_LETTER})"
    return f"(?<!{_LETTER})(?:{'|'.join(phrases)}){ending}"


def _accented(letter: str) -> str:
    accented = _accents().get(letter)
    return f"[{letter}{accented}]{_MARKS}" if accented else re.escape(letter)


@cache
def _accents() -> dict[str, str]:
    """Give the accented forms of each letter of the Latin alphabet, small ones."""
    forms: dict[str, str] = {}
    for code in (*range(0xDF, 0x250), *range(0x1E00, 0x1F00)):
        letter, base = chr(code), spelling.folded(chr(code))
        if len(base) == 1 and base != letter and letter.islower():
            forms[base] = forms.get(base, "") + letter
    return forms
