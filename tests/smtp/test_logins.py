"""Logins at a relay beyond PLAIN and LOGIN: the same table, over 334 and 235 (RFC 4954)."""

import base64

import pytest

from daemon import errors
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.transcript import Transcript
from tests.doubles.scram_server import server_final, server_first
from tests.doubles.smtp_double import Connect, Line, RawRelay
from tests.secrets_used import PASSWORD, TOKEN

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))
WITH_TOKEN = Credentials(username="anna", secret=Secret(TOKEN))


def encoded(octets: bytes) -> bytes:
    return b"334 " + base64.b64encode(octets) + b"\r\n"


def begun(line: Line, mechanisms: bytes) -> bytes:
    """Greet, offer; return the AUTH line."""
    line.say(b"220 x\r\n")
    line.hear()
    line.say(b"250-relay.example\r\n250 AUTH " + mechanisms + b"\r\n")
    return line.hear()


@pytest.mark.parametrize("is_right", [True, False])
def test_scram_with_a_relay_that_must_prove_itself(connect: Connect, transcript: Transcript, *, is_right: bool) -> None:
    def play(line: Line) -> None:
        _auth, mechanism, initial = begun(line, b"PLAIN SCRAM-SHA-256").split()
        assert b"SCRAM-SHA-256" == mechanism
        opening = base64.b64decode(initial)
        first = server_first(opening.rpartition(b"r=")[2].decode() + "more")
        line.say(encoded(first))
        final = base64.b64decode(line.hear())
        signed = server_final("SCRAM-SHA-256", PASSWORD, opening, first, final)
        line.say(encoded(signed if is_right else b"v=AAAA"))
        if is_right:
            assert b"\r\n" == line.hear()
            line.say(b"235 fine\r\n")

    with RawRelay(play) as relay:
        if is_right:
            connect(relay.port, ANNA).close()
        else:
            with pytest.raises(errors.AuthFailed, match="does not know the password"):
                connect(relay.port, ANNA)
    assert "> AUTH SCRAM-SHA-256 ***" in transcript.text()


def test_a_relay_that_lets_everybody_in_is_not_trusted(connect: Connect) -> None:
    def play(line: Line) -> None:
        begun(line, b"SCRAM-SHA-1")
        line.say(b"235 fine\r\n")

    with RawRelay(play) as relay, pytest.raises(errors.AuthFailed, match="did not prove"):
        connect(relay.port, ANNA)


@pytest.mark.parametrize(("auth", "answer"), [("xoauth2", b"\r\n"), ("oauthbearer", b"AQ==\r\n")])
def test_a_refused_token_says_its_status_and_may_be_followed_by_a_good_one(
    connect: Connect, transcript: Transcript, auth: str, answer: bytes
) -> None:
    def play(line: Line) -> None:
        if auth == "xoauth2":
            assert b"AUTH XOAUTH2\r\n" == begun(line, b"XOAUTH2 OAUTHBEARER")
            line.say(b"334 \r\n")
            assert f"user=anna\x01auth=Bearer {TOKEN}\x01\x01".encode() == base64.b64decode(line.hear())
        else:
            begun(line, b"XOAUTH2 OAUTHBEARER")
        line.say(encoded(b'{"status":"400","schemes":"bearer"}'))
        assert answer == line.hear()
        line.say(b"535 5.7.8 no\r\n")

    with RawRelay(play) as relay, pytest.raises(errors.AuthFailed, match="status 400") as caught:
        connect(relay.port, WITH_TOKEN, auth=auth)
    assert not caught.value.is_certain
    assert TOKEN not in transcript.text() + str(caught.value)
