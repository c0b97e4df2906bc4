"""Days, sizes and words as people write them in a query. Pure: today is given.

Days are UTC: 2026, 2026-01, 2026-01-31, a moment like 2026-01-31T10:00Z, today, yesterday, 7d (so long ago; w, m, y too), and the
periods this-week, last-week, this-month, last-month, this-year, last-year; a week begins on Monday. Sizes: 500, 10k, 1.5M, 1G.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

MOST_OCTETS: Final = 2**63 - 1  # what the databases count to
_WORDS: Final = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_AGO: Final = re.compile(r"(\d{1,5})([dwmy])")
_SIZE: Final = re.compile(r"(\d{1,19}(?:\.\d{1,6})?)\s?([kmg]?)(?:i?b)?", re.IGNORECASE)
_DAYS: Final = {"d": 1, "w": 7, "m": 30, "y": 365}
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class Period(NamedTuple):
    """From `since` until just before `until`."""

    since: datetime
    until: datetime


def words(text: str) -> tuple[str, ...]:
    """Give the words of a text, without what stands between them."""
    return tuple(_WORDS.findall(text))


def octets(text: str) -> int | None:
    """Read a size, K, M and G being powers of 1024; None if it is none."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return min(int(float(found[1]) * 1024 ** " kmg".index(found[2].lower() or " ")), MOST_OCTETS)


def period(text: str, today: date) -> Period | None:
    """Read a day, month, year, or so long ago, from its beginning to its end; None if it is none."""
    text = text.lower().replace(" ", "-")
    try:
        return _named(text, today) or _ago(text, today) or _written(text)
    except (OverflowError, ValueError):  # a thirteenth month, or a day that no calendar has
        return None


def _named(text: str, today: date) -> Period | None:
    if text in {"today", "yesterday"}:
        day = today - timedelta(days=text == "yesterday")
        return _days(day, day + timedelta(days=1))
    which, _, unit = text.partition("-")
    if which not in {"this", "last"} or unit not in {"week", "month", "year"}:
        return None
    if unit == "week":
        first = today - timedelta(days=today.weekday() + (7 if which == "last" else 0))
        return _days(first, first + timedelta(days=7))
    if unit == "year":
        return _written(str(today.year - (which == "last")))
    in_it = today if which == "this" else today.replace(day=1) - timedelta(days=1)
    return _written(f"{in_it:%Y-%m}")


def _ago(text: str, today: date) -> Period | None:
    found = _AGO.fullmatch(text)
    if found is None:
        return None
    day = today - timedelta(days=int(found[1]) * _DAYS[found[2]])
    return _days(day, day + timedelta(days=1))


def _written(text: str) -> Period | None:
    if "t" in text:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return Period(moment, moment)
    found = re.fullmatch(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", text, re.ASCII)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    since = datetime(year, month, day, tzinfo=UTC)
    if found[3]:
        return Period(since, _LAST if since.date() == date.max else since + timedelta(days=1))
    following = (year + month // 12, month % 12 + 1) if found[2] else (year + 1, 1)
    return Period(since, _LAST if following[0] > _LAST.year else datetime(*following, 1, tzinfo=UTC))


def _days(since: date, until: date) -> Period:
    return Period(*(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until)))


def span(text: str, today: date) -> tuple[datetime | None, datetime | None] | None:
    """Read a period, or two with `..` between them, of which one may be missing; give (since, until), None for no limit."""
    first, dots, last = text.partition("..")
    begins, ends = period(first, today), period(last if dots else first, today)
    if (first and begins is None) or (last and ends is None) or not (first or last):
        return None
    return (begins.since if begins else None), (ends.until if ends else None)
