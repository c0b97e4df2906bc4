"""Cut what was typed into words, filters, brackets and operators, each with its place. Pure.

    from:(bob OR carol) -"last friday" subject:inv*

AND, OR and NOT are operators in capitals only. A minus counts where something begins, a bracket wherever it stands out of quotes.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from daemon import errors

OPERATORS: Final = frozenset({"AND", "OR", "NOT"})
_TOKEN: Final = re.compile(
    r"""(?P<mark>[()]|-(?=[^\s)]))
      | (?:(?P<field>[A-Za-z][A-Za-z0-9-]*):)? (?: "(?P<quoted>[^"]*)" | (?P<plain>[^\s"()]+) | (?P<group>(?=\()) | (?P<nothing>(?=\s|\)|$)) )""",
    re.VERBOSE,
)
_BLANK: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of a query. at, value_at: places counted from 0.

    kind: `(`, `)`, `-`, `AND`, `OR`, `NOT`, `word`, or `group`: a field whose bracket comes next.
    """

    kind: str
    at: int
    field: str = ""
    value: str = ""
    value_at: int = 0


def tokens(text: str, fields: Collection[str]) -> Iterator[Token]:
    """Give the pieces of a query; what stands before a colon and is none of the fields belongs to its word."""
    place = 0
    while (place := _after_blanks(text, place)) < len(text):
        found = _TOKEN.match(text, place)
        if found is None or found.end() == place:
            raise errors.QueryInvalid('a " is never closed', query=text, at=text.rfind('"'))
        yield _token(text, found, fields)
        place = found.end()


def _after_blanks(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return found.end() if found else place


def _token(text: str, found: re.Match[str], fields: Collection[str]) -> Token:
    at, field = found.start(), (found["field"] or "").lower()
    if found["mark"]:
        return Token(kind=found["mark"], at=at)
    if field and field not in fields:
        return Token(kind="word", at=at, value=found[0], value_at=at)
    if found["nothing"] is not None:
        raise errors.QueryInvalid(f"{found[0]} needs its word right behind it, without a space", query=text, at=at)
    if found["group"] is not None:
        return Token(kind="group", at=at, field=field)
    if found["quoted"] is None and found[0] in OPERATORS:
        return Token(kind=found[0], at=at)
    kind = "quoted" if found["quoted"] is not None else "plain"
    return Token(kind="word", at=at, field=field, value=found[kind], value_at=found.start(kind))
