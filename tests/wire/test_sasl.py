"""The right mechanism is chosen, and says what its RFC says."""

import pytest

from daemon import errors
from daemon.wire import sasl
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from tests.secrets_used import PASSWORD

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))


def test_plain_is_one_message() -> None:
    assert f"\0anna\0{PASSWORD}".encode() == sasl.start("PLAIN", ANNA).initial()


def test_login_answers_name_then_password() -> None:
    exchange = sasl.start("login", ANNA)
    assert exchange.initial() is None
    assert [b"anna", PASSWORD.encode()] == [exchange.respond(b"Username:"), exchange.respond(b"")]
    with pytest.raises(errors.ProtocolViolation):
        exchange.respond(b"again")


def test_plain_refuses_a_challenge_and_a_nul() -> None:
    with pytest.raises(errors.ProtocolViolation):
        sasl.start("PLAIN", ANNA).respond(b"what")
    with pytest.raises(errors.InputInvalid, match="NUL"):
        sasl.start("PLAIN", Credentials(username="a\0b", secret=Secret("x")))


@pytest.mark.parametrize(
    ("offered", "auth", "expected"),
    [
        ({"LOGIN", "PLAIN"}, "auto", "PLAIN"),
        ({"login"}, "auto", "LOGIN"),
        ({"LOGIN", "PLAIN", "X"}, "login", "LOGIN"),
    ],
)
def test_the_best_offered_mechanism_is_taken(offered: set[str], auth: str, expected: str) -> None:
    assert expected == sasl.choose(offered, auth, encrypted_or_loopback=True)


@pytest.mark.parametrize(
    ("offered", "auth", "private", "complaint"),
    [
        (set(), "auto", True, "offers none"),
        ({"GSSAPI"}, "auto", True, "offers GSSAPI"),
        ({"PLAIN"}, "login", True, "LOGIN is needed"),
        ({"PLAIN"}, "kerberos", True, "no such mechanism"),
        ({"PLAIN"}, "auto", False, "open line"),
    ],
)
def test_nothing_usable_is_said_clearly(offered: set[str], auth: str, *, private: bool, complaint: str) -> None:
    with pytest.raises(errors.AuthUnavailable, match=complaint):
        sasl.choose(offered, auth, encrypted_or_loopback=private)


def test_an_open_line_is_used_only_when_asked_for() -> None:
    assert "PLAIN" == sasl.choose({"PLAIN"}, "auto", encrypted_or_loopback=False, plaintext_wanted=True)
