"""format=flowed: RFC 3676."""

import pytest

from daemon.mail import flowed, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ntext\n", "plain\ntext\n"),
        ("one \nline\n\nmore", "one line\n\nmore"),
        ("> a \n> b\n>> c \n>> d\n", "> a b\n>> c d\n"),
        ("> a \nb", "> a \nb"),  # the depth changes: the flow was broken, section 4.5
        (">a \n> b", "> a b"),
        (" From here\n  two\n >no quote", "From here\n two\n>no quote"),  # stuffed, section 4.4
        ("a \n-- \nAnna", "a \n-- \nAnna"),
        ("> -- \n> Anna", "> -- \n> Anna"),
        ("a \n \nb", "a \nb"),
        ("open end ", "open end "),
    ],
)
def test_paragraphs_are_put_together(text: str, expected: str) -> None:
    assert expected == flowed.unwrapped(text, delsp=False)


def test_the_blank_is_no_part_of_the_text_where_it_says_so() -> None:
    assert "\u4f1a\u8b70\u306f\n> a" == flowed.unwrapped("\u4f1a\u8b70 \n\u306f\n> a", delsp=True)


@pytest.mark.parametrize(
    ("delsp", "expected"), [("", "two words\n> quoted text"), ("; DelSp=Yes", "twowords\n> quotedtext")]
)
def test_a_letter_that_flows_is_read_in_paragraphs(delsp: str, expected: str) -> None:
    head = f"From: a@example.org\r\nContent-Type: text/plain; Format=Flowed{delsp}\r\n\r\n"
    found = parse.parse(head.encode() + b"two \r\nwords\r\n> quoted \r\n> text\r\n")
    assert expected == found.body_text
    assert expected[slice(*found.quoted_ranges[0])].startswith("> quoted")
