"""The Date field as the mailers of fifty years wrote it, into UTC (RFC 5322 sections 3.3 and 4.3).

What keeps to the standard, its obsolete forms included, is read as it says. Of anything else the day, the time and the zone are
picked out wherever they stand: asctime, ISO 8601, local month names, numbers alone, years that count from 1900. That is noted.
Never raises; linear in a field that is cut to MAX_DATE_OCTETS. Pure.
"""

# ruff: noqa: RUF001 -- months in other scripts
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Final

from daemon.mail import headers
from daemon.mail.defects import Defect, Notes

MAX_DATE_OCTETS: Final = 200  # of the field; what is longer is no date

_ENGLISH: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# What nearly all programs write.
_PLAIN: Final = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(\d\d?) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([1-9]\d{3})"
    r" (\d\d):(\d\d):(\d\d) (?:([+-])(\d\d)([0-5]\d)|GMT|UTC)(?: \([A-Za-z]{1,5}\))?",
    re.ASCII,
)
_MONTHS: Final = {name.capitalize(): number for number, name in enumerate(_ENGLISH, start=1)}
# All that the standard allows, but for comments, which are taken out before.
_STANDARD: Final = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)\s*,\s*)?\d\d?\s+(?:{'|'.join(_ENGLISH)})\s+\d{{2,4}}\s+\d\d\s*:\s*\d\d(?:\s*:\s*\d\d)?\s+"
    r"(?:[+-]\d{4}|utc?|gmt|[ecmp][sd]t|z)",
    re.ASCII | re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"\([^()]*\)")
_TIME: Final = re.compile(
    r"(?<![\d:.])(\d\d?)\s*([:.])\s*(\d\d?)(?:\s*\2\s*(\d\d?)(?:[.,]\d{1,9})?)?(?![\d:]|\.\d)(?:\s*([ap])\.?m\b\.?)?",
    re.IGNORECASE,
)
_OFFSET: Final = re.compile(r"(?<![\d/.-])([+\u2212-])\s?(\d\d?)(?::?(\d\d))?(?!\d|[/.-]\d)")
_WORD: Final = re.compile(r"[^\W\d_]+")
_NUMBER: Final = re.compile(r"\d+")
_NUMERIC: Final = re.compile(r"(?<!\d)(\d{1,4})\s?([-/.,])\s?(\d\d?)\s?\2\s?(\d{1,5})(?!\d)")
_EPOCH: Final = re.compile(r"\d{9,10}", re.ASCII)  # seconds since 1970, from 1973 to 2286
_CJK_UNITS: Final = str.maketrans({"年": "/", "月": "/", "日": " ", "년": "/", "월": "/", "일": " ", "時": ":", "时": ":", "分": ":", "秒": " "})  # fmt: skip

# How the months begin elsewhere, without diacritics, in the order of the year. The longest beginning wins: Finnish
# `marraskuu` is no March. Where two languages disagree (listopad), the one with more mail.
_ELSEWHERE: Final = (
    "ene gen sty led oca sij tam янв січ ιαν",
    "fev lut uno sub velj hel фев лют φεβ",
    "maer mrz mrt bre ozu maal мар бер μαρ",
    "avr abr kwi dub nis tra huh апр кві απρ",
    "mai mag mei maj kve svi tou май мая тра μαι",
    "giu juin cze cer cvn haz kes июн чер ιουν",
    "lug juil lip cervenec cvc tem hei июл лип ιουλ",
    "ago aou sie srp kol agu elo авг сер αυγ",
    "set wrz zar ruj eyl syy сен вер σεπ",
    "ott out okt paz rij eki lok окт жов οκτ",
    "lis stu kas marr ноя лис νοε",
    "dic dez des gru pro ara jou дек гру δεκ",
)


