"""The generated letters are what tests rely on: repeatable, all different, and sendable by POP3 as they are."""

import hashlib

from tests import corpus


def test_the_same_seed_gives_the_same_letters() -> None:
    digests = [
        hashlib.sha256(b"".join(one.octets for one in corpus.letters(100, seed=7))).hexdigest() for _ in range(2)
    ]
    assert digests[0] == digests[1]


def test_five_hundred_letters_are_all_different_and_of_every_shape() -> None:
    letters = list(corpus.letters(500))
    assert 500 == len({one.octets for one in letters})
    assert {shape.__name__ for shape in corpus.SHAPES} == {one.shape for one in letters}


def test_every_letter_is_sent_as_it_is() -> None:
    for letter in corpus.letters(500):
        assert corpus.as_sent(letter.octets) == letter.octets, letter.shape


def test_a_letter_with_bare_line_feeds_and_no_end_is_sent_with_crlf() -> None:
    assert b"a\r\nb\rc\r\n\r\nd\r\n" == corpus.as_sent(b"a\nb\rc\n\r\nd")
