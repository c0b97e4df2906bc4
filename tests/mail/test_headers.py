"""What is as it should be, which has quick ways of its own, is read as what is not quite so, which has none."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.mail import headers
from daemon.mail.defects import Notes
from tests import corpus
from tests.mail import composed

PIECES = st.sampled_from(
    [
        *(b"Subject", b"TO", b"received", b"X-Other", b"Na me", b"", b"F\xc3\xbcr", b"Subject " + b"x" * 100),
        *(b":", b": ", b" :", b"\t:", b"\r\n", b"\r\n ", b"\r\n\t", b"\n", b"\r", b" ", b"\t", b"\r\n\r\n", b"\n\n"),
        *(b"one", b"=?utf-8?q?two?=", b"\xff", b"\0"),
    ]
)


WORD = st.lists(
    st.sampled_from(["=?", "utf-8", "x", "?q?", "?B?", "?", "_", "=C3", "=A9", "=", "w6k=", "w6k", "\xe9", " ", "?="]),
    max_size=8,
).map("".join)
ID = st.lists(
    st.sampled_from([b"<", b">", b"a", b"@b", b" ", b"=?", b"=?utf-8?q?c?=", b"\xff", b"\0"]), max_size=6
).map(b"".join)


def read(octets: bytes) -> tuple[headers.Fields, bytes, tuple[str, ...]]:
    """Give the fields, what is behind them, and the defects."""
    notes = Notes()
    fields, body = headers.read(octets, 0, len(octets), notes)
    return fields, octets[body:], notes.names()


def ensure_equal(octets: bytes) -> None:
    """Compare with the same that has bare line feeds."""
    fields, body, defects = read(octets)
    assert (fields, body.replace(b"\r\n", b"\n"), defects) == read(octets.replace(b"\r\n", b"\n"))


@given(st.lists(PIECES, max_size=25).map(b"".join))
def test_a_header_with_crlf_is_read_as_one_with_line_feeds(octets: bytes) -> None:
    for header in (octets, b"Subject: one\r\n" + octets + b"\r\n\r\nbody\r\n"):
        assume(b"\r\r" not in header)  # a replacement would make line ends of what is none
        ensure_equal(header)


def test_letters_of_every_shape() -> None:
    for letter in corpus.letters(200, seed=3):
        ensure_equal(letter.octets)
    for composite in composed.letters(500):
        ensure_equal(composite.octets)


@pytest.mark.parametrize("count", [headers.MAX_FIELDS, headers.MAX_FIELDS + 1])
def test_many_fields(count: int) -> None:
    ensure_equal(b"".join(b"Subject: %d\r\n" % number for number in range(count)) + b"\r\n")


@pytest.mark.parametrize("octets", [headers.MAX_HEADER_OCTETS - 30, headers.MAX_HEADER_OCTETS, 2_000_000])
def test_long_fields(octets: int) -> None:
    fields, _, defects = read(b"Subject: one\r\nTo: " + b"x" * octets + b"\r\n\r\nbody")
    assert [b"one"] == fields["subject"]
    assert (octets > headers.MAX_HEADER_OCTETS - 30) == ("headers_truncated" in defects)


@given(WORD.map(lambda middle: f"=?utf-8?q?{middle}?=") | WORD)
def test_a_word_alone_is_read_as_one_with_a_blank_behind_it(text: str) -> None:
    alone, followed = Notes(), Notes()
    assert headers.decoded(text, alone) + " " == headers.decoded(text + " ", followed)
    assert alone.names() == followed.names()


@given(ID.map(lambda middle: b"<" + middle + b">") | ID)
def test_a_message_id_alone_is_read_as_one_with_a_blank_before_it(value: bytes) -> None:
    alone, preceded = Notes(), Notes()
    assert headers.message_ids(value, alone) == headers.message_ids(b" " + value if value else value, preceded)
    assert alone.names() == preceded.names()
