"""Signatures that verify, whatever the letter is, and say what they were made of."""

import re
import sys
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.mail import sign
from daemon.wire import lines
from daemon.wire.secret import Secret

PEM, PKCS1 = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
PKCS8, OPEN = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
LETTER = b"From: Anna <anna@example.org>\r\nSubject: Hello\r\nTo: bob@example.net\r\n\r\nHello.  \t\r\n\r\n\r\n"


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 -- the smallest that is taken, for speed


@cache
def signer() -> sign.Signer:
    return of(key().private_bytes(PEM, PKCS1, OPEN))


def of(pem: bytes) -> sign.Signer:
    return sign.Signer(Secret(pem.decode()), selector="mail", domain="example.org", origin="DKIM key file k.pem")


def verifies(octets: bytes) -> bool:
    name, record = signer().record

    def txt(asked: bytes, timeout: int = 5) -> bytes:
        assert f"{name}." == asked.decode()
        return record.encode()

    return bool(dkim.verify(octets, dnsfunc=txt, minkey=1024))


def fields(signed: bytes) -> list[str]:
    """The field names that the signature in front covers."""
    tag = re.search(rb"h=([^;]*);", signed)
    assert tag
    return tag[1].decode().replace(" ", "").replace("\r\n", "").split(":")


def test_a_signature_verifies_by_the_record_that_is_to_be_published() -> None:
    signed = signer().sign(LETTER)
    assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;")
    assert signed.endswith(LETTER)
    assert verifies(signed)
    public = (
        key().public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    import base64

    assert ("mail._domainkey.example.org", f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}") == signer().record


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (lambda octets: octets.replace(b"Hello.  \t", b"Hello."), True),
        (lambda octets: octets.replace(b"Subject: Hello", b"SUBJECT:   Hello"), True),
        (lambda octets: b"Received: by x\r\n" + octets, True),
        (lambda octets: octets.replace(b"Hello.", b"Hallo."), False),
        (lambda octets: octets.replace(b"Subject: Hello", b"Subject: Hallo"), False),
        (lambda octets: octets.replace(b"\r\nFrom:", b"\r\nFrom: eve@example.com\r\nFrom:"), False),
    ],
)
def test_it_outlives_what_relays_do_and_nothing_else(change: object, *, holds: bool) -> None:
    assert callable(change)
    assert holds is verifies(change(b"X-First: 1\r\n" + signer().sign(LETTER)))


def test_fields_are_signed_as_often_as_they_are_there_and_from_once_more() -> None:
    head = b"Resent-From: a@example.org\r\nReceived: by x\r\nlist-id: <l>\r\nList-Id: <m>\r\nX-Mine: 1\r\nDKIM-Signature: v=1\r\n"
    expected = ["resent-from", "list-id", "list-id", "from", "subject", "to", "from"]
    assert expected == fields(signer().sign(head + LETTER))


@given(st.binary(max_size=300), st.sampled_from([b"", b" ", b"\t \r\n", b"\r\n\r\n", b"\xff\xc3"]))
@settings(max_examples=50)
def test_any_body_and_any_value_can_be_signed(octets: bytes, end: bytes) -> None:
    body = lines.normalised(octets + end)
    value = octets.replace(b"\r", b"").replace(b"\n", b"\r\n ")
    letter = b"From : anna@example.org\r\nSubject:" + value + b"x\r\n\r\n" + body
    assert verifies(signer().sign(letter).replace(b"From :", b"From:"))


@pytest.mark.parametrize(
    "letter",
    [
        b"Subject: x\r\n\r\nFrom: no\r\n",
        b"From: a@b.c\r\nX:" + b"\r\n x" * 300_000 + b"\r\n\r\n",
        b"From: a@b.c\r\nno field\r\n\r\nx\r\n",
        b"From a@b.c Mon\r\nFrom: a@b.c\r\n\r\n",
    ],
)
def test_what_has_no_author_or_no_clear_header_goes_as_it_is(letter: bytes) -> None:
    assert letter == signer().sign(letter)


def test_a_million_blanks_are_signed_in_no_time() -> None:
    """What dkim itself takes hours for: each blank would be a place to begin looking for a line's end."""
    assert verifies_body(b"x" + b" " * 1_000_000 + b"y\r\n")


def verifies_body(body: bytes) -> bool:
    """Compare with the signature of the body's canonical form, which dkim can read."""
    head = b"From: anna@example.org\r\n\r\n"
    hashes = [re.search(rb"bh=([^;]*);", signer().sign(head + one)) for one in (body, b"x y\r\n")]
    return len({found[1] for found in hashes if found}) == 1


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
def test_both_forms_of_pem_are_read_whatever_their_line_ends(form: serialization.PrivateFormat) -> None:
    pem = key().private_bytes(PEM, form, OPEN)
    for one in (pem, pem.replace(b"\n", b"\r\n")):
        assert signer().record == of(one).record


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "not an RSA key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n!!!!\n-----END RSA PRIVATE KEY-----\n", "not an RSA key"),
        (ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, OPEN), "not an RSA key"),
        (key().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x")), "not an RSA key"),
        (key().public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "not an RSA key"),
    ],
)
def test_what_is_no_key_is_said_without_showing_it(pem: bytes, reason: str) -> None:
    with pytest.raises(errors.SecretUnavailable) as caught:
        of(pem)
    assert str(caught.value).startswith("DKIM key file k.pem: ")
    assert reason in str(caught.value)


def test_without_the_extra_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dkim", None)
    with pytest.raises(errors.SecretUnavailable, match=r"pip install 'postroom\[dkim\]'"):
        of(b"")
