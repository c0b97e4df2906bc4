"""Read what a person types into the search box into a tree (`tree.py`), or say what is wrong with it, and where. Pure.

    query  = all *( "OR" all )
    all    = 1*( ["AND"] part )
    part   = ["-" / "NOT"] ( word / field ":" word / [field ":"] "(" query ")" )

All must hold unless OR says otherwise, which binds less than AND. A word with punctuation in it (anna@example.org) is the phrase of
its parts; one that ends in * may go on. A field before a bracket is that of every word in it that has none of its own.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Final, NoReturn

from daemon import errors
from daemon.store.query import tree, values
from daemon.store.query.tokens import Token, tokens

MAX_CHARACTERS: Final = 1000  # of a query; people type less, and the databases' parsers have limits of their own
MAX_DEPTH: Final = 10  # of brackets in brackets: FTS5 has a parser of its own, with room for some thirty
TEXTS: Final = ("subject", "from", "to", "cc", "bcc", "body", "own", "attachment", "filename")
EXACTS: Final = ("account", "thread", "id", "message-id")
CHOICES: Final = {
    "has": ("attachment",),
    "is": ("bounce", "reply", "defective", "headers", "unindexed"),
}
MOMENTS: Final = ("before", "after")
SIZES: Final = ("larger", "smaller")
ALIASES: Final = {"rfc822msgid": "message-id", "mid": "message-id", "since": "after"}
FIELDS: Final = (*TEXTS, *EXACTS, *CHOICES, *MOMENTS, "date", *SIZES, *ALIASES)
# No database holds them; one character each, so that every place stays where it is.
_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")


def parse(text: str, today: date) -> tree.Node:
    """Read a query; QueryInvalid says what is wrong with it. today: in UTC, for `7d` and the like."""
    text = _UNFIT.sub("\ufffd", text)
    if len(text) > MAX_CHARACTERS:
        raise errors.QueryInvalid(f"longer than {MAX_CHARACTERS} characters", query=text, at=MAX_CHARACTERS)
    return _Reader(text, today).read()


class _Reader:
    """One reading of a query, token by token."""

    def __init__(self, text: str, today: date) -> None:
        self._text, self._today = text, today
        self._tokens = list(tokens(text, FIELDS))
        self._next = 0
        self._open: list[Token] = []

    def read(self) -> tree.Node:
        if not self._tokens:
            return tree.EVERYTHING
        node = self._any("")
        if self._kind() == ")":
            self._refuse("there is no ( for this )", self._tokens[self._next].at)
        return node

    # --- operators --------------------------------------------------------------------------------------------------

    def _kind(self) -> str:
        return self._tokens[self._next].kind if self._next < len(self._tokens) else ""

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _any(self, field: str) -> tree.Node:
        parts = [self._all(field)]
        while self._kind() == "OR":
            self._operator(self._take())
            parts.append(self._all(field))
        return tree.disjunction(parts)

    def _all(self, field: str) -> tree.Node:
        parts = [self._part(field)]
        while self._kind() not in {"", ")", "OR"}:
            if self._kind() == "AND":
                self._operator(self._take())
            parts.append(self._part(field))
        return tree.conjunction(parts)

    def _operator(self, token: Token) -> None:
        if self._kind() in {"", ")", "AND", "OR"}:
            self._refuse(f'{token.kind} needs something behind it; as a word it is "{token.kind.lower()}"', token.at)

    def _part(self, field: str) -> tree.Node:
        is_negated = False
        while self._kind() in {"-", "NOT"}:
            is_negated = not is_negated
            self._operator(self._take())
        if self._kind() in {"AND", "OR"}:
            token = self._take()
            self._refuse(f'{token.kind} needs something before it; as a word it is "{token.kind.lower()}"', token.at)
        token = self._take()
        node = self._word(token, field) if token.kind == "word" else self._group(token, field)
        return tree.negation(node) if is_negated else node

    def _group(self, token: Token, field: str) -> tree.Node:
        if token.kind == "group":
            field = ALIASES.get(token.field, token.field)
            token = self._take()
        if token.kind == ")":
            self._refuse("there is no ( for this )", token.at)
        if len(self._open) == MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} brackets in one another", token.at)
        if self._kind() == ")":
            self._refuse("there is nothing between ( and )", token.at)
        if not self._kind():
            self._refuse("a ( is never closed", token.at)
        self._open.append(token)
        node = self._any(field)
        if not self._kind():
            self._refuse("a ( is never closed", token.at)
        self._take()
        self._open.pop()
        return node

    # --- words ------------------------------------------------------------------------------------------------------

    def _word(self, token: Token, around: str) -> tree.Node:
        field = ALIASES.get(token.field, token.field) or around
        if field in {"", *TEXTS}:
            return self._text_leaf(token, field)
        readers: dict[str, Callable[[Token, str], tree.Node]] = {
            **dict.fromkeys(EXACTS, self._exact),
            **dict.fromkeys(CHOICES, self._choice),
            **dict.fromkeys((*MOMENTS, "date"), self._date),
            **dict.fromkeys(SIZES, self._size),
        }
        return readers[field](token, field)

    def _text_leaf(self, token: Token, field: str) -> tree.Node:
        words = values.words(token.value)
        if not words:
            self._refuse(f"there is no word in {token.value!r}", token.value_at)
        return tree.Words(words, field, is_prefix=token.value.endswith("*"))

    def _exact(self, token: Token, field: str) -> tree.Node:
        value = token.value.strip("<> ")
        if field == "account":
            value = value.lower()
        if not value:
            self._refuse(f"{field}: needs a value", token.at)
        # As notmuch has it, id: may be a Message-ID; a number is that of `messages.id`.
        if field == "id" and not (value.isascii() and value.isdigit()):
            field = "message-id"
        if field in {"id", "thread"} and not (value.isascii() and value.isdigit() and int(value) <= values.MOST_OCTETS):
            self._refuse(
                f"{field}:{value} is no number of a {'message' if field == 'id' else 'thread'}", token.value_at
            )
        return tree.Exact(field, value)

    def _choice(self, token: Token, field: str) -> tree.Node:
        value = token.value.lower()
        value = "attachment" if (field, value) == ("has", "attachments") else value
        if value not in CHOICES[field]:
            known = ", ".join(f"{field}:{one}" for one in CHOICES[field])
            verb = "is" if len(CHOICES[field]) == 1 else "are"
            self._refuse(f"{field}:{token.value} is not known; {known} {verb}", token.value_at)
        return tree.Exact(field, value)

    def _date(self, token: Token, field: str) -> tree.Node:
        found = values.span(token.value, self._today)
        if found is None or (field != "date" and ".." in token.value):
            how = f"{field}:2026-01-31" + (", date:2026-01..2026-03" if field == "date" else "")
            self._refuse(
                f"{field}:{token.value} is not a day like {how}, nor a month, a year, yesterday or 7d", token.value_at
            )
        since, until = found
        if field in MOMENTS:  # both are measured from where the day, month or year begins
            assert since is not None  # noqa: S101 -- only a span with dots has an open side
            return tree.Bound(field, since)
        bounds = [tree.Bound(name, one) for name, one in (("after", since), ("before", until)) if one is not None]
        return tree.conjunction(list[tree.Node](bounds))

    def _size(self, token: Token, field: str) -> tree.Node:
        octets = values.octets(token.value)
        if octets is None:
            self._refuse(f"{field}:{token.value} is not a size like {field}:500, 10k, 1.5M or 1G", token.value_at)
        return tree.Bound(field, octets)

    def _refuse(self, why: str, at: int) -> NoReturn:
        raise errors.QueryInvalid(why, query=self._text, at=at)
