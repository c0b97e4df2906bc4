"""In doubt a message is fetched, and never deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail.account import DeletePolicy
from daemon.mail.maildrop import Entry, Known, LedgerStatus, Listing
from daemon.pop3.plan import Plan, Policy, plan

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER, AFTER_FETCH = DeletePolicy(kind="never"), DeletePolicy(kind="after_fetch")
A_WEEK = DeletePolicy(kind="age", age=timedelta(days=7))


def listing(*messages: tuple[str | None, int | None]) -> Listing:
    entries = tuple(Entry(number=n, uidl=uidl, octets=octets) for n, (uidl, octets) in enumerate(messages, start=1))
    return Listing(count=len(entries), octets=0, entries=entries, has_uidl=True)


def row(
    identifier: int,
    uidl: str,
    octets: int | None = 10,
    status: str = "archived",
    *,
    message: int | None = 1,
    days: float = 0,
) -> Known:
    return Known(identifier, uidl, octets, status, NOW - timedelta(days=days), message, None)


def numbers(made: Plan) -> dict[str, list[int]]:
    return {
        "fetch": [entry.number for entry in made.fetch],
        "headers": [entry.number for entry, _why in made.headers],
        "delete": [entry.number for entry, _known in made.delete],
        "skip": [entry.number for entry, _why in made.skip],
        "gone": [known.id for known in made.gone],
        "returned": [known.id for known in made.returned],
    }


def decided(
    listed: Listing, known: list[Known], delete: DeletePolicy = AFTER_FETCH, **limits: Any
) -> dict[str, list[int]]:
    return {k: v for k, v in numbers(plan(listed, known, Policy(delete=delete, **limits), NOW)).items() if v}


@pytest.mark.parametrize(
    ("case", "listed", "known", "expected"),
    [
        ("new", [("a", 10)], [], {"fetch": [1]}),
        ("known", [("a", 10)], [row(1, "a")], {"delete": [1]}),
        ("size not listed", [("a", None)], [row(1, "a")], {"delete": [1]}),
        ("size not in the ledger", [("a", 10)], [row(1, "a", None)], {"delete": [1]}),
        ("UIDL used again", [("a", 11)], [row(1, "a")], {"fetch": [1]}),
        ("refused earlier", [("a", 10)], [row(1, "a", status="refused", message=None)], {"fetch": [1]}),
        ("skipped earlier", [("a", 10)], [row(1, "a", status="skipped", message=None)], {"fetch": [1]}),
        ("pruned from the archive: not fetched, not deleted", [("a", 10)], [row(1, "a", message=None)], {}),
        ("seen: not fetched, not deleted", [("a", 10)], [row(1, "a", status="seen", message=None)], {}),
        ("seen, its size was not told", [("a", 10)], [row(1, "a", None, "seen", message=None)], {}),
        ("seen, the UIDL used again", [("a", 11)], [row(1, "a", status="seen", message=None)], {"fetch": [1]}),
        ("seen, and gone", [], [row(1, "a", status="seen", message=None)], {"gone": [1]}),
        (
            "its header section is archived, and it fits now",
            [("a", 10)],
            [row(1, "a", status="headers")],
            {"fetch": [1]},
        ),
        ("skipped, but another message was archived", [("a", 10)], [row(1, "a", status="skipped")], {"fetch": [1]}),
        ("refused, but another message was archived", [("a", 10)], [row(1, "a", status="refused")], {"fetch": [1]}),
        ("gone", [], [row(1, "a"), row(2, "b", status="skipped"), row(3, "c", status="deleted")], {"gone": [1, 2]}),
        ("back again", [("a", 10)], [row(1, "a", status="gone")], {"delete": [1], "returned": [1]}),
        ("back again, was never fetched", [("a", 10)], [row(1, "a", status="gone", message=None)], {"fetch": [1]}),
        ("deleted, and here still, or another one", [("a", 10)], [row(1, "a", status="deleted")], {"fetch": [1]}),
        ("deleted, and maybe another", [("a", None)], [row(1, "a", status="deleted")], {"fetch": [1]}),
        ("deleted, and another", [("a", 11)], [row(1, "a", status="deleted")], {"fetch": [1]}),
        ("no name", [(None, 10)], [row(1, "a")], {"fetch": [1]}),
        ("twins, new", [("a", 10), ("a", 20)], [], {"fetch": [1, 2]}),
        ("twins, known", [("a", 20), ("a", 10)], [row(1, "a", 10), row(2, "a", 20)], {}),
        ("twins, one new", [("a", 10), ("a", 20)], [row(1, "a", 10)], {"fetch": [2]}),
        ("twins of one size, one new", [("a", 10), ("a", 10)], [row(1, "a", 10)], {"fetch": [2]}),
        ("twins, one gone", [("a", 20)], [row(1, "a", 10), row(2, "a", 20)], {"gone": [1]}),
        ("twins, one sizeless", [("a", None), ("a", 10)], [row(1, "a", 10), row(2, "a", 20)], {}),
        ("twins, one sizeless row", [("a", 20), ("a", 10)], [row(1, "a", None), row(2, "a", 10)], {}),
    ],
)
def test_decisions(
    case: str, listed: list[tuple[str | None, int | None]], known: list[Known], expected: dict[str, list[int]]
) -> None:
    assert expected == decided(listing(*listed), known), case


def test_nothing_is_deleted_when_the_policy_says_never() -> None:
    assert {} == decided(listing(("a", 10)), [row(1, "a", days=999)], NEVER)


@pytest.mark.parametrize(("days", "expected"), [(6.99, {}), (7, {"delete": [1]}), (8, {"delete": [1]})])
def test_age_counts_from_the_first_listing(days: float, expected: dict[str, list[int]]) -> None:
    assert expected == decided(listing(("a", 10)), [row(1, "a", days=days)], A_WEEK)


def test_large_messages_stay_with_their_reason() -> None:
    made = plan(listing(("a", 10), ("b", 11), ("c", None)), [], Policy(delete=NEVER, max_message_octets=10), NOW)
    assert {"fetch": [1, 3], "skip": [2]} == {name: found for name, found in numbers(made).items() if found}
    assert "11 octets, and MAX_MESSAGE_OCTETS is 10" == made.skip[0][1]


def test_the_oldest_are_fetched_first_up_to_the_limit() -> None:
    assert {"fetch": [1, 2]} == decided(listing(("c", 1), (None, 1), ("a", 1)), [], max_messages=2)


def test_twenty_thousand_twins_are_no_burden() -> None:
    listed = listing(*[("same", n % 7) for n in range(20_000)])
    rows = [row(n, "same", n % 5) for n in range(20_000)]
    made = plan(listed, rows, Policy(delete=AFTER_FETCH), NOW)
    assert 20_000 == len(made.fetch) + made.known
    assert () == made.delete


@pytest.mark.parametrize(
    ("case", "listed", "known", "limits", "expected"),
    [
        ("too large", [("a", 11), ("b", 9)], [], {}, {"fetch": [2], "headers": [1]}),
        ("too large, and nameless", [(None, 11)], [], {}, {"skip": [1]}),
        ("header section archived", [("a", 11)], [row(1, "a", 11, "headers")], {}, {}),
        ("header section archived, size not listed", [("a", None)], [row(1, "a", 11, "headers")], {}, {}),
        ("header section pruned", [("a", 11)], [row(1, "a", 11, "headers", message=None)], {}, {}),
        ("header section archived, limit raised", [("a", 11)], [row(1, "a", 11, "headers")], {"max_message_octets": 11}, {"fetch": [1]}),
        ("header section archived, no limit", [("a", 11)], [row(1, "a", 11, "headers")], {"max_message_octets": None}, {"fetch": [1]}),
        ("header section archived, now skipping", [("a", 11)], [row(1, "a", 11, "headers")], {"oversize": "skip"}, {}),
        ("UIDL used again for a large one", [("a", 12)], [row(1, "a", 11, "headers")], {}, {"headers": [1]}),
        ("skipped earlier", [("a", 11)], [row(1, "a", 11, "skipped", message=None)], {}, {"headers": [1]}),
        ("skipped earlier, limit raised", [("a", 11)], [row(1, "a", 11, "skipped", message=None)], {"max_message_octets": 11}, {"fetch": [1]}),
    ],
)  # fmt: skip
def test_what_becomes_of_large_messages_by_their_header_sections(
    case: str,
    listed: list[tuple[str | None, int | None]],
    known: list[Known],
    limits: dict[str, Any],
    expected: dict[str, list[int]],
) -> None:
    large: dict[str, Any] = {"max_message_octets": 10, "oversize": "headers"} | limits
    assert expected == decided(listing(*listed), known, AFTER_FETCH, **large), case


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (10, [1, 2]), (19, [1, 2]), (20, [1, 2, 3]), (1000, [1, 2, 3, 4])]
)
def test_the_message_that_goes_beyond_the_octets_of_a_visit_is_its_last(most: int, expected: list[int]) -> None:
    assert {"fetch": expected} == decided(listing(("a", 10), ("b", 10), ("c", 10), ("d", None)), [], max_octets=most)


@pytest.mark.parametrize(
    ("case", "listed", "known", "expected"),
    [
        ("beyond the size limit", [("a", 99)], [], [1]),
        ("seen", [("a", 10)], [row(1, "a", status="seen", message=None)], [1]),
        ("header section archived", [("a", 99)], [row(1, "a", 99, "headers")], [1]),
        ("pruned", [("a", 10)], [row(1, "a", message=None)], [1]),
        ("archived", [("a", 10)], [row(1, "a")], []),
        ("twins", [("a", 10), ("a", 99)], [], [1, 2]),
        ("others wait", [("b", 10), ("a", 10), (None, 10)], [], [2]),
    ],
)
def test_what_is_asked_for_is_fetched_and_nothing_else_happens(
    case: str, listed: list[tuple[str | None, int | None]], known: list[Known], expected: list[int]
) -> None:
    policy = Policy(
        delete=AFTER_FETCH, max_message_octets=50, oversize="headers", max_octets=1, wanted_uidls=frozenset({"a"})
    )
    made = numbers(plan(listing(*listed), known, policy, NOW))
    assert {"fetch": expected} == {name: found for name, found in made.items() if found or name == "fetch"}, case


@pytest.mark.parametrize(
    ("case", "listed", "known", "most", "expected"),
    [
        ("small enough", [("a", 10), ("b", 10)], [row(1, "a"), row(2, "b")], 20, []),
        ("one too many", [("a", 10), ("b", 10)], [row(1, "a"), row(2, "b")], 19, [1]),
        ("all", [("a", 10), ("b", 10)], [row(1, "a"), row(2, "b")], 0, [1, 2]),
        ("new ones count", [("a", 10), ("b", 10)], [row(1, "a")], 5, [1]),
        ("by number, not by UIDL", [("b", 10), ("a", 10)], [row(1, "a"), row(2, "b")], 10, [1]),
        ("twins stay", [("a", 10), ("a", 20), ("b", 10)], [row(1, "a"), row(2, "a", 20), row(3, "b")], 5, [3]),
        ("without a size it stays", [("a", None), ("b", 10)], [row(1, "a"), row(2, "b")], 5, [2]),
        ("seen and known by its header section stay", [("a", 10), ("b", 10)],
         [row(1, "a", status="seen", message=None), row(2, "b", status="headers")], 0, []),
    ],
)  # fmt: skip
def test_the_oldest_archived_go_while_the_maildrop_is_too_large(
    case: str, listed: list[tuple[str | None, int | None]], known: list[Known], most: int, expected: list[int]
) -> None:
    policy = Policy(delete=DeletePolicy(kind="above", octets=most), max_message_octets=10)
    assert expected == numbers(plan(listing(*listed), known, policy, NOW))["delete"], case


MESSAGES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([1, 2, None])), max_size=6)
ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from([1, 2, None]), st.sampled_from(LedgerStatus), st.sampled_from([None, 5])
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(
    messages=MESSAGES,
    rows=ROWS,
    delete=st.sampled_from([NEVER, AFTER_FETCH, A_WEEK, DeletePolicy(kind="above", octets=1)]),
    oversize=st.sampled_from(["skip", "headers"]),
    wanted=st.frozensets(st.sampled_from("abc")),
    most=st.sampled_from([None, 1, 2]),
)
def test_every_message_is_decided_once_and_only_sure_ones_are_deleted(
    messages: list[tuple[str | None, int | None]],
    rows: list[tuple[str, int | None, LedgerStatus, int | None]],
    delete: DeletePolicy,
    oversize: Literal["skip", "headers"],
    wanted: frozenset[str],
    most: int | None,
) -> None:
    listed = listing(*messages)
    known = [row(n, uidl, octets, status, message=message) for n, (uidl, octets, status, message) in enumerate(rows)]
    policy = Policy(
        delete=delete, max_message_octets=1, oversize=oversize, wanted_uidls=wanted, max_octets=most, max_messages=most
    )
    made = plan(listed, known, policy, NOW)
    planned = [*made.fetch, *(entry for entry, _ in (*made.skip, *made.headers, *made.delete))]
    assert len(planned) == len({entry.number for entry in planned})  # no message twice
    once = len(made.fetch) + len(made.skip) + len(made.headers) + made.known
    assert listed.count == once if not wanted and most is None else listed.count >= once
    assert [entry.number for entry in made.fetch] == sorted({entry.number for entry in made.fetch})
    uidls = [entry.uidl for entry in listed.entries]
    for entry, match in made.delete:
        assert 1 == uidls.count(entry.uidl)
        assert match.uidl == entry.uidl
        assert match.message is not None
        assert match.status == "archived" or (match.status == "gone" and match in made.returned)
        assert entry not in made.fetch
        assert None in (match.octets, entry.octets) or match.octets == entry.octets
    assert not {one.id for one in made.gone} & {match.id for _entry, match in made.delete}
