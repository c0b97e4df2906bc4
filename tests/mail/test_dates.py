"""The Date fields of fifty years."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail import dates
from daemon.mail.defects import Notes

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AS_IT_SAYS: tuple[str, ...] = ()
REPAIRED = ("date_repaired",)
GUESSED = ("date_zone_guessed",)
BOTH = (*REPAIRED, *GUESSED)


def read(text: str) -> tuple[datetime | None, tuple[str, ...]]:
    notes = Notes()
    return dates.read(text.encode(), notes), notes.names()


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 23 Nov 2026 13:00:00 +0100",
        "Mon, 23 Nov 2026 13:00:00 +0100 (CET)",
        "23 Nov 2026 12:00 GMT",
        "Mon, 23 Nov 2026 12:00:00 -0000",
        "Mon, 23 Nov 2026 07:00:00 -0500 (Eastern (Standard) Time)",
        "Mon , 23  nov 26 07:00 EST",  # RFC 822, and RFC 5322 section 4.3
        "23 Nov 126 04:00:00 PST",
        "Mon, 23 Nov 2026 12 (noon) : 00 : 00 Z",
    ],
)
def test_what_the_standard_allows_is_read_as_it_says(text: str) -> None:
    assert (NOON, AS_IT_SAYS) == read(text)


@pytest.mark.parametrize(
    ("text", "defects"),
    [
        ("Mon, 23 Nov 2026 12:00:00", BOTH),
        ("Mon, 23 Nov 2026 12:00:00 XYZ", BOTH),
        ("Mon, 23 Nov 2026 12:00:00 +9900", GUESSED),  # no place on earth
        ("Mon Nov 23 12:00:00 2026", BOTH),  # asctime
        ("Mon Nov 23 13:00:00 CET 2026", REPAIRED),  # date(1)
        ("Mon Nov 23 13:00:00 +0100 2026", REPAIRED),
        ("Monday, November 23, 2026 12:00 PM GMT", REPAIRED),
        ("Mon, Nov 23 2026 12:00:00 GMT", REPAIRED),
        ("Monday, 23-Nov-26 12:00:00 GMT", REPAIRED),  # RFC 850
        ("2026-11-23T12:00:00Z", REPAIRED),
        ("2026-11-23T13:00:00.123456+01:00", REPAIRED),
        ("2026-11-23 07:00:00 -0500", REPAIRED),
        ("2026/11/23 12:00:00 UTC", REPAIRED),
        ("2026-23-11 12:00:00 UTC", REPAIRED),  # day and month swapped
        ("23.11.2026 13:00:00 MEZ", REPAIRED),
        ("23.11.26 12.00", BOTH),
        ("11/23/2026 12:00:00 GMT", REPAIRED),
        ("23/11/2026 12:00:00 GMT", REPAIRED),
        ("11/23/26 12:00 pm UTC", REPAIRED),
        ("1795435200", REPAIRED),  # seconds since 1970
        ("Mon, 23 Nov 19126 12:00:00 +0000", REPAIRED),  # the year 2000 problem
        ("Mon, 23 Nov 2026 12:00:00 GMT+0000", REPAIRED),
        ("Mon, 23 Nov 2026 13:00:00 UTC+1", REPAIRED),
        ("Mon, 23 Nov 2026 13:00:00 +01:00", REPAIRED),
        ("Mon, 23 Nov 2026 13:00:00 +100", REPAIRED),
        ("Mon, 23 Nov 2026 13:00:00 (CET)", REPAIRED),
        ("Mon, 23 Nov 2026 12:00:00 +0000 GMT Standard Time", REPAIRED),
        ("Mon, 23 Nov 2026 12.00.00 +0000", REPAIRED),
        ("Mon 23 Nov 2026 12:0:00 +0000, Mon, 23 Nov 2026 12:00:00 +0000", REPAIRED),
        ('"Mon, 23 Nov 2026 17:30:00 IST"', REPAIRED),
        ("23 Nov 2026 8PM JST 21:00:00", REPAIRED),
        ("Mo, 23 Nov 2026 13:00:00 +0100", REPAIRED),
    ],
)
def test_what_mailers_made_of_it_is_read_and_named(text: str, defects: tuple[str, ...]) -> None:
    assert (NOON, defects) == read(text)


@pytest.mark.parametrize(
    ("text", "month"),
    [
        ("lun. 23 janv. 2026 12:00:00 +0000", 1),
        ("Mo, 23 Jänner 2026 12:00:00 +0000", 1),
        ("Mo, 23 Mär 2026 12:00:00 +0000", 3),
        ("Di, 23 Okt 2026 12:00:00 +0000", 10),
        ("mar., 23 dic 2026 12:00:00 +0000", 12),  # a Tuesday, no March
        ("mer, 23 août 2026 12:00:00 +0000", 8),
        ("gio, 23 lug 2026 12:00:00 +0000", 7),
        ("qua, 23 out 2026 12:00:00 +0000", 10),
        ("23 marraskuuta 2026 12:00:00 +0000", 11),
        ("pon, 23 paź 2026 12:00:00 +0000", 10),
        ("Пн, 23 мая 2026 12:00:00 +0000", 5),
        ("Пт, 23 Сентябрь 2026 12:00:00 +0000", 9),
        ("23 Şub 2026 12:00:00 +0000", 2),
        ("Δευ, 23 Ιουλ 2026 12:00:00 +0000", 7),
        ("2026年11月23日 12時00分00秒 UTC", 11),
        ("23 kwietnia 2026 12:00 +0000", 4),
    ],
)
def test_months_are_known_by_their_names_elsewhere(text: str, month: int) -> None:
    assert (datetime(2026, month, 23, 12, tzinfo=UTC), REPAIRED) == read(text)


@pytest.mark.parametrize(
    ("text", "expected", "defects"),
    [
        ("Mon, 25 Dec 95 12:00:00 GMT", datetime(1995, 12, 25, 12, tzinfo=UTC), AS_IT_SAYS),
        ("Sat, 1 Jan 19100 12:00:00 GMT", datetime(2000, 1, 1, 12, tzinfo=UTC), REPAIRED),
        ("Sat, 01 Jan 100 12:00:00 GMT", datetime(2000, 1, 1, 12, tzinfo=UTC), AS_IT_SAYS),
        ("Thu, 30 Jun 2016 23:59:60 +0000", datetime(2016, 6, 30, 23, 59, 59, tzinfo=UTC), AS_IT_SAYS),  # leap second
        ("Mon, 30 Nov 2026 24:00:00 +0000", datetime(2026, 12, 1, tzinfo=UTC), REPAIRED),
        ("03/04/2026 12:00 GMT", datetime(2026, 3, 4, 12, tzinfo=UTC), REPAIRED),
        ("Fri 03/04/2026 12:00 GMT", datetime(2026, 4, 3, 12, tzinfo=UTC), REPAIRED),  # which was a Friday
        ("03.04.2026 12:00 GMT", datetime(2026, 4, 3, 12, tzinfo=UTC), REPAIRED),
        ("23 Nov 2026", datetime(2026, 11, 23, tzinfo=UTC), BOTH),
        ("Mon, 23 Nov 2026 12:15 AM +0000", datetime(2026, 11, 23, 0, 15, tzinfo=UTC), REPAIRED),
        ("16-Nov-2026 09:05:02.1 +0530", datetime(2026, 11, 16, 3, 35, 2, tzinfo=UTC), REPAIRED),
    ],
)
def test_years_and_clocks_of_their_own(text: str, expected: datetime, defects: tuple[str, ...]) -> None:
    assert (expected, defects) == read(text)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"12:00",
        b"Mon, 23 Nov 2026 25:61:00 +0000",
        b"Mon, 23 Nov 2026 24:01:00 +0000",
        b"Mon, 31 Feb 2026 12:00:00 +0000",
        b"31.02.2026 12:00",
        b"Mon, 23 Nov 99999 12:00:00 +0000",
        b"Fri, 31 Dec 9999 23:59:59 -1200",
        b",",
        b"\xff\xfe 23 Nov",
        b"0 0 0 0 0",
        b"99999999999999999999",
    ],
)
def test_dates_that_are_none_are_named(value: bytes) -> None:
    notes = Notes()
    assert None is dates.read(value, notes)
    assert "date_unreadable" in notes.names()


PIECES = st.sampled_from(
    ["Mon", "Nov", "мая", "23", "2026", "19126", "0", "12:00", "24:00:00", "12.00", "+", "-", "+0100", "Z", "CET", "pm", "/", ".", "-", ",", "(", ")", " ", "T", "年", "1795435200"]
)  # fmt: skip


@given(text=st.lists(PIECES | st.text(max_size=3), max_size=15).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_field_is_a_time_or_none(text: str) -> None:
    found, defects = read(text)
    assert (found is None) == ("date_unreadable" in defects)
    assert None is found or UTC is found.tzinfo
