"""Whatever is typed into the search box is a query, or a line that says what is wrong with it and where."""

import re
import unicodedata
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.store.query import grammar, ideographs, spelling, tree
from daemon.store.query.tree import EVERYTHING, And, Bound, Exact, Not, Or, Words

TODAY = date(2026, 11, 25)  # a Wednesday


def parse(text: str) -> tree.Node:
    return grammar.parse(text, TODAY)


def word(*words: str, field: str = "", is_prefix: bool = False) -> Words:
    return Words(words, field, is_prefix)


A, B, C = word("a"), word("b"), word("c")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("", EVERYTHING),
        (" \t ", EVERYTHING),
        ("a", A),
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a and b", And((A, word("and"), B))),
        ("a OR b c", Or((A, And((B, C))))),
        ("(a OR b) c", And((Or((A, B)), C))),
        ("((a) (b c))", And((A, B, C))),
        ("NOT a", Not(A)),
        ("-(a OR b)", Not(Or((A, B)))),
        ("a NOT -b", And((A, B))),
        ("e-mail", word("e", "mail")),
        ('"a b"', word("a", "b")),
        ('"OR"', word("OR")),
        ("inv*", word("inv", is_prefix=True)),
        ('"a inv*"', word("a", "inv", is_prefix=True)),
        ("Re:hello", word("Re", "hello")),
        ("http://a/b", word("http", "a", "b")),
        ("FROM:bob", word("bob", field="from")),
        ("from:(bob OR to:anna)", Or((word("bob", field="from"), word("anna", field="to")))),
        ("is:(bounce OR reply)", Or((Exact("is", "bounce"), Exact("is", "reply")))),
        ("has:attachments", Exact("has", "attachment")),
        ("account:Home", Exact("account", "home")),
        ("id:17", Exact("id", "17")),
        ("id:<a@b.example>", Exact("message-id", "a@b.example")),
        ("rfc822msgid:a@b.example", Exact("message-id", "a@b.example")),
        ("larger:10k", Bound("larger", 10_240)),
        ("smaller:1.5MB", Bound("smaller", 1_572_864)),
    ],
)
def test_a_query_is_read_as_a_tree(text: str, node: tree.Node) -> None:
    assert node == parse(text)


def _day(*day: int) -> datetime:
    return datetime(*day, tzinfo=UTC)  # type: ignore[arg-type,misc]  # year, month, day


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("date:2026", _day(2026, 1, 1), _day(2027, 1, 1)),
        ("date:2026-12", _day(2026, 12, 1), _day(2027, 1, 1)),
        ("date:2026-01..2026-03", _day(2026, 1, 1), _day(2026, 4, 1)),
        ("date:2026-02-28..", _day(2026, 2, 28), None),
        ("date:..2026-02-28", None, _day(2026, 3, 1)),
        ("date:today", _day(2026, 11, 25), _day(2026, 11, 26)),
        ("date:yesterday", _day(2026, 11, 24), _day(2026, 11, 25)),
        ("date:7d..", _day(2026, 11, 18), None),
        ("date:2w..yesterday", _day(2026, 11, 11), _day(2026, 11, 25)),
        ('date:"last week"', _day(2026, 11, 16), _day(2026, 11, 23)),
        ("date:this-week", _day(2026, 11, 23), _day(2026, 11, 30)),
        ("date:last-month", _day(2026, 10, 1), _day(2026, 11, 1)),
        ("date:last-year", _day(2025, 1, 1), _day(2026, 1, 1)),
        ("after:2026-01", _day(2026, 1, 1), None),
        ("since:2026-01", _day(2026, 1, 1), None),
        ("before:2026-02", None, _day(2026, 2, 1)),
        ("before:2026-02-01T10:00Z", None, datetime(2026, 2, 1, 10, tzinfo=UTC)),
    ],
)
def test_days_are_read_as_people_write_them(text: str, since: datetime | None, until: datetime | None) -> None:
    bounds = [Bound(name, one) for name, one in (("after", since), ("before", until)) if one is not None]
    assert tree.conjunction(list[tree.Node](bounds)) == parse(text)


