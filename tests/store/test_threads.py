"""Conversations come out the same in whatever order their messages come, and their numbers lead on when they are joined."""

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from daemon.mail import thread
from daemon.mail.message import AddressRow, Parsed
from daemon.store import archive
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.store.conftest import NOW

DAY = datetime(2026, 11, 1, 12, tzinfo=UTC)
COUNTED = itertools.count()


def letter(
    name: str | None, *references: str, subject: str = "", sender: str = "", to: str = "", day: int = 0
) -> Parsed:
    people = [("from", sender), ("to", to)]
    return Parsed(
        message_id=name,
        references=references,
        subject=subject,
        from_address=sender or None,
        sent_at=DAY + timedelta(days=day),
        addresses=tuple(AddressRow(role=role, position=0, name="", address=one) for role, one in people if one),
    )


def stored(tx: Connection, letters: Sequence[Parsed]) -> list[int]:
    """Archive as many messages, in this order; give their ids."""
    incoming = [
        archive.Incoming(uidl=f"u{n}", spool=Spool.of(b"%d" % n)) for n, _ in zip(COUNTED, letters, strict=False)
    ]
    return [filed.message for filed in archive.add(tx, "home", incoming, NOW)]


def threads(conn: Connection) -> dict[int, int]:
    return {row.id: row.thread_id for row in conn.execute(text("SELECT id, thread_id FROM messages"))}


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    with database.transaction() as tx, tx.begin_nested() as savepoint:
        yield tx
        savepoint.rollback()


def indexed(tx: Connection, letters: Sequence[Parsed], *batches: Sequence[int]) -> list[int]:
    """Archive letters and index them in these batches of their places, or all at once; give the place of each one's first."""
    ids = stored(tx, letters)
    for batch in batches or (range(len(letters)),):
        archive.write_all_parsed(tx, [(ids[one], letters[one]) for one in batch], 1, NOW)
    found = threads(tx)
    return [ids.index(found[one]) for one in ids]


# A small world in which letters meet: few ids, two subjects, three people, few days.
NAMES = st.sampled_from("abcdefgh")
PEOPLE = st.sampled_from(["bob@example.net", "anna@example.org", "Bob@Example.NET"])
LETTERS = st.builds(
    letter,
    st.none() | NAMES,
    subject=st.sampled_from(["Lunch", "Re: Lunch", "AW: [x] lunch", "Re: Tea", ""]),
    sender=PEOPLE,
    to=PEOPLE,
    day=st.integers(0, 40),
) | st.builds(letter, st.none() | NAMES, NAMES, subject=st.sampled_from(["Re: Lunch", ""]), sender=PEOPLE, to=PEOPLE)


