"""A header with CRLF, which has a quick way of its own, is read as one with bare line feeds, which has not."""

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


def read(octets: bytes) -> tuple[headers.Fields, bytes, tuple[str, ...]]:
    """Give the fields, what is behind them, and the defects."""
    notes = Notes()
    fields, body = headers.read(octets, 0, len(octets), notes)
    return fields, octets[body:], notes.names()


def ensure_equal(octets: bytes) -> None:
    fields, body, defects = read(octets)
    assert (fields, body.replace(b"\r\n", b"\n"), defects) == read(octets.replace(b"\r\n", b"\n"))


@given(st.lists(PIECES, max_size=25).map(b"".join))
def test_whatever_a_header_is_made_of(octets: bytes) -> None:
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
