"""Read what a person types into the search box: words and filters, and a clear line when it can't be read. Pure.

    invoice "last friday" begin* -draft from:bob to:anna subject:report has:attachment after:2026-01-31 before:2026-02 account:work

All must hold. A word with punctuation in it (anna@example.org) is the phrase of its parts. Before and after take a day, a
month or a year, UTC; `after:2026-01` begins on the first of January, `before:2026-02` ends with January.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from daemon import errors

MAX_CHARACTERS: Final = 1000  # of a query; people type less, and the databases' parsers have limits of their own
FIELDS: Final = ("subject", "from", "to")
FILTERS: Final = ("has", "before", "after", "account")

_PIECE: Final = re.compile(r'\s*(-?)(?:([A-Za-z]+):)?(?:"([^"]*)"|([^\s"]+))')
_WORDS: Final = re.compile(r"[\w\u0300-\u036f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Words that must stand one after another. field: subject, from, to, or "" for anywhere.  is_prefix: of the last word."""

    words: tuple[str, ...]
    field: str = ""
    is_prefix: bool = False
    is_negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What must hold of a message. before: not that moment itself.  attachments: None for no matter."""

    terms: tuple[Term, ...] = ()
    attachments: bool | None = None
    after: datetime | None = None
    before: datetime | None = None
    accounts: tuple[str, ...] = ()
    not_accounts: tuple[str, ...] = ()


def parse(text: str) -> Query:  # noqa: C901 -- one branch a filter
    """Read a query; InputInvalid says what is wrong with it."""
    if len(text) > MAX_CHARACTERS:
        raise errors.InputInvalid(f"query: longer than {MAX_CHARACTERS} characters")
    if text.count('"') % 2:
        raise errors.InputInvalid('query: a " is never closed')
    terms: list[Term] = []
    accounts: list[str] = []
    not_accounts: list[str] = []
    attachments: bool | None = None
    times: dict[str, datetime] = {}
    for minus, given, phrase, word in _PIECE.findall(text):
        name, value, is_negated = given.lower(), phrase or word, bool(minus)
        if not name and word.endswith(":") and word[:-1].lower() in {*FIELDS, *FILTERS}:
            raise errors.InputInvalid(f"query: {word} needs its word right behind it, without a space")
        if name in {"before", "after"}:
            if is_negated:
                raise errors.InputInvalid(
                    f"query: -{name}: can't be negated; use {'after' if name == 'before' else 'before'}:"
                )
            times[name] = _moment(name, value)
        elif name == "has":
            if value.lower() not in {"attachment", "attachments"}:
                raise errors.InputInvalid(f"query: has:{value} is not known; has:attachment is")
            attachments = not is_negated
        elif name == "account":
            (not_accounts if is_negated else accounts).append(value.lower())
        elif name and name not in FIELDS and not phrase:
            terms.append(_term(f"{given}:{word}", "", is_negated=is_negated))  # a word with a colon, like Re:hello
        else:
            terms.append(_term(value, name if name in FIELDS else "", is_negated=is_negated))
    return Query(
        terms=tuple(terms),
        attachments=attachments,
        after=times.get("after"),
        before=times.get("before"),
        accounts=tuple(accounts),
        not_accounts=tuple(not_accounts),
    )


def _term(value: str, field: str, *, is_negated: bool) -> Term:
    words = tuple(_WORDS.findall(value))
    if not words:
        raise errors.InputInvalid(f"query: there is no word in {value!r}")
    return Term(words=words, field=field, is_prefix=value.endswith("*"), is_negated=is_negated)


def _moment(name: str, value: str) -> datetime:
    for form in ("%Y-%m-%d", "%Y-%m", "%Y"):
        try:
            return datetime.strptime(value, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise errors.InputInvalid(f"query: {name}:{value} is not a day like {name}:2026-01-31, nor a month or a year")