@pytest.mark.parametrize("common", [thread.MAX_OF_ONE_SUBJECT, 3])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(letters=st.lists(LETTERS, min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_any_order_and_any_batches_give_the_same_conversations(
    database: Database, common: int, letters: list[Parsed], seed: int
) -> None:
    dice = random.Random(seed)
    order = dice.sample(range(len(letters)), len(letters))
    cuts = sorted({0, len(order), *dice.choices(range(len(order)), k=dice.randint(0, 4))})
    batches = [order[start:end] for start, end in itertools.pairwise(cuts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, "MAX_OF_ONE_SUBJECT", common)
        with undone(database) as tx:
            at_once = indexed(tx, letters)
        with undone(database) as tx:
            assert at_once == indexed(tx, letters, *batches)
            # Once more, and with others in between, as after a parser that read something else.
            ids = sorted(threads(tx))
            for one in dice.choices(range(len(ids)), k=3):
                archive.write_all_parsed(tx, [(ids[one], letter("z", "a", "b"))], 1, NOW)
                archive.write_all_parsed(tx, [(ids[one], letters[one])], 1, NOW)
            found = threads(tx)
            assert at_once == [ids.index(found[one]) for one in ids]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ([letter("a"), letter("b", "a"), letter("c")], [0, 0, 2]),
        ([letter("b", "a"), letter("c", "x"), letter("d", "a", "x")], [0, 0, 0]),
        ([letter("a"), letter("a")], [0, 0]),
        ([letter(None), letter(None)], [0, 1]),
        ([letter("c", "gone"), letter("d", "gone")], [0, 0]),
    ],
    ids=["an answer", "one joins two", "copies", "without an id", "what they answer is not here"],
)
def test_message_ids_make_conversations(database: Database, letters: list[Parsed], expected: list[int]) -> None:
    with undone(database) as tx:
        assert expected == indexed(tx, letters)


ASKED = letter("a", subject="Lunch", sender="anna@example.org", to="bob@example.net")


@pytest.mark.parametrize(
    ("answer", "is_joined"),
    [
        (letter("b", subject="Re: Lunch", sender="Bob@example.net", to="anna@Example.org", day=3), True),
        (letter("b", subject="Lunch", sender="bob@example.net", to="anna@example.org", day=3), False),
        (letter("b", "x", subject="Re: Lunch", sender="bob@example.net", to="anna@example.org", day=3), False),
        (letter("b", subject="Re: Lunch", sender="bob@example.net", to="anna@example.org", day=31), False),
        (letter("b", subject="Re: Lunch", sender="bob@example.net", to="anna@example.org"), False),
        (letter("b", subject="Re: Lunch", sender="carol@example.net", to="anna@example.org", day=3), False),
        (letter("b", subject="Re: Tea", sender="bob@example.net", to="anna@example.org", day=3), False),
    ],
    ids=["an answer", "no answer", "names another", "too late", "not later", "from another", "another subject"],
)
def test_a_subject_ties_an_answer_that_names_no_message(database: Database, answer: Parsed, *, is_joined: bool) -> None:
    with undone(database) as tx:
        assert ([0, 0] if is_joined else [0, 1]) == indexed(tx, [ASKED, answer])


def test_an_answer_by_subject_goes_to_the_nearest_issue_alone(database: Database) -> None:
    issues = [
        letter(f"n{day}", subject="News", sender="news@example.net", to="anna@example.org", day=day) for day in (1, 8)
    ]
    answer = letter("b", subject="Re: News", sender="anna@example.org", to="news@example.net", day=9)
    with undone(database) as tx:
        assert [0, 1, 1] == indexed(tx, [*issues, answer], [2], [0], [1])


def test_a_conversation_that_is_joined_to_an_older_one_is_found_under_both_numbers(database: Database) -> None:
    with database.transaction() as tx:
        ids = stored(tx, [letter("a"), letter("c"), letter("b")])
        archive.write_all_parsed(tx, [(ids[0], letter("a")), (ids[1], letter("c"))], 1, NOW)
        assert {ids[0]: ids[0], ids[1]: ids[1], ids[2]: None} == threads(tx)
        archive.write_all_parsed(tx, [(ids[2], letter("b", "a", "c"))], 1, NOW)
        assert dict.fromkeys(ids, ids[0]) == threads(tx)
        assert [(ids[1], ids[0])] == [tuple(row) for row in tx.execute(text("SELECT * FROM thread_aliases"))]


def test_a_conversation_goes_on_when_its_first_message_is_pruned(database: Database) -> None:
    with database.transaction() as tx:
        ids = stored(tx, [letter("a"), letter("b"), letter("c")])
        archive.write_all_parsed(tx, [(ids[0], letter("a")), (ids[1], letter("b", "a"))], 1, NOW)
        tx.execute(text(f"DELETE FROM messages WHERE id = {ids[0]}"))
        archive.write_all_parsed(tx, [(ids[2], letter("c", "a"))], 1, NOW)
        assert dict.fromkeys(ids[1:], ids[0]) == threads(tx)


def test_a_conversation_that_falls_apart_goes_on_in_its_parts(database: Database) -> None:
    """A message that alone held two together is read otherwise by a new parser; what comes later finds the part it belongs to."""
    with database.transaction() as tx:
        ids = stored(tx, [letter("a"), letter("x", "a"), letter("b", "x"), letter("c", "b"), letter("d", "a")])
        held = [letter("a"), letter("x", "a"), letter("b", "x")]
        archive.write_all_parsed(tx, list(zip(ids, held, strict=False)), 1, NOW)
        assert [ids[0]] * 3 == [threads(tx)[one] for one in ids[:3]]
        archive.write_all_parsed(tx, [(ids[1], letter("z"))], 2, NOW)
        archive.write_all_parsed(tx, [(ids[3], letter("c", "b")), (ids[4], letter("d", "a"))], 2, NOW)
        first, alone, second = ids[:3]
        assert dict(zip(ids, [first, alone, second, second, first], strict=True)) == threads(tx)


def test_a_message_that_leaves_what_its_conversation_was_joined_to_has_its_number_back(database: Database) -> None:
    """The number led to the older conversation until a new parser read the message otherwise; its answers now come to it."""
    with database.transaction() as tx:
        ids = stored(tx, [letter("a"), letter("c"), letter("b"), letter("d")])
        archive.write_all_parsed(tx, [(ids[0], letter("a")), (ids[1], letter("c"))], 1, NOW)
        archive.write_all_parsed(tx, [(ids[2], letter("b", "a", "c"))], 1, NOW)
        assert [ids[0]] * 3 == [threads(tx)[one] for one in ids[:3]]
        archive.write_all_parsed(tx, [(ids[1], letter("z"))], 2, NOW)
        archive.write_all_parsed(tx, [(ids[3], letter("d", "z"))], 2, NOW)
        assert dict(zip(ids, [ids[0], ids[1], ids[0], ids[1]], strict=True)) == threads(tx)
