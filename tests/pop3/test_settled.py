"""What is remembered of a visit changes nothing but the time that the next one takes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail.account import DeletePolicy
from daemon.mail.maildrop import SETTLING, Entry, Known, Listing, Rows
from daemon.pop3 import identity
from daemon.pop3.plan import Policy, plan
from daemon.pop3.replies import Answers
from daemon.pop3.settled import OPEN_MOST, Settled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER, A_WEEK = DeletePolicy(kind="never"), DeletePolicy(kind="age", age=timedelta(days=7))

Message = tuple[str, int]  # UIDL, octets


def answers(messages: Sequence[Message]) -> Answers:
    return Answers(
        octets=0,
        has_uidl=True,
        uidls="".join(f"{n} {uidl}\r\n" for n, (uidl, _) in enumerate(messages, start=1)).encode(),
        sizes="".join(f"{n} {octets}\r\n" for n, (_, octets) in enumerate(messages, start=1)).encode(),
    )


def row(key: int, uidl: str, octets: int = 10, status: str = "archived", *, days: int = 0) -> Known:
    return Known(key, uidl, octets, status, NOW - timedelta(days=days), key, None)


def written_out(known: Sequence[Known]) -> Rows:
    here = [one for one in known if one.status in identity.EXPECTED]
    return Rows(
        texts={
            status: json.dumps(
                [[*one[:3], str(one.first_seen_at), one.message] for one in here if one.status == status]
            )
            for status in {one.status for one in here}
        },
        counts=Counter(one.status for one in here),
    )


def settled(messages: Sequence[Message], known: Sequence[Known]) -> Settled | None:
    said = answers(messages)
    return Settled.of(said, said.listing(), known, written_out(known))


def rest(
    before: Settled, messages: Sequence[Message], known: Sequence[Known]
) -> tuple[Listing, list[Known], Settled | None] | None:
    """Do what a visit does; None if it reads all."""
    said, rows = answers(messages), written_out(known)
    entries = before.rest(said) if before.is_in(rows) else None
    if entries is None:
        return None
    names = {entry.uidl for entry in entries}
    named = [one for one in known if one.uidl in names]
    listing = Listing(count=len(entries), octets=0, entries=entries, has_uidl=True)
    return (
        (listing, named, before.extended(said, entries, named, rows)) if before.leaves(listing, named, rows) else None
    )


A, B, C = ("a", 10), ("b", 20), ("c", 30)


def test_new_mail_behind_the_old_is_all_there_is_to_look_at() -> None:
    before = settled([A, B], [row(1, *A), row(2, *B, "seen")])
    assert before is not None
    found = rest(before, [A, B, C], [row(1, *A), row(2, *B, "seen")])
    assert found is not None
    listing, named, after = found
    assert (Entry(3, *C),) == listing.entries
    assert [] == named
    assert after is not None
    assert (2, (Entry(3, *C),)) == (after.count, after.open)
    # Fetched, it is settled by its row, which stands behind the others.
    found = rest(after, [A, B, C], [row(1, *A), row(2, *B, "seen"), row(3, *C)])
    assert found is not None
    assert (3, ()) == ((found[2] or before).count, (found[2] or before).open)


def test_whatever_else_changed_all_is_read() -> None:
    known = [row(1, *A), row(2, *B)]
    before = settled([A, B], known)
    assert before is not None
    many = [(f"n{n}", 1) for n in range(OPEN_MOST + 1)]
    assert {} == {
        case: found
        for case, messages, ledger in (
            ("one left", [A], known),
            ("the first left", [B], known),
            ("other order", [B, A], known),
            ("size changed", [A, ("b", 21)], known),
            ("name changed", [A, ("x", 20)], known),
            ("twin", [A, B, A], known),
            ("twin of another size", [A, B, ("a", 11)], known),
            ("twins that are new", [A, B, C, C], known),
            ("too many", [A, B, *many], known),
            ("row removed", [A, B], known[:1]),
            ("row removed, new mail", [A, B, C], known[1:]),
            ("row now gone", [A, B], [row(1, *A), row(2, *B, "gone")]),
            ("row of another size", [A, B], [row(1, *A), row(2, "b", 21)]),
            ("row renamed", [A, B], [row(1, *A), row(2, "x", 20)]),
            ("row of a message that is not listed", [A, B], [*known, row(3, *C)]),
            ("row of a twin", [A, B], [*known, row(3, *A)]),
            ("skipped row that is not listed", [A, B], [*known, row(3, *C, "skipped")]),
            ("archived at another time", [A, B], [row(1, *A, days=1), row(2, *B)]),
        )
        if (found := rest(before, messages, ledger)) is not None
    }


def test_listings_that_are_not_plain_are_not_remembered() -> None:
    known = [row(1, *A), row(2, *B)]
    said = answers([A, B])
    for odd in (
        replace(said, uidls=b"1 a\r\n3 b\r\n", sizes=b"1 10\r\n3 20\r\n"),
        replace(said, sizes=b"1 10\r\n"),
        replace(said, uidls=b"1 a\r\n2 b c\r\n"),
    ):
        assert Settled.of(odd, odd.listing(), known, written_out(known)) is None
    assert settled([A, A], [row(1, *A)]) is None
    assert settled([A], known) is None


def test_what_may_become_due_for_deletion_is_looked_at() -> None:
    before = settled([A, B], [row(1, *A, days=6), row(2, *B)])
    assert before is not None
    assert [True, True, False, False] == [
        before.allows(policy, now)
        for policy, now in (
            (NEVER, NOW + timedelta(days=9)),
            (A_WEEK, NOW),
            (A_WEEK, NOW + timedelta(days=1)),
            (DeletePolicy(kind="after_fetch"), NOW),
        )
    ]


uidls = st.sampled_from("abcdefgh")
messages = st.tuples(uidls, st.sampled_from([10, 11]))
statuses = st.sampled_from(["archived", "archived", "seen", "skipped", "headers", "refused", "gone", "deleted"])
ledger_rows = st.builds(
    row, st.just(0), uidls, st.sampled_from([10, 11]), statuses, days=st.sampled_from([0, 0, 3, 30])
)


def seldom(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Give none mostly, else one: what stops a visit from remembering."""
    return st.integers(0, 5).flatmap(lambda n: st.lists(one, min_size=1, max_size=1) if n == 5 else st.just([]))


