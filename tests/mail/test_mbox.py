"""An mbox gives every message back as it was put in, whatever its octets; other people's files come as they are."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail import mbox

AT = datetime(2026, 11, 3, 12, 0, 5, tzinfo=UTC)
LINE = b"From bob@example.net Tue Nov  3 12:00:05 2026\n"
# What quoting, framing and cutting stumble over, strung together.
NASTY = st.lists(
    st.sampled_from(
        [b">", b"From ", b"Fro", b"m ", b"\n", b"\r\n", b"\r", b"", LINE, b"Content-Length: 0\n", b"\0\xff"]
    )
    | st.binary(max_size=9)
).map(b"".join)


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(octets[:size])
        octets = octets[size:]
    return [*parts, octets]


def written(messages: list[bytes]) -> bytes:
    return b"".join(LINE + b"".join(mbox.quoted([one])) + b"\n" for one in messages)


def read(file: bytes, *, by_length: bool = False) -> list[bytes]:
    found = mbox.extents(lambda at, octets: file[at : at + octets], len(file), by_length=by_length)
    return [file[begin:end] for begin, end in found]


def unquoted(file: bytes) -> list[bytes]:
    return [b"".join(mbox.unquoted([one])) for one in read(file)]


def test_the_from_line_is_that_of_asctime() -> None:
    assert LINE == mbox.from_line("bob@example.net", AT)


@given(messages=st.lists(NASTY, max_size=5))
def test_messages_come_back_octet_for_octet(messages: list[bytes]) -> None:
    assert messages == unquoted(written(messages))


@given(messages=st.lists(NASTY, max_size=5), block=st.integers(1, 70))
@settings(max_examples=60)
def test_blocks_of_any_size_part_the_same_messages(messages: list[bytes], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mbox, "BLOCK_OCTETS", block)
        assert messages == unquoted(written(messages))


@given(octets=NASTY, sizes=st.lists(st.integers(0, 7), max_size=9))
def test_it_does_not_matter_where_parts_are_cut(octets: bytes, sizes: list[int]) -> None:
    whole = b"".join(mbox.quoted([octets]))
    assert whole == b"".join(mbox.quoted(cut(octets, sizes)))
    assert octets == b"".join(mbox.unquoted(cut(whole, sizes)))


def test_a_line_without_an_end_is_not_held_back() -> None:
    parts = [b">" * 1000] * 50
    assert [1000] * 50 == [len(one) for one in mbox.quoted(parts)]


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        (b"", []),
        (b"no mailbox\n", []),
        (b"stray\n" + LINE + b"a\n\n", [b"a\n"]),
        (LINE + b"a\n\n" + LINE + b"b\n\n", [b"a\n", b"b\n"]),
        (LINE + b"a\n\nFrom here on\n\n", [b"a\n\nFrom here on\n"]),
        (LINE + b"a\n" + LINE + b"b", [b"a", b"b"]),
        (LINE + LINE, [b"", b""]),
        (b"From bob\na\n\nFrom carol\nb\n\n", [b"a\n", b"b\n"]),
        (b"From 18@xxx Tue Nov 03 12:00:05 +0000 2026\r\na\r\n\r\nFrom 19@xxx Tue Nov 03 12:00:05 +0000 2026\r\nb\r\n\r\n",
         [b"a\r\n", b"b\r\n"]),
        (b"From - Tue Nov  3 12:00:05 2026\na\n\n", [b"a\n"]),
        (b"From x@example.org  Tue Nov  3 12:00 MET 2026\na\n\n", [b"a\n"]),
    ],
)  # fmt: skip
def test_other_programs_files_are_parted(file: bytes, messages: list[bytes]) -> None:
    assert messages == read(file)


def test_a_length_is_believed_where_it_is_asked_for_and_leads_to_the_next_message() -> None:
    body = b"text\n" + LINE + b"quoted by nobody\n"
    liar = b"Content-Length: 99\n\nshort\n"
    last = b"Content-Length: 2\n\nb\n"
    file = b"".join(LINE + one + b"\n" for one in (b"Content-Length: %d\n\n" % len(body) + body, liar, last))
    assert [b"Content-Length: %d\n\n" % len(body) + body, liar, last] == read(file, by_length=True)
    assert 4 == len(read(file))


@pytest.mark.parametrize(("beginning", "expected"), [(LINE, True), (b"From: a\n", False), (b"From here on\n", False)])
def test_an_mbox_is_told_by_its_first_line(beginning: bytes, *, expected: bool) -> None:
    assert expected == mbox.is_mbox(beginning)
