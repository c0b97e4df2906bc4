"""Framing holds wherever the octets are cut, and gives back what was stuffed."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.wire.lines import BodyReader, LineReader, normalised, stuff, stuffed_pieces, unstuff

MEAL = st.lists(st.sampled_from([b"\r\n", b"\r\n.", b".", b"a", b"\r", b"\n", b"..", b"\x00\xff"]), max_size=12).map(
    b"".join
)


def cut(octets: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(one % (len(octets) + 1) for one in cuts), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(places)]


def read(pieces: list[bytes]) -> tuple[list[bytes], bytes, bool, bytes]:
    """Read a status line and the body behind it: lines, body, whether it ended, what is left."""
    lines, body, status = LineReader(64), b"", []
    reader: BodyReader | None = None
    for piece in pieces:
        lines.feed(piece)
        if reader is None and (line := lines.next_line()) is not None:
            status.append(line)
            reader = BodyReader(lenient=lines.ended_bare)
        if reader is not None and not reader.done:
            body += lines.take_body(reader)
    return status, body, reader is not None and reader.done, lines.buffer[lines.start :]


@settings(max_examples=60, deadline=None)
@given(content=MEAL, cuts=st.lists(st.integers(0, 1000), max_size=6))
@example(content=b".\r\n", cuts=[])
def test_a_body_comes_out_as_it_was_wherever_it_is_cut(content: bytes, cuts: list[int]) -> None:
    content = content + b"\r\n" if content and not content.endswith(b"\r\n") else content
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    wire = b"+OK here\r\n" + stuffed + b".\r\n+OK next\r\n"
    expected = ([b"+OK here"], content, True, b"+OK next\r\n")
    assert expected == read([wire])
    assert expected == read([wire[i : i + 1] for i in range(len(wire))])
    assert expected == read(cut(wire, cuts))


@pytest.mark.parametrize(
    ("wire", "body", "done"),
    [
        (b"+OK\r\n.\r\n", b"", True),
        (b"+OK\r\n\r\n.\r\n", b"\r\n", True),
        (b"+OK\r\na\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", True),  # a dot between bare LFs is content: no smuggling
        (b"+OK\r\na\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", True),
        (b"+OK\r\na\r.\r\n.\r\n", b"a\r.\r\n", True),
        (b"+OK\r\n.a\r\n.\r\n", b"a\r\n", True),  # RFC 1939 section 3: a leading dot is stripped, doubled or not
        (b"+OK\r\na\n.\n", b"a", False),
        (b"+OK\na\n..b\n.\n", b"a\n.b\n", True),  # a server of bare LFs
        (b"+OK\n.\n", b"", True),
        (b"+OK\na\r\n.\r\n", b"a\r\n", True),
    ],
)
def test_the_terminator_is_what_the_server_uses(wire: bytes, body: bytes, *, done: bool) -> None:
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        _status, got, ended, _rest = read(pieces)
        assert (done, True) == (ended, got.startswith(body))
        assert body == got or not done


def test_lines_end_in_crlf_or_lf() -> None:
    lines = LineReader(8)
    lines.feed(b"a\r\nb\n\r\n\nc\rd\r\ne")
    assert [b"a", b"b", b"", b"", b"c\rd", None] == [lines.next_line() for _ in range(6)]
    assert 1 == lines.buffered


@pytest.mark.parametrize("wire", [b"123456789\r\n", b"1234567890", b"1" * 100_000])
def test_a_line_beyond_its_cap_is_refused_before_it_is_whole(wire: bytes) -> None:
    lines = LineReader(7)
    lines.feed(wire)
    with pytest.raises(errors.TooLong, match="7 octets"):
        lines.next_line()


@settings(max_examples=60, deadline=None)
@given(MEAL | st.binary(max_size=40))
def test_stuffed_content_is_safe_and_comes_back(octets: bytes) -> None:
    stuffed = stuff(octets)
    assert unstuff(stuffed) == normalised(octets)
    assert stuffed.endswith(b"\r\n")
    assert not stuffed.startswith(b".\r\n")
    assert b"\r\n.\r\n" not in stuffed
    assert stuffed.count(b"\r") == stuffed.count(b"\n") == stuffed.count(b"\r\n")


@given(st.text(".\r\nx", max_size=60).map(str.encode), st.integers(1, 9))
def test_content_stuffed_in_pieces_is_content_stuffed(octets: bytes, most: int) -> None:
    normal = normalised(octets)
    assert stuff(octets) == b"".join(stuffed_pieces(normal, most)) == b"".join(stuffed_pieces(normal, 1000))