@given(
    old=st.lists(messages, min_size=1, max_size=6, unique_by=lambda one: one[0]),
    unsettled=st.sets(st.integers(0, 2), max_size=2),
    odd_rows=seldom(ledger_rows),
    came=st.lists(messages | st.tuples(st.sampled_from("xyz"), st.sampled_from([10, 11])), max_size=3),
    written=st.lists(st.none() | st.sampled_from(["archived", "seen", "skipped", "gone"]), min_size=6, max_size=6),
    left=seldom(st.integers(0, 5)),
    new_rows=seldom(ledger_rows),
    lost=seldom(st.integers(0, 5)),
    policy=st.builds(
        Policy,
        delete=st.sampled_from([NEVER, A_WEEK]),
        max_message_octets=st.sampled_from([None, 10]),
        oversize=st.sampled_from(["skip", "headers"]),
        max_messages=st.sampled_from([None, 1]),
    ),
)
@settings(max_examples=300)
def test_a_visit_that_remembers_decides_as_one_that_reads_all(
    old: list[Message],
    unsettled: set[int],
    odd_rows: list[Known],
    came: list[Message],
    written: list[str | None],
    left: list[int],
    new_rows: list[Known],
    lost: list[int],
    policy: Policy,
) -> None:
    known = [row(0, *one) for n, one in enumerate(old) if n not in unsettled] + odd_rows
    known = [one._replace(id=key) for key, one in enumerate(known, start=1)]
    before = settled(old, known)
    if before is None or not before.allows(policy.delete, NOW):
        return
    listed = [one for n, one in enumerate(old) if n not in left] + came
    now_known = [one for n, one in enumerate(known) if n not in lost]
    late = [one for n, one in enumerate(old) if n in unsettled] + came
    new_rows = new_rows + [row(0, *one, status) for one, status in zip(late, written, strict=False) if status]
    now_known += [one._replace(id=key) for key, one in enumerate(new_rows, start=100)]
    found = rest(before, listed, now_known)
    if found is None:
        return
    part, named, after = found
    whole = answers(listed).listing()
    expected, made = plan(whole, now_known, policy, NOW), plan(part, named, policy, NOW)
    assert expected == replace(made, known=made.known + before.count)
    assert identity.assess(whole, now_known) == identity.assess(part, named, before.count)
    assert settled(listed, now_known) == after
    assert after is None or sum(one.status in SETTLING for one in now_known) == after.count
