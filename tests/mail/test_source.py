"""A source that is read in parts is to the parser what the whole is."""

from random import Random

import pytest

from daemon import errors
from daemon.mail import parse
from daemon.mail.source import PARTS_HELD, Source
from tests import corpus

TEXT = b"one\r\n--b\r\ntwo\r\n--b--\r\n"


def cut(octets: bytes, *sizes: int) -> Source:
    """Cut into parts of these sizes in turn."""
    parts: list[bytes] = []
    while octets:
        size = sizes[len(parts) % len(sizes)]
        parts.append(octets[:size])
        octets = octets[size:]
    return Source([len(part) for part in parts], parts.__getitem__)


@pytest.mark.parametrize("letter", list(corpus.letters(120, seed=3)), ids=lambda letter: letter.shape)
def test_wherever_it_is_cut_the_columns_are_the_same(letter: corpus.Letter) -> None:
    whole = parse.parse(letter.octets)
    random = Random(letter.octets[:200])
    small = max(1, len(letter.octets) // 500)
    for sizes in ((small,), (7 * small, small), (random.randint(1, len(letter.octets) + 1),)):
        assert whole == parse.parse(cut(letter.octets, *sizes))


def test_line_ends_of_old_macs_are_read_in_parts_too() -> None:
    raw = b"From: a@example.org\rDate: Mon, 23 Nov 2026 12:00:00 +0000\rSubject: apple\r\rpie\r"
    assert parse.parse(raw) == parse.parse(cut(raw, 5))
    assert "apple" == parse.parse(cut(raw, 5)).subject


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_it_answers_as_bytes_do(size: int) -> None:
    source = cut(TEXT, size)
    assert len(TEXT) == len(source)
    places = range(len(TEXT) + 2)
    for start in places:
        for end in places:
            assert TEXT[start:end] == source[start:end]
            for needle in (b"o", b"--b", b"\r\n--b--", b"absent"):
                assert TEXT.find(needle, start, end) == source.find(needle, start, end)
                assert TEXT.startswith(needle, start, end) == source.startswith(needle, start, end)


def test_few_parts_are_held() -> None:
    source = cut(TEXT, 1)
    assert b"two" in source
    assert PARTS_HELD >= len(source._held)


def test_a_blank_delimiter_line_of_any_length_is_one() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b" + b" " * 1000
    assert "one" == parse.parse(head + b"\r\n\r\none\r\n--b--").body_text
    assert "boundary_missing" in parse.parse(head + b"x\r\n\r\none").defects


def test_what_can_not_be_read_is_not_the_messages_fault() -> None:
    def lost(_part: int) -> bytes:
        raise errors.StoreError("the disk is gone")

    with pytest.raises(errors.StoreError, match="gone"):
        parse.parse(Source([10], lost))