def _plain_letters(word: str) -> str:
    """Take case and diacritics away."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


_MONTH_BEGINS: Final = {
    _plain_letters(begin): number
    for names in (_ELSEWHERE, _ENGLISH)
    for number, begins in enumerate(names, start=1)
    for begin in begins.split()
}
_WEEKDAYS: Final = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
# Minutes east of Greenwich. What is used in two places is where more mail comes from: CST in Chicago, IST in India.
_ZONES: Final = {
    **dict.fromkeys(("UT", "UTC", "GMT", "Z", "WET", "UCT"), 0),
    **dict.fromkeys(("BST", "CET", "MET", "MEZ", "WEST", "WAT"), 60),
    **dict.fromkeys(("CEST", "MEST", "MESZ", "EET", "SAST", "CAT", "OEZ"), 120),
    **dict.fromkeys(("EEST", "MSK", "EAT", "OESZ", "TRT", "IDT"), 180),
    **dict.fromkeys(("MSD", "GST"), 240),
    "PKT": 300,
    "IST": 330,
    "ICT": 420,
    "WIB": 420,
    **dict.fromkeys(("HKT", "SGT", "PHT", "MYT", "AWST"), 480),
    **dict.fromkeys(("JST", "KST"), 540),
    "ACST": 570,
    "AEST": 600,
    "ACDT": 630,
    "AEDT": 660,
    "NZST": 720,
    "NZDT": 780,
    "NST": -210,
    "NDT": -150,
    **dict.fromkeys(("ADT", "BRT", "ART", "CLST"), -180),
    **dict.fromkeys(("AST", "EDT", "CLT"), -240),
    **dict.fromkeys(("EST", "CDT", "COT", "PET"), -300),
    **dict.fromkeys(("CST", "MDT"), -360),
    **dict.fromkeys(("MST", "PDT"), -420),
    **dict.fromkeys(("PST", "AKDT"), -480),
    "AKST": -540,
    "HST": -600,
}
MAX_OFFSET_HOURS: Final = 14  # Kiribati; beyond are mailers that were never set up, and their zone says nothing


def read(value: bytes, notes: Notes) -> datetime | None:
    """Return the time in UTC; None, with a note, when it can't be read. A zone that is missing or unknown is UTC, with a note."""
    text = headers.raw_text(value[:MAX_DATE_OCTETS], notes)
    plain = _PLAIN.fullmatch(text)
    try:
        if plain is not None:
            day, month, year, hours, minutes, seconds, sign, zone_hours, zone_minutes = plain.groups()
            if hours != "24" and (zone_hours or "") <= "14":
                local = datetime(
                    int(year), _MONTHS[month], int(day), int(hours), int(minutes), min(int(seconds), 59), tzinfo=UTC
                )
                if sign is None:
                    return local
                east = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
                return local - east if sign == "+" else local + east
        return _Loose(text, notes).moment()
    except (ValueError, OverflowError):  # what is no day of the calendar, or not between the years 1 and 9999
        notes.add(Defect.DATE_UNREADABLE)
        return None


