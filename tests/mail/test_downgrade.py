"""A message mended for its way: every part decodes to the octets that it had, by our reader and by the standard library's."""

import hashlib
from collections.abc import Callable
from email import message_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.errors import InputInvalid
from daemon.mail import downgrade, mime
from daemon.mail.defects import Notes
from daemon.wire import lines

HEAD = b"From: a@example.org\r\nMIME-Version: 1.0\r\n"
LONG = b"a" * 999


def leaves(message: bytes) -> list[bytes]:
    """The decoded content of each leaf."""
    found = mime.tree(message, Notes()).walk()
    return [b"".join(mime.content(part, Notes())) for part in found if not part.children]


def stdlib_leaves(message: bytes) -> list[bytes]:
    found = message_from_bytes(message).walk()
    return [part.get_payload(decode=True) for part in found if not part.is_multipart()]  # type: ignore[misc]  # bytes


def multipart(*parts: bytes, subtype: str = "mixed", boundary: str = "b", encoding: str = "8bit") -> bytes:
    delimiter = f"--{boundary}".encode()
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return head.encode() + b"preamble\r\n" + body + delimiter + b"--\r\nepilogue\r\n"


def text(content: str, more: str = "") -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\r\n{more}Content-Transfer-Encoding: 8bit\r\n\r\n{content}".encode()


# --- what is changed, and what is not ---------------------------------------------------------------------------------


def test_only_the_parts_that_need_it_change_and_their_labels() -> None:
    plain = b"Content-Type: text/plain\r\nX-Odd:   kept \r\n\r\nplain  \r\n"
    binary = b"Content-Type: image/png\r\ncontent-transfer-encoding:\r\n binary\r\nContent-ID: <x>\r\n\r\n\x89PNG\xff"
    inner = multipart(text("Grüße \r\n.\r\n"), plain, boundary="inner")
    before = HEAD + multipart(inner, binary, text("7 bit"))
    after = HEAD + multipart(
        multipart(
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe=20\r\n=2E\r\n",
            plain,
            boundary="inner",
            encoding="7bit",
        ),
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <x>\r\n\r\niVBORw==".replace(
            b"iVBORw==", b"iVBOR/8="
        ),
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n7 bit",
        encoding="7bit",
    )
    assert after == downgrade.seven_bit(before)
    assert after == downgrade.seven_bit(after)


def test_a_message_without_labels_gets_them() -> None:
    expected = (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    )
    assert expected == downgrade.seven_bit("Subject: x\r\n\r\nGrüße\r\n".encode())


def test_a_forwarded_message_is_mended_in_its_own_parts() -> None:
    inner = b"Subject: y\r\n\r\n\xfc\r\n"
    before = HEAD + multipart(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner)
    after = downgrade.seven_bit(before)
    assert after.isascii()
    assert b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: y\r\nMIME-Version" in after
    assert leaves(before) == leaves(after)


def test_a_soft_line_break_makes_no_delimiter() -> None:
    """74 characters, the soft line break behind them, and what follows would stand at the beginning of a line."""
    for offset in range(60, 80):
        before = HEAD + multipart(text("ü" + "x" * offset + "--b\r\n" + "y" * 200))
        assert leaves(before) == leaves(downgrade.seven_bit(before))


def test_long_lines_and_nul_are_encoded_without_loss_and_other_octets_stay() -> None:
    base64_in_one_line = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 300
    before = HEAD + multipart(text("Grüße\r\n"), b"\r\n" + LONG, base64_in_one_line, b"\r\na\0b")
    after = downgrade.carriable(before)
    assert downgrade.is_carriable(after)
    assert leaves(before) == leaves(after)
    assert text("Grüße\r\n") in after, "eight bits are not its business"
    short = HEAD + b"\r\n" + b"\r\n".join([b"a" * 998] * 3) + b"\r\n"
    assert short is downgrade.carriable(short)


@pytest.mark.parametrize(
    ("octets", "short"),
    [
        (b"", True),
        (b"a" * 998, True),
        (b"a" * 999, False),
        (b"a" * 998 + b"\r\n" + b"b" * 998 + b"\r\n", True),
        (b"\r\n" + b"a" * 999 + b"\r\n", False),
        (b"ab\r\n" * 1000 + b"a" * 999, False),
    ],
)
def test_the_length_of_lines_is_told(octets: bytes, *, short: bool) -> None:
    assert short == downgrade.has_short_lines(octets)


