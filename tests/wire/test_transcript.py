"""A transcript tells all of a session, except its secrets."""

import base64

import pytest

from daemon.wire.secret import Secret
from daemon.wire.transcript import Line, Transcript, new_session_id
from tests.secrets_used import PASSWORD


def test_a_transcript_reads_like_the_session() -> None:
    seen: list[Line] = []
    transcript = Transcript("s1", "work", seen.append)
    transcript.noted("connected")
    transcript.said("USER anna", 11)
    transcript.heard("+OK", 5)
    assert "* connected\n> USER anna\n< +OK" == transcript.text()
    assert [Line("*", "connected", 0), Line(">", "USER anna", 11), Line("<", "+OK", 5)] == seen


@pytest.mark.parametrize("before", ["", "\0anna\0", "n,a=anna,\x01auth=Bearer ", "x", "xy"])
@pytest.mark.parametrize("after", ["", "\x01\x01", "z"])
def test_a_secret_is_scrubbed_in_any_base64(before: str, after: str) -> None:
    seen: list[Line] = []
    transcript = Transcript("s1", "work", seen.append)
    transcript.guard(Secret(PASSWORD))
    echoed = base64.b64encode(f"{before}{PASSWORD}{after}".encode()).decode()
    transcript.heard(f"-ERR you said {echoed}", 1)
    middle = base64.b64encode(PASSWORD.encode()).decode()[4:-4]
    for text in (transcript.text(), seen[0].shown):
        assert "***" in text
        assert middle not in text
        assert base64.b64encode(("xx" + PASSWORD).encode()).decode()[8:-4] not in text
        assert base64.b64encode(("x" + PASSWORD).encode()).decode()[8:-4] not in text


def test_an_echoed_login_is_scrubbed_whole() -> None:
    transcript = Transcript("s1", "work")
    transcript.heard(f"-ERR {PASSWORD}", 1)  # guarded later: what is kept is scrubbed too
    transcript.guard(Secret(PASSWORD), username="anna")
    transcript.heard(base64.b64encode(f"\0anna\0{PASSWORD}".encode()).decode(), 1)
    transcript.heard(PASSWORD.encode().decode("latin-1"), 1)
    assert "< -ERR ***\n< ***\n< ***" == transcript.text().replace("***==", "***").replace("***=", "***")


def test_a_secret_at_the_cut_of_a_long_line_is_scrubbed_first() -> None:
    transcript = Transcript("s1", "work")
    transcript.guard(Secret(PASSWORD))
    transcript.heard("x" * 490 + PASSWORD, 1)
    assert PASSWORD[:4] not in transcript.text()


def test_odd_characters_and_long_lines_are_made_safe() -> None:
    transcript = Transcript("s1", "work")
    transcript.heard("+OK \x1b[2J\nhé\ud800", 1)
    transcript.heard("y" * 10_000, 1)
    odd, long = transcript.lines()
    assert r"+OK \x1b[2J\nhé\ud800" == odd.shown
    assert 500 == len(long.shown)


def test_only_the_last_lines_are_kept_and_it_says_so() -> None:
    transcript = Transcript("s1", "work", keep=2)
    for number in range(5):
        transcript.said(f"NOOP {number}", 6)
    assert "* 3 earlier lines are not kept\n> NOOP 3\n> NOOP 4" == transcript.text()


def test_session_ids_differ() -> None:
    one, other = new_session_id(), new_session_id()
    assert one != other
    assert 12 == len(one) == len(other)
