"""Replies are read leniently where it is harmless, and mean what their codes say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.mail.maildrop import Entry
from daemon.pop3 import replies


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[IN-USE] busy", "IN-USE"),
        ("[sys/temp] x", "SYS/TEMP"),
        ("no [AUTH]", None),
        ("[] x", None),
        ("[a b]", None),
        ("", None),
    ],
)
def test_a_response_code_stands_at_the_beginning(text: str, expected: str | None) -> None:
    assert expected == replies.code(text)


@pytest.mark.parametrize(
    ("text", "login", "expected"),
    [
        ("[IN-USE] do you have it open?", True, errors.MaildropLocked),
        ("[LOGIN-DELAY] wait", True, errors.LoginTooSoon),
        ("[SYS/TEMP] disk", True, errors.ServerTrouble),
        ("[SYS/TEMP/QUOTA] disk", False, errors.ServerTrouble),
        ("[SYS/PERM] gone", True, errors.ServerBroken),
        ("[AUTH] wrong", True, errors.AuthFailed),
        ("[AUTH] wrong, mailbox locked", True, errors.AuthFailed),
        ("wrong password", True, errors.AuthFailed),
        ("", True, errors.AuthFailed),
        ("maildrop already locked", True, errors.MaildropLocked),  # RFC 1939's own examples
        ("unable to lock maildrop", True, errors.MaildropLocked),
        ("account locked", True, errors.AuthFailed),
        ("no such message", False, errors.CommandRefused),
    ],
)
def test_a_refusal_means_what_its_code_says(text: str, expected: type[errors.PostroomError], *, login: bool) -> None:
    error = replies.refusal("mail.example:995", "to PASS ***", text, login=login)
    assert expected is type(error)
    assert str(error).startswith("mail.example:995: ")
    assert "\n" not in str(error)


def test_a_refusal_with_odd_octets_is_one_clean_line() -> None:
    assert r"\x1b[2J\n" in str(replies.refusal("m:1", "to NOOP", "\x1b[2J\n" + "x" * 9999))


def test_capabilities_are_read_whatever_their_case() -> None:
    one = replies.capabilities(
        [
            b"top",
            b"UIDL",
            b"Sasl plain LOGIN",
            b"SASL CRAM-MD5",
            b"LOGIN-DELAY 900 USER",
            b"EXPIRE 60 USER",
            b"",
            b"\xff x",
            b"IMPLEMENTATION Shlemazle Plotz",
        ]
    )
    assert (True, True, False, False) == (one.top, one.uidl, one.pipelining, one.stls)
    assert {"PLAIN", "LOGIN", "CRAM-MD5"} == one.sasl
    assert (900, "60 USER", "Shlemazle Plotz") == (one.login_delay, one.expire, one.implementation)
    assert {"TOP", "UIDL", "SASL", "LOGIN-DELAY", "EXPIRE", "IMPLEMENTATION", "\\XFF"} == one.names


def test_without_capa_top_and_uidl_are_worth_a_try() -> None:
    assert (True, True, False) == (
        replies.Capabilities().top,
        replies.Capabilities().uidl,
        replies.Capabilities().pipelining,
    )


@pytest.mark.parametrize(("text", "expected"), [("2 320", (2, 320)), ("  0  0 octets", (0, 0))])
def test_stat_has_two_numbers(text: str, expected: tuple[int, int]) -> None:
    assert expected == (replies.stat(text).count, replies.stat(text).octets)


@pytest.mark.parametrize("text", ["", "2", "two 2", "-1 5", "1_0 5", "9" * 5000 + " 1", "\udcff 1"])
def test_a_stat_without_numbers_is_a_violation(text: str) -> None:
    with pytest.raises(errors.ProtocolViolation, match="STAT"):
        replies.stat(text)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"whqtswO00WBw418f9t5JxYwZ", "whqtswO00WBw418f9t5JxYwZ"),
        (rb"a\b", r"a\\b"),
        (b"a\xffb\x00", r"a\xffb\x00"),
        (rb"a\xff", r"a\\xff"),
        (b"a b", "a b"),
        (b"x" * 900, "x" * 900),
    ],
)
def test_a_uidl_is_text(octets: bytes, expected: str) -> None:
    assert expected == replies.uidl_text(octets)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=9), st.binary(max_size=9))
def test_different_uidls_are_different_texts(one: bytes, other: bytes) -> None:
    assert (one == other) == (replies.uidl_text(one) == replies.uidl_text(other))
    assert replies.uidl_text(one).isprintable()


def test_list_lines_may_have_spaces_and_text_behind() -> None:
    lines = [
        b"1 120",
        b"2   200  (bytes)",
        b"  3 5 ",
        b"4",
        b"x 5",
        b"0 7",
        b"-6 1",
        b"7 1_0",
        b"8 " + b"9" * 40,
        b"",
        b"9 1",
        b"9 2",
    ]
    assert {1: 120, 2: 200, 3: 5, 4: None, 7: None, 8: None, 9: None} == replies.sizes(lines)


def test_a_uidl_is_all_behind_the_number() -> None:
    lines = [b"1 a", b"2   b c ", b"3", b"4 d\xe9", b"5 e", b"5 f", b"6 g", b"6 g"]
    assert {1: "a", 2: "b c", 4: r"d\xe9", 5: None, 6: "g"} == replies.uidls(lines)


def test_list_and_uidl_are_matched_by_number() -> None:
    assert (
        Entry(number=1, uidl="a", octets=10),
        Entry(number=3, uidl=None, octets=30),
        Entry(number=9, uidl="z", octets=None),
    ) == replies.entries([b"3 30", b"1 10"], [b"9 z", b"1 a"])