# --- what can't be mended ---------------------------------------------------------------------------------------------

SIGNED = multipart(text("ü"), b"Content-Type: application/pgp-signature\r\n\r\nsig", subtype="signed")
HOPELESS = {
    "in the header of the message": b"Subject: \xfc\r\n\r\nx\r\n",
    "in the header of part 1": HEAD + multipart(b"Content-Description: \xfc\r\n\r\nx"),
    "in the message: it is signed or encrypted (multipart/signed)": HEAD + SIGNED,
    "in part 2: it is signed or encrypted (multipart/signed)": HEAD + multipart(text("x"), SIGNED, boundary="outer"),
    "in the message: it is signed or encrypted (DKIM)": b"DKIM-Signature: v=1\r\n" + HEAD + b"\r\n\xfc\r\n",
    "in part 1.1: it is signed": HEAD
    + multipart(b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\ndkim-signature: v=1\r\n\r\n\xfc"),
    "in what stands between its parts": (HEAD + multipart(text("x"))).replace(b"preamble", b"pr\xe4amble"),
    "in part 1: RFC 2046 lets no message/delivery-status": HEAD
    + multipart(b"Content-Type: message/delivery-status\r\n\r\nX: \xfc"),
    "in part 1: it claims to be encoded already (quoted-printable)": HEAD
    + multipart(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n\xfc"),
    "in part 1: it claims to be base64": HEAD + multipart(b"Content-Transfer-Encoding: base64\r\n\r\n\xfc"),
    "in part 1: it says twice": HEAD
    + multipart(b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\xfc"),
    "its parts can't be told apart (boundary_missing)": HEAD + b"Content-Type: multipart/mixed\r\n\r\n\xfc\r\n",
}


@pytest.mark.parametrize("reason", HOPELESS)
def test_what_cannot_be_mended_is_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        downgrade.seven_bit(HOPELESS[reason])
    assert reason in str(refused.value)
    assert "no 8BITMIME" in str(refused.value)


def test_a_long_line_in_a_header_or_under_a_signature_is_refused_as_is_nul() -> None:
    for message in (
        b"X: \0\r\n\r\nx\r\n",
        b"X: " + LONG + b"\r\n\r\nx\r\n",
        b"DKIM-Signature: v=1\r\n\r\n" + LONG + b"\r\n",
    ):
        with pytest.raises(InputInvalid, match="a line of more than 998 octets"):
            downgrade.carriable(message)


# --- whatever the message ---------------------------------------------------------------------------------------------

OCTETS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\xc3\xbc", b"--b", b"--", b"=", b" ", b"\t", b"\r\n", b".", b"x" * 70, LONG])).map(
        b"".join
    ),
).map(lambda octets: lines.normalised(octets)[: None if octets.endswith((b"\n", b"\r")) else -2])
TYPES = st.sampled_from([b"text/plain", b"text/html; charset=utf-8", b"application/octet-stream"])
LABELS = st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n", b"CONTENT-transfer-encoding: binary (x)\r\n"])
LEAF = st.builds(
    lambda kind, label, octets: b"Content-Type: " + kind + b"\r\n" + label + b"\r\n" + octets, TYPES, LABELS, OCTETS
)


def _multipart(parts: list[bytes]) -> bytes:
    """No content holds its boundary: cutting it would be no fault of what is tested here."""
    return multipart(*parts, boundary="=_" + hashlib.sha256(b"".join(parts)).hexdigest())


def _enclosed(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    forwarded = inner.map(lambda one: b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + one)
    return st.lists(st.one_of(inner, forwarded), min_size=1, max_size=3).map(_multipart)


@settings(max_examples=150)
@given(st.recursive(LEAF, _enclosed, max_leaves=6), st.sampled_from([downgrade.seven_bit, downgrade.carriable]))
def test_every_leaf_keeps_its_octets(entity: bytes, mend: Callable[[bytes], bytes]) -> None:
    before = lines.normalised(HEAD + entity)
    after = mend(before)
    assert after.isascii() if mend is downgrade.seven_bit else downgrade.is_carriable(after)
    assert leaves(before) == leaves(after)
    assert stdlib_leaves(before) == stdlib_leaves(after)
    assert after == mend(after)
