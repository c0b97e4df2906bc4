"""The right mechanism is chosen, and says what its RFC says."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import errors
from daemon.wire import sasl
from daemon.wire.sasl import Channel, Credentials
from daemon.wire.sasl.prepared import prepared
from daemon.wire.secret import Secret
from tests.doubles.scram_server import server_final, server_first
from tests.secrets_used import PASSWORD, TOKEN

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))
BOUND = Channel(nonce="n0nce", binding=("tls-unique", b"\x00\x01\xff"), has_certificate=True, host="h", port=995)
GOOGLE_ERROR = b'{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}\n'
SCRAMS = [name for name in sasl.MECHANISMS if name.startswith("SCRAM")]


def who(username: str, secret: str) -> Credentials:
    return Credentials(username=username, secret=Secret(secret))


# --- what the RFCs print --------------------------------------------------------------------------------------------


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
        sasl.start("PLAIN", who("a\0b", "x"))


def test_cram_md5_as_in_rfc_2195() -> None:
    exchange = sasl.start("CRAM-MD5", who("tim", "tanstaaftanstaaf"))
    assert exchange.initial() is None
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert b"tim b913a602c7eda7a495b4e6e7334d3890" == exchange.respond(challenge)
    with pytest.raises(errors.ProtocolViolation):
        exchange.respond(challenge)


@pytest.mark.parametrize(
    ("name", "nonce", "first", "proof", "final"),
    [
        (  # RFC 5802 section 5
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (  # RFC 7677 section 3
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_scram_as_in_its_rfc(name: str, nonce: str, first: bytes, proof: bytes, final: bytes) -> None:
    exchange = sasl.start(name, who("user", "pencil"), Channel(nonce=nonce))
    assert f"n,,n=user,r={nonce}".encode() == exchange.initial()
    assert proof == exchange.respond(first)
    assert "did not prove" in (exchange.objection(accepted=True) or "")
    assert b"" == exchange.respond(final)
    assert exchange.objection(accepted=True) is None


def test_xoauth2_as_google_prints_it() -> None:
    exchange = sasl.start("XOAUTH2", who("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"))
    printed = (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRj"
        b"Mk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    assert printed == base64.b64encode(exchange.initial() or b"")


def test_oauthbearer_as_in_rfc_7628() -> None:
    credentials = who("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    exchange = sasl.start("OAUTHBEARER", credentials, Channel(host="server.example.com", port=143))
    printed = (  # section 4.1
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVy"
        b"IHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert printed == base64.b64encode(exchange.initial() or b"")
    assert b"n,a=a=3Db=2Cc,\x01auth=Bearer t\x01\x01" == sasl.start("OAUTHBEARER", who("a=b,c", "t")).initial()


@pytest.mark.parametrize("username", ["fred@example.com", ""])
def test_external_is_the_name_to_act_as(username: str) -> None:
    assert username.encode() == sasl.start("EXTERNAL", who(username, "")).initial()


# --- servers that refuse, lie, or can't be understood ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), [("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")])
def test_a_refused_token_is_answered_and_its_status_told(name: str, answer: bytes) -> None:
    exchange = sasl.start(name, who("anna", TOKEN))
    assert exchange.objection(accepted=False) is None
    assert answer == exchange.respond(GOOGLE_ERROR)
    assert "status 401" in (exchange.objection(accepted=False) or "")
    with pytest.raises(errors.ProtocolViolation):
        exchange.respond(GOOGLE_ERROR)


@pytest.mark.parametrize(
    "error", [b"", b"[" * 6000, b"\xff\r\n", b"[1]", b'{"status":{"a":1}}', b'{"status":"\\ud800"}']
)
def test_any_error_of_a_token_is_told_in_one_line(error: bytes) -> None:
    exchange = sasl.start("XOAUTH2", who("anna", TOKEN))
    exchange.respond(error)
    told = exchange.objection(accepted=False) or ""
    assert told.isprintable()
    assert len(told) < 200


@pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_with_a_border_in_it_is_not_sent(name: str) -> None:
    with pytest.raises(errors.InputInvalid, match="control"):
        sasl.start(name, who("anna", "x\x01auth=y"))


@pytest.mark.parametrize("name", SCRAMS)
def test_scram_is_proven_by_both_sides(name: str) -> None:
    exchange = sasl.start(name, who("a=n,na", PASSWORD), BOUND)
    opening = exchange.initial() or b""
    header = b"p=tls-unique,," if name.endswith("-PLUS") else b"n,,"
    assert header + b"n=a=3Dn=2Cna,r=n0nce" == opening
    final = exchange.respond(first := server_first())
    bound = header + b"\x00\x01\xff" if name.endswith("-PLUS") else header
    assert b"c=" + base64.b64encode(bound) == final.split(b",")[0]
    assert b"" == exchange.respond(server_final(name, PASSWORD, opening, first, final))
    with pytest.raises(errors.ProtocolViolation):
        exchange.respond(b"v=AAAA")


@pytest.mark.parametrize("name", SCRAMS)
def test_a_server_that_does_not_know_the_password_is_found_out(name: str) -> None:
    exchange = sasl.start(name, ANNA, BOUND)
    exchange.respond(server_first())
    with pytest.raises(errors.AuthFailed, match="does not know the password"):
        exchange.respond(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(
    ("challenge", "kind", "says"),
    [
        (b"e=unknown-user", errors.AuthFailed, "unknown-user"),
        (server_first(nonce="other"), errors.ProtocolViolation, "nonce"),
        (server_first(nonce="n0nce"), errors.ProtocolViolation, "nonce"),
        (server_first(iterations=1), errors.ProtocolViolation, "1 iterations"),
        (server_first(iterations=999_999_999), errors.ProtocolViolation, "iterations"),
        (b"m=ext," + server_first(), errors.ProtocolViolation, "can't be read"),
        (b"r=n0nceX,s=A,i=4096", errors.ProtocolViolation, "base64"),
        (b"", errors.ProtocolViolation, "can't be read"),
    ],
)
def test_a_first_message_that_makes_no_sense(challenge: bytes, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        sasl.start("SCRAM-SHA-256", ANNA, BOUND).respond(challenge)


@pytest.mark.parametrize("name", sasl.MECHANISMS)
@given(
    challenges=st.lists(
        st.binary() | st.sampled_from([server_first(), b"v=", b"v=AAAA", b"e=x", GOOGLE_ERROR]), max_size=4
    )
)
def test_whatever_a_server_says_only_these_errors_come(name: str, challenges: list[bytes]) -> None:
    exchange = sasl.start(name, ANNA, BOUND)
    told = ""
    try:
        for challenge in challenges:
            assert isinstance(exchange.respond(challenge), bytes)
    except (errors.ProtocolViolation, errors.AuthFailed) as error:
        told = str(error)
    assert not told or told.isprintable()
    assert PASSWORD not in told
    for accepted in (True, False):
        assert (exchange.objection(accepted=accepted) or "x").isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("🎻", "🎻"),
    ],
)
def test_saslprep_as_in_rfc_4013(text: str, expected: str) -> None:
    assert expected == prepared("password", text)


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\0b"])
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(errors.InputInvalid, match="password"):
        prepared("password", text)


# --- which one ------------------------------------------------------------------------------------------------------

ALL = set(sasl.MECHANISMS)


@pytest.mark.parametrize(
    ("offered", "auth", "expected"),
    [
        ({"LOGIN", "PLAIN"}, "auto", "PLAIN"),
        ({"login"}, "auto", "LOGIN"),
        ({"LOGIN", "PLAIN", "X"}, "login", "LOGIN"),
        (ALL, "auto", "SCRAM-SHA-256-PLUS"),
        (ALL - {"SCRAM-SHA-256-PLUS"}, "auto", "SCRAM-SHA-1-PLUS"),
        ({"SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"}, "auto", "SCRAM-SHA-256"),
        ({"SCRAM-SHA-1", "CRAM-MD5", "PLAIN"}, "auto", "SCRAM-SHA-1"),
        ({"CRAM-MD5", "PLAIN"}, "auto", "PLAIN"),
        ({"CRAM-MD5", "XOAUTH2"}, "auto", "CRAM-MD5"),
        *((ALL, name.lower(), name) for name in sasl.MECHANISMS),
    ],
)
def test_the_best_offered_mechanism_is_taken(offered: set[str], auth: str, expected: str) -> None:
    assert expected == sasl.choose(offered, auth, encrypted_or_loopback=True, channel=BOUND)


def test_without_a_channel_binding_plus_is_passed_over() -> None:
    assert "SCRAM-SHA-256" == sasl.choose(ALL, "auto", encrypted_or_loopback=True)


def test_without_a_password_a_certificate_is_the_login() -> None:
    assert "EXTERNAL" == sasl.choose(ALL, "auto", encrypted_or_loopback=True, channel=BOUND, has_secret=False)


@pytest.mark.parametrize(
    ("offered", "auth", "private", "complaint"),
    [
        (set(), "auto", True, "offers none"),
        ({"GSSAPI"}, "auto", True, "offers GSSAPI"),
        ({"PLAIN"}, "login", True, "LOGIN is needed"),
        ({"PLAIN"}, "kerberos", True, "no such mechanism"),
        ({"PLAIN"}, "auto", False, "open line"),
        ({"XOAUTH2"}, "xoauth2", False, "open line"),
        ({"OAUTHBEARER"}, "oauthbearer", False, "open line"),
        ({"XOAUTH2", "OAUTHBEARER"}, "auto", True, "set AUTH to oauthbearer or xoauth2"),
        ({"EXTERNAL"}, "external", True, "CLIENT_CERTIFICATE"),
        ({"SCRAM-SHA-1-PLUS"}, "auto", True, "channel binding"),
    ],
)
def test_nothing_usable_is_said_clearly(offered: set[str], auth: str, *, private: bool, complaint: str) -> None:
    with pytest.raises(errors.AuthUnavailable, match=complaint):
        sasl.choose(offered, auth, encrypted_or_loopback=private)


@pytest.mark.parametrize(
    ("offered", "expected"), [({"PLAIN"}, "PLAIN"), ({"PLAIN", "CRAM-MD5"}, "CRAM-MD5"), ({"LOGIN", "PLAIN"}, "PLAIN")]
)
def test_an_open_line_is_used_only_when_asked_for(offered: set[str], expected: str) -> None:
    assert expected == sasl.choose(offered, "auto", encrypted_or_loopback=False, plaintext_wanted=True)


def test_on_an_open_line_what_hides_the_password_needs_no_permission() -> None:
    assert "CRAM-MD5" == sasl.choose({"PLAIN", "CRAM-MD5"}, "auto", encrypted_or_loopback=False)
