"""Other spellings of a word: without accents, with umlauts written out. Pure.

Müller, Muller: equal to the index, which holds no accents. Mueller: also found by Müller; it finds Müller itself only in names, for
elsewhere "poet" would find "pot". Straße and Strasse find one another.
"""

import re
import unicodedata
from itertools import islice, product
from typing import Final

from daemon.store.query import values

MOST_SPELLINGS: Final = 8  # of a phrase
_MARKS: Final = re.compile("[\u0300-\u036f]")
_WRITTEN_OUT: Final = {"ä": "ae", "ö": "oe", "ü": "ue"}
_SHORT: Final = re.compile(r"(?<=[^aeiouq])([aou])e(?=[^aeiou])")  # Mueller, Goethe; not Manuel, Michael, Quebec
NAMES: Final = frozenset({"from", "to", "cc"})


def folded(text: str) -> str:
    """Give a text in small letters without accents, as the indexes hold it."""
    return _MARKS.sub("", unicodedata.normalize("NFKD", text.lower()))


def spellings(words: tuple[str, ...], field: str = "") -> list[tuple[str, ...]]:
    """Give the phrases that are meant by one: itself first, its words folded, at most MOST_SPELLINGS."""
    options = [_spellings(word, field) for word in words]
    return [tuple(one for part in phrase for one in part) for phrase in islice(product(*options), MOST_SPELLINGS)]


def _spellings(word: str, field: str) -> list[tuple[str, ...]]:
    small = unicodedata.normalize("NFC", word.lower())
    written_out = small
    for letter, letters in _WRITTEN_OUT.items():
        written_out = written_out.replace(letter, letters)
    found = [small, written_out, written_out.replace("ß", "ss"), small.replace("ss", "ß")]
    if field in NAMES:
        found.append(_SHORT.sub(r"\1", small))
    # Folding may leave more than one word: a fraction, a ligature.
    return list(dict.fromkeys(values.words(folded(one)) or (word,) for one in found))