class _Loose:
    """Reads a date that may be written in any way; ValueError when it is none."""

    def __init__(self, text: str, notes: Notes) -> None:
        self._notes = notes
        self._behind_time: int | None = None  # where a numeric zone may stand
        self._comments: list[str] = []
        while (stripped := _COMMENT.sub(self._comment, text)) != text:
            text = stripped
        self._text = text.strip()
        self._is_standard = _STANDARD.fullmatch(self._text) is not None

    def _comment(self, found: re.Match[str]) -> str:
        self._comments.append(found[0].strip("() ").upper())
        return " "

    def moment(self) -> datetime:
        """Return the time in UTC."""
        if _EPOCH.fullmatch(self._text):
            self._notes.add(Defect.DATE_REPAIRED)
            return datetime.fromtimestamp(int(self._text), tz=UTC)
        hours, minutes, seconds = self._time()
        minutes_east = self._zone()
        year, month, day = self._date()
        days = 0
        if (hours, minutes, seconds) == (24, 0, 0):  # the end of the day
            hours, days = 0, 1
        local = datetime(year, month, day, hours, minutes, min(seconds, 59), tzinfo=UTC)  # 60 is a leap second
        if not self._is_standard or days:
            self._notes.add(Defect.DATE_REPAIRED)
        if minutes_east is None:
            self._notes.add(Defect.DATE_ZONE_GUESSED)
        return local + timedelta(days=days) - timedelta(minutes=minutes_east or 0)

    def _cut(self, found: re.Match[str]) -> None:
        """Take away what has been read."""
        self._text = f"{self._text[: found.start()]} {self._text[found.end() :]}"

    def _time(self) -> tuple[int, int, int]:
        text = self._text = self._text.translate(_CJK_UNITS)
        text = self._text = re.sub(r"(?<=\d)[Tt](?=\d\d:)", " ", text)
        times = list(_TIME.finditer(text))
        if not times:
            return 0, 0, 0
        found = next((one for one in times if one[2] == ":"), times[-1])  # with dots it may be a day: 23.11.26 12.00
        hours, half = int(found[1]), (found[5] or "").lower()
        if half and 1 <= hours <= 12:
            hours = hours % 12 + (12 if half == "p" else 0)
        self._behind_time = found.start() + 1
        self._cut(found)
        return hours, int(found[3]), int(found[4] or 0)

    def _zone(self) -> int | None:
        """Give the minutes east of Greenwich; None when nothing says so."""
        offset = None if self._behind_time is None else _OFFSET.search(self._text, self._behind_time)
        if offset is not None:
            self._cut(offset)
            hours, minutes = int(offset[2]), int(offset[3] or 0)
            if hours > MAX_OFFSET_HOURS or minutes > 59:
                return None
            return (hours * 60 + minutes) * (1 if offset[1] == "+" else -1)
        words = [word.upper() for word in _WORD.findall(self._text)]
        for word in (*words, *self._comments):
            if word in _ZONES:
                return _ZONES[word]
        return None

    def _date(self) -> tuple[int, int, int]:
        words = [_plain_letters(word) for word in _WORD.findall(self._text)]
        months = [month for word in words if (month := _month(word))]
        if months:
            # The last one: `mar` may be a Tuesday before it.
            day, year = self._day_and_year()
            return year, months[-1], day
        weekday = next((_WEEKDAYS[word[:3]] for word in words if word[:3] in _WEEKDAYS), None)
        found = _NUMERIC.search(self._text)
        if found is None:
            raise ValueError("no date")
        first, second, third = found[1], int(found[3]), found[4]
        if len(first) == 4:
            return int(first), *((int(third), second) if second > 12 else (second, int(third)))
        day_first = int(first), second
        # Americans write slashes, and the month first; a weekday that is right for one order only decides it.
        orders = [day_first, day_first[::-1]] if found[2] != "/" else [day_first[::-1], day_first]
        year = _year(third)
        possible = [(day, month) for day, month in orders if _exists(year, month, day)]
        if not possible:
            raise ValueError("no such day")
        fitting = [one for one in possible if datetime(year, one[1], one[0], tzinfo=UTC).weekday() == weekday]
        day, month = (fitting or possible)[0]
        return year, month, day

    def _day_and_year(self) -> tuple[int, int]:
        numbers = _NUMBER.findall(self._text)
        long = [number for number in numbers if len(number) > 2 or int(number) > 31]
        short = [number for number in numbers if number not in long]
        if not short or len(short) + len(long) < 2:
            raise ValueError("no day, or no year")
        return int(short[0]), _year(long[0] if long else short[-1])


def _exists(year: int, month: int, day: int) -> bool:
    try:
        datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return False
    return True


def _year(digits: str) -> int:
    """Read a year: RFC 5322 section 4.3, and 19100, which is what C's `19%d` made of 2000."""
    year = int(digits)
    if len(digits) <= 2:
        return year + (2000 if year < 50 else 1900)
    if len(digits) == 3:
        return year + 1900
    if 19_100 <= year <= 19_199:
        return year - 17_100
    return year


def _month(word: str) -> int:
    """Give the month that a word begins like; 0 for none."""
    return next(
        (_MONTH_BEGINS[word[:size]] for size in range(min(len(word), 9), 2, -1) if word[:size] in _MONTH_BEGINS), 0
    )
