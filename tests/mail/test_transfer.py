"""Base64 is read as its letters alone say, however they are laid out, and what is wrong is noted wherever it stands."""

import base64
import binascii
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mail import transfer
from daemon.mail.defects import Notes

DAMAGED = ("base64_damaged",)
ODDITIES = [*(bytes([one]) for one in b" \t\r\n\v\f=!-\0\xffA"), b"\r\n", b"==", b"QUJD"]
CONTENT = Random(1).randbytes(2 * transfer.PIECE_OCTETS)


def decoded(encoded: bytes) -> tuple[bytes, tuple[str, ...]]:
    notes = Notes()
    return b"".join(transfer.decoded(b"--b\n" + encoded, 4, 4 + len(encoded), "base64", None, notes)), notes.names()


def letter_by_letter(encoded: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Do the same, slowly."""
    shown = [bytes([one]) for one in encoded if bytes([one]) not in b" \t\r\n\v\f"]
    sound = [one for one in shown if one.isalnum() or one in b"+/="]
    letters, padding, after = b"".join(sound).partition(b"=")
    lacking = -len(letters) % 4
    is_damaged = sound != shown or lacking == 3 or (lacking and not padding) or after.strip(b"=")
    whole = letters[:-1] if lacking == 3 else letters + b"=" * lacking
    return binascii.a2b_base64(whole), DAMAGED if is_damaged else ()


@given(
    pieces=st.lists(st.one_of(st.sampled_from(ODDITIES), st.binary(max_size=100).map(base64.encodebytes)), max_size=12),
    width=st.integers(1, 9),
    octets=st.integers(0, 60),
)
def test_whatever_lies_between_the_letters_they_say_what_they_say(pieces: list[bytes], width: int, octets: int) -> None:
    letters = base64.b64encode(CONTENT[:octets])
    lines = b"".join(letters[at : at + width] + b"\r\n" for at in range(0, len(letters), width))
    for encoded in (lines + b"".join(pieces), b"".join(pieces) + lines):
        assert letter_by_letter(encoded) == decoded(encoded)


@pytest.mark.parametrize("width", [76, 75, 9, 998, 2000, len(CONTENT) * 2])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_lines_are_of_any_length(width: int, end: bytes) -> None:
    letters = base64.b64encode(CONTENT + b"x")
    encoded = end.join(letters[at : at + width] for at in range(0, len(letters), width))
    assert (CONTENT + b"x", ()) == decoded(encoded)
    assert (CONTENT + b"x", ()) == decoded(b" " + end + encoded + end + end)


@pytest.mark.parametrize("piece", range(3))
@pytest.mark.parametrize("damage", [b"!", b"\xff", b"\0", b"-"])
def test_junk_is_passed_over_and_noted_in_whichever_piece_it_stands(piece: int, damage: bytes) -> None:
    encoded = base64.encodebytes(CONTENT).replace(b"\n", b"\r\n")
    at = piece * transfer.PIECE_OCTETS + 100
    assert (CONTENT, DAMAGED) == decoded(encoded[:at] + damage + encoded[at:])


@pytest.mark.parametrize("piece", range(3))
def test_padding_ends_it_in_whichever_piece_it_stands(piece: int) -> None:
    at = piece * transfer.PIECE_OCTETS // 78 * 78
    encoded = base64.encodebytes(CONTENT).replace(b"\n", b"\r\n")
    taken = base64.b64decode(encoded[:at])
    assert (taken + b"ab", DAMAGED) == decoded(encoded[:at] + b"YWI=\r\n" + encoded[at:])
