"""A maildrop is doubted when nearly nothing of it is left under its names, and much is there under others."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail.maildrop import Entry, Known, LedgerStatus, Listing
from daemon.pop3 import identity
from daemon.pop3.identity import Verdict, assess, digest, matches, sample

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HEALTHY, FIRST_CONTACT, RESET = Verdict.HEALTHY, Verdict.FIRST_CONTACT, Verdict.RESET


def listing(*messages: tuple[str | None, int | None]) -> Listing:
    entries = tuple(Entry(number=n, uidl=uidl, octets=octets) for n, (uidl, octets) in enumerate(messages, start=1))
    return Listing(count=len(entries), octets=0, entries=entries, has_uidl=True)


def row(
    key: int, uidl: str, octets: int | None = 100, status: str = LedgerStatus.ARCHIVED, message: int | None = -1
) -> Known:
    return Known(key, uidl, octets, status, NOW, key if message == -1 else message, None)


def old(count: int, **changes: object) -> list[Known]:
    return [row(n, f"old{n}", 100 + n)._replace(**changes) for n in range(count)]  # type: ignore[arg-type]


def under(prefix: str, *numbers: int) -> list[tuple[str | None, int | None]]:
    return [(f"{prefix}{n}", 100 + n) for n in numbers]


@pytest.mark.parametrize(
    ("case", "messages", "known", "expected"),
    [
        ("no rows", under("new", *range(50)), [], FIRST_CONTACT),
        ("all as it was", under("old", *range(50)), old(50), HEALTHY),
        ("all renamed", under("new", *range(50)), old(50), RESET),
        ("ten, renamed", under("new", *range(10)), old(10), RESET),
        ("nine, renamed", under("new", *range(9)), old(9), HEALTHY),
        ("a tenth is left", [*under("old", *range(5)), *under("new", *range(5, 50))], old(50), HEALTHY),
        ("less than a tenth is left", [*under("old", *range(4)), *under("new", *range(4, 50))], old(50), RESET),
        ("half of them, renamed", under("new", *range(25)), old(50), RESET),
        ("emptied, and some new mail", under("new", *range(24)), old(50), HEALTHY),
        ("emptied", [], old(50), HEALTHY),
        ("much new mail behind the old", [*under("old", *range(50)), *under("new", *range(500))], old(50), HEALTHY),
        ("deleted rows are not expected", under("new", *range(50)), old(50, status=LedgerStatus.DELETED), HEALTHY),
        ("gone rows are not expected", under("new", *range(50)), old(50, status=LedgerStatus.GONE), HEALTHY),
        ("skipped rows are expected", under("new", *range(50)), old(50, status=LedgerStatus.SKIPPED), RESET),
        ("rows that are only seen are expected", under("new", *range(50)), old(50, status=LedgerStatus.SEEN), RESET),
        ("the names for other sizes", [(f"old{n}", 999) for n in range(50)], old(50), RESET),
        ("sizes not told", [(f"old{n}", None) for n in range(50)], old(50), HEALTHY),
        ("sizes not known", under("old", *range(50)), old(50, octets=None), HEALTHY),
        ("no names any more", [(None, 100 + n) for n in range(50)], old(50), RESET),
        (
            "never had names",
            [(None, 100 + n) for n in range(50)],
            [one._replace(uidl=f"sha256:{one.id}") for one in old(50)],
            HEALTHY,
        ),
        (
            "names for the first time",
            under("new", *range(50)),
            [one._replace(uidl=f"sha256:{one.id}") for one in old(50)],
            RESET,
        ),
    ],
)
def test_verdicts(
    case: str, messages: list[tuple[str | None, int | None]], known: list[Known], expected: Verdict
) -> None:
    assert expected == assess(listing(*messages), known).verdict, case


@settings(max_examples=100, deadline=None)
@given(
    kept=st.sets(st.integers(0, 59), min_size=31),
    new=st.integers(0, 200),
    sizes=st.sampled_from([None, 7]),
    rows=st.permutations(range(60)),
)
def test_a_maildrop_with_most_of_its_messages_is_never_doubted(
    kept: set[int], new: int, sizes: int | None, rows: list[int]
) -> None:
    messages = [(f"old{n}", sizes) for n in kept] + [(f"new{n}", sizes) for n in range(new)]
    found = assess(listing(*messages), [row(n, f"old{n}", 7) for n in rows])
    assert HEALTHY == found.verdict
    assert (60, 60 - len(kept), new) == (found.expected, len(found.missing), len(found.unknown))


def test_a_sample_is_spread_over_messages_as_large_as_missing_ones() -> None:
    new = [(f"extra{n}", 100 + n) for n in range(100)]
    found = assess(listing(*under("new", *range(100)), *new), old(100))
    chosen = [entry.number for entry in sample(found)]
    assert identity.SAMPLE_MOST == len(chosen)
    assert list(range(1, 101, 5)) == chosen, "new mail stands behind the old, of every size one row is missing"
    assert chosen == [entry.number for entry in sample(found)]


def test_nothing_is_sampled_that_can_not_be_compared() -> None:
    found = assess(listing(*under("new", *range(30))), old(30, message=None))
    assert (RESET, ()) == (found.verdict, sample(found))
    found = assess(listing(*[(f"new{n}", None) for n in range(30)]), old(30, octets=None))
    assert (RESET, ()) == (found.verdict, sample(found))


def test_only_what_is_without_doubt_is_matched() -> None:
    known = [row(1, "a"), row(2, "b"), row(3, "c", message=3), row(4, "d", message=3), row(5, "e"), row(6, "f")]
    entries = [Entry(number=n, uidl=f"new{n}", octets=100) for n in range(8)]
    shown = list(zip(entries, ["one", "two", "three", "twin", "twin", "five", "other", "six"], strict=True))
    shown[7] = (Entry(number=7, uidl="new7", octets=101), "six")
    archived = list(zip(known, ["one", "two", "three", "three", "two", "six"], strict=True))
    assert {1: 0, 3: 2} == {key: entry.number for key, entry in matches(shown, archived).items()}
    assert {} == matches(shown[3:5], [(row(9, "x"), "twin")]), "two messages, one row"


HEADER = b"Received: by mx.example.net; Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nSubject: x\r\n"


@pytest.mark.parametrize(
    "same",
    [
        HEADER,
        HEADER + b"\r\n",
        HEADER + b"\r\n\r\nHello\r\n",
        HEADER.replace(b"\r\n", b"\n") + b"\nHello",
        b"X-UIDL: 7\r\n" + HEADER,
        HEADER + b"Status: RO\r\nX-Mozilla-Status2: 00\r\n\t11\r\n\r\nHello",
    ],
)
def test_a_header_section_is_the_same_however_it_is_shown(same: bytes) -> None:
    assert digest(HEADER + b"\r\n") == digest(same)
    assert digest(HEADER) is not None


def test_other_header_sections_are_others_and_vague_or_endless_ones_are_not_compared() -> None:
    assert digest(HEADER) != digest(HEADER + b"Subject: y\r\n")
    assert digest(HEADER) != digest(HEADER + b" Status: folded\r\n")
    assert digest(HEADER) is not None
    assert digest(b"Subject: nightly\r\n\r\nMessage-ID: in the body\r\n") is None
    assert digest(b"") is None
    assert digest(HEADER + b"X-Long: " + b"x" * identity.HEADER_OCTETS + b"\r\n\r\n") is None
