"""In doubt a message is fetched, and never deleted."""

from datetime import UTC, datetime, timedelta

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
        "delete": [entry.number for entry, _known in made.delete],
        "skip": [entry.number for entry, _why in made.skip],
        "gone": [known.id for known in made.gone],
        "returned": [known.id for _entry, known in made.returned],
    }


def decided(
    listed: Listing, known: list[Known], delete: DeletePolicy = AFTER_FETCH, **limits: int
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
    assert {"fetch": [1, 3], "delete": [], "skip": [2], "gone": [], "returned": []} == numbers(made)
    assert "11 octets, and MAX_MESSAGE_OCTETS is 10" == made.skip[0][1]


def test_the_oldest_are_fetched_first_up_to_the_limit() -> None:
    assert {"fetch": [1, 2]} == decided(listing(("c", 1), (None, 1), ("a", 1)), [], max_messages=2)


def test_twenty_thousand_twins_are_no_burden() -> None:
    listed = listing(*[("same", n % 7) for n in range(20_000)])
    rows = [row(n, "same", n % 5) for n in range(20_000)]
    made = plan(listed, rows, Policy(delete=AFTER_FETCH), NOW)
    assert 20_000 == len(made.fetch) + made.known
    assert () == made.delete


MESSAGES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([1, 2, None])), max_size=6)
ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from([1, 2, None]), st.sampled_from(LedgerStatus), st.sampled_from([None, 5])
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES, rows=ROWS)
def test_every_message_is_decided_once_and_only_sure_ones_are_deleted(
    messages: list[tuple[str | None, int | None]], rows: list[tuple[str, int | None, LedgerStatus, int | None]]
) -> None:
    listed = listing(*messages)
    known = [row(n, uidl, octets, status, message=message) for n, (uidl, octets, status, message) in enumerate(rows)]
    made = plan(listed, known, Policy(delete=AFTER_FETCH, max_message_octets=1), NOW)
    assert listed.count == len(made.fetch) + len(made.skip) + made.known
    assert [entry.number for entry in made.fetch] == sorted({entry.number for entry in made.fetch})
    uidls = [entry.uidl for entry in listed.entries]
    for entry, match in made.delete:
        assert 1 == uidls.count(entry.uidl)
        assert match.uidl == entry.uidl
        assert match.message is not None
        assert entry not in made.fetch
        assert None in (match.octets, entry.octets) or match.octets == entry.octets
    assert not {one.id for one in made.gone} & {match.id for _entry, match in made.delete}
