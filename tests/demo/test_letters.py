"""The demo's sample mail."""

from daemon.demo import letters
from daemon.mail import parse


def test_the_letters_are_always_the_same_and_no_two_are_equal() -> None:
    assert letters.sample() == letters.sample()
    assert len(letters.sample()) == len(set(letters.sample()))


def test_the_letters_have_proper_line_ends() -> None:
    for octets in letters.sample():
        assert octets.endswith(b"\r\n")
        assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")


def test_the_search_of_the_demo_finds_a_letter() -> None:
    assert any(letters.SEARCH in parse.parse(octets).body_text for octets in letters.sample())


def test_a_thread_two_broken_ones_and_some_with_files_are_among_them() -> None:
    found = [parse.parse(octets) for octets in letters.sample()]
    assert 3 == sum("Lunch" in one.subject for one in found)
    assert 2 == sum(bool(one.defects) for one in found)
    assert 6 == sum(bool(one.attachments) for one in found)
    assert any(one.from_address == "bob@example.net" for one in found)
