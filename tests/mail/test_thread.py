"""What ties messages together, and the order in which a conversation is read."""

import pytest

from daemon.mail import parse, thread
from daemon.mail.defects import Defect
from daemon.mail.message import AddressRow, Parsed
from daemon.mail.thread import Node


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Lunch on Friday", ("lunch on friday", False)),
        ("Re: Lunch  on Friday", ("lunch on friday", True)),
        ("AW: WG: Lunch", ("wg: lunch", True)),
        ("Re[2]: Sv: RE : lunch", ("lunch", True)),
        ("Antw: Lunch", ("lunch", True)),
        ("[club] Re: [club] Lunch", ("lunch", True)),
        ("[PATCH 1/2] thread: count", ("thread: count", False)),
        ("回复：午餐", ("午餐", True)),  # noqa: RUF001 -- the colon that Chinese programs write
        ("Re^3: LUNCH", ("lunch", True)),
        ("Recipes: soup", ("recipes: soup", False)),
        ("Fwd: Lunch", ("fwd: lunch", False)),
        ("Re:", ("", True)),
        ("", ("", False)),
    ],
)
def test_a_subject_is_what_remains_without_the_signs_of_an_answer(subject: str, expected: tuple[str, bool]) -> None:
    assert expected == thread.base_subject(subject)


def test_a_message_is_tied_by_its_own_id_and_all_that_it_names() -> None:
    found = thread.ties(Parsed(message_id="c", references=("a", "b"), in_reply_to="x", subject="Re: hello"))
    assert (thread.key("c"), (thread.key("x"), thread.key("a"), thread.key("b"))) == (found.own, found.references)
    assert not found.asks


def test_the_name_of_a_person_ties_nothing() -> None:
    bob = AddressRow(role="to", position=0, name="", address="bob@example.net")
    found = thread.ties(Parsed(message_id="c", in_reply_to="bob@example.net", addresses=(bob,), subject="Re: hello"))
    assert ((), True) == (found.references, found.asks)


def test_ten_thousand_references_are_cut_to_the_nearest_and_say_so() -> None:
    named = b" ".join(b"<%d@example.net>" % number for number in range(10_000))
    parsed = parse.parse(b"From: a@example.net\r\nReferences: " + named + b"\r\n\r\n")
    assert ("9999@example.net", 200) == (parsed.references[-1], len(parsed.references))
    assert Defect.REFERENCES_TRUNCATED in parsed.defects


def read(*nodes: tuple[int, int | None, tuple[int, ...]]) -> list[tuple[int, int]]:
    return thread.tree([Node(*one) for one in nodes])


def test_answers_stand_below_what_they_answer() -> None:
    found = read((1, 11, ()), (2, 12, (11,)), (3, 13, (11,)), (4, 14, (11, 12)), (5, None, (11, 13)))
    assert [(0, 1), (1, 2), (2, 4), (1, 3), (2, 5)] == found


def test_an_answer_to_what_is_not_here_stands_below_the_nearest_relative_that_is() -> None:
    assert [(0, 1), (1, 3)] == read((1, 11, ()), (3, 13, (11, 12)))


def test_copies_stand_beside_one_another_and_their_answers_below_the_first() -> None:
    assert [(0, 1), (1, 3), (0, 2)] == read((1, 11, ()), (2, 11, ()), (3, 13, (11,)))


def test_those_who_answer_one_another_in_a_circle_are_read_once() -> None:
    assert [(0, 9), (0, 1), (1, 2), (2, 3)] == read((1, 11, (13,)), (2, 12, (11,)), (3, 13, (12,)), (9, 19, (19,)))


def test_a_chain_of_thousands_is_read_to_its_end() -> None:
    found = read(*((number, number, (number - 1,)) for number in range(1, 20_001)))
    assert (19_999, 20_000) == found[-1]
