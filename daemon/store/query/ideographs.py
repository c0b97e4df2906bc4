"""Chinese, Japanese, Korean: scripts that are searched by characters, not by words. Pure.

No blanks stand between words (or, in Korean, endings are written onto them), so that an index of words finds nothing. What is
indexed are pairs of neighbouring characters: 東京都 is 東京, 京都, and 都, for a search of one character.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

# As it stands between the brackets of a regular expression; PostgreSQL and Python read it alike.
CHARACTERS: Final = (
    r"\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    r"\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc"
    r"\U00020000-\U0003fffd"
)
_RUN: Final = re.compile(f"[{CHARACTERS}]+")
_UNCOMPOSED: Final = re.compile(rf"[{CHARACTERS}\u3099\u309a]+")  # with the marks of kana


def are_in(text: str) -> bool:
    """Tell whether any is in a text."""
    return not text.isascii() and _RUN.search(text) is not None


def runs(text: str) -> list[str]:
    """Give the pieces of a text that consist of them, composed (NFC): files of a Mac have decomposed names."""
    found = _UNCOMPOSED.findall(text)
    return _RUN.findall(unicodedata.normalize("NFC", " ".join(found))) if found else []


def pairs(texts: Iterable[str]) -> set[str]:
    """Give all neighbouring pairs, and the last character of each run."""
    found = set[str]()
    for text in texts:
        if not text.isascii():
            for run in set(runs(text)):
                found.update(map("".join, pairwise(run)), run[-1])
    return found