@pytest.mark.parametrize(
    ("text", "said", "at"),
    [
        ('b "open', "never closed", 2),
        ("b has:wings", "has:attachment is", 6),
        ("is:odd", "is:bounce", 3),
        ("after:soon", "not a day", 6),
        ("date:2026-13", "not a day", 5),
        ("after:2026..2027", "not a day", 6),
        ("date:..", "not a day", 5),
        ("larger:much", "not a size", 7),
        ("a ***", "no word", 2),
        ("a from: bob", "right behind it", 2),
        ("a AND", "something behind it", 2),
        ("a OR OR b", "something behind it", 2),
        ("OR a", "something before it", 0),
        ("a NOT", "something behind it", 2),
        ("(a", "never closed", 0),
        ("a (b c", "never closed", 2),
        ("a) b", "no ( for this )", 1),
        ("a ()", "nothing between", 2),
        ("(" * 50 + "a" + ")" * 50, "in one another", 10),
        ("id:99999999999999999999", "no number", 3),
        ("thread:x", "no number of a thread", 7),
        ("x" * 1001, "longer than", 1000),
    ],
)
def test_a_wrong_query_gives_one_clear_line_and_its_place(text: str, said: str, at: int) -> None:
    with pytest.raises(errors.QueryInvalid, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
        parse(text)
    assert ("\n" not in str(caught.value), text, at) == (True, caught.value.query, caught.value.at)


# --- properties -----------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["a", "inv*", '"', "(", ")", "-", "AND", "OR", "NOT", "from:", "is:", "date:", "larger:", "id:", "2026-01", "..", "\x00", "\ud800", "東京", "Ü", "*"]
)  # fmt: skip
TYPED = st.lists(PIECES | st.just(" ") | st.text(max_size=4), max_size=25).map("".join)

_WORDS = st.lists(st.text("abcäß東京1", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple)
_VALUES = st.text("ab-.@1 ", min_size=1, max_size=6).filter(lambda text: text == text.strip("<> "))
_LEAVES: st.SearchStrategy[tree.Node] = st.one_of(
    st.builds(Words, _WORDS, st.sampled_from(["", *grammar.TEXTS]), st.booleans()),
    st.builds(Exact, st.sampled_from(["account", "message-id"]), _VALUES),
    st.builds(Exact, st.sampled_from(["id", "thread"]), st.integers(0, 2**63 - 1).map(str)),
    st.sampled_from([Exact(field, value) for field, values in grammar.CHOICES.items() for value in values]),
    st.builds(Bound, st.sampled_from(grammar.MOMENTS), st.datetimes(timezones=st.just(UTC))),
    st.builds(Bound, st.sampled_from(grammar.SIZES), st.integers(0, 2**50)),
)
# Brackets stand around what is in a NOT, and around each OR or AND in another: three deep fits into MAX_DEPTH.
NODES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.map(tree.negation),
        st.lists(inner, min_size=1, max_size=3).map(tree.conjunction),
        st.lists(inner, min_size=1, max_size=3).map(tree.disjunction),
    ),
    max_leaves=6,
)


@given(TYPED)
def test_whatever_is_typed_is_a_query_or_refused(text: str) -> None:
    try:
        node = parse(text)
    except errors.QueryInvalid as error:
        places = range(len(error.query) + 1)
        assert error.at in places  # noqa: PT017 -- most of what is drawn is no query, and raises nothing
    else:
        assert node == parse(tree.shown(node))


@given(NODES)
def test_a_tree_that_is_written_reads_back_equal(node: tree.Node) -> None:
    written = tree.shown(node)
    if len(written) <= grammar.MAX_CHARACTERS:
        assert node == parse(written)


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "field", "spelled"),
    [
        ("Müller", "", {"muller", "mueller"}),
        ("mueller", "", {"mueller"}),
        ("mueller", "from", {"mueller", "muller"}),
        ("poet", "", {"poet"}),
        ("Straße", "", {"straße", "strasse"}),
        ("Strasse", "", {"strasse", "straße"}),
        ("Çédille", "", {"cedille"}),
        ("Ἀθήνα", "", {"αθηνα"}),
    ],
)
def test_a_word_is_looked_for_in_its_spellings(words: str, field: str, spelled: set[str]) -> None:
    assert spelled == {" ".join(one) for one in spelling.spellings((words,), field)}


def test_no_character_is_overlooked_by_the_quick_look() -> None:
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    composed = unicodedata.normalize("NFC", everything)
    found = "".join(ideographs.runs(everything))
    assert set(re.findall(f"[{ideographs.CHARACTERS}]", composed)) == set(found)
    assert [] == [one for one in found if not ideographs.are_in(one)]


@given(st.text("東京都ソñ é한국", min_size=1, max_size=8), st.data())
@settings(max_examples=50)
def test_each_piece_of_a_run_is_told_by_its_pairs(text: str, data: st.DataObject) -> None:
    pairs = ideographs.pairs([text])
    for run in ideographs.runs(text):
        start = data.draw(st.integers(0, len(run) - 1))
        piece = run[start : start + data.draw(st.integers(1, 4))]
        if len(piece) == 1:
            assert any(pair.startswith(piece) for pair in pairs)
        assert pairs.issuperset(piece[at : at + 2] for at in range(len(piece) - 1))
