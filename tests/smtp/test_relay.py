"""A relay on loopback: connecting, TLS, logging in; each failure is one line that says what to do."""

import base64
from collections.abc import Callable

import pytest

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.smtp_server import SmtpServer
from daemon.mail.envelope import Envelope
from daemon.smtp.replies import Sent
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.stream import Security
from daemon.wire.transcript import Transcript
from tests.doubles.smtp_double import ANNA, Connect, Line, RawRelay, Tls, send
from tests.secrets_used import PASSWORD

TO_BOB = Envelope(sender="anna@example.org", recipients=("bob@example.net",))
EHLO = b"250-relay.example\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n"


def test_a_letter_goes_and_the_session_ends_well(server: SmtpServer, connect: Connect, transcript: Transcript) -> None:
    relay = connect(server.port)
    assert "PIPELINING" in relay.features.names
    assert relay.tls_version is None
    (sent,) = send(relay, TO_BOB, b"Subject: x\r\n\r\n.dot\r\n").values()
    assert isinstance(sent, Sent)
    assert relay.usable
    relay.quit()
    assert not relay.usable
    assert b"Subject: x\r\n\r\n.dot\r\n" == server.received[0].content
    assert [
        "< 220 relay.postroom.example ESMTP Postroom demo",
        "> EHLO us.example",
        "> MAIL FROM:<anna@example.org> SIZE=20",
        "> RCPT TO:<bob@example.net>",
        "> DATA",
        "> (21 octets of content)",
        "> .",
        "> QUIT",
        "< 221 2.0.0 good bye",
    ] == [line for line in transcript.text().splitlines() if line.startswith((">", "< 22"))]
    assert [] == server.violations


def test_what_is_said_after_the_end_is_a_lost_connection(server: SmtpServer, connect: Connect) -> None:
    relay = connect(server.port)
    relay.close()
    relay.close()
    relay.quit()
    with pytest.raises(errors.ConnectionLost, match="given up"):
        send(relay, TO_BOB, b"x")


@pytest.mark.parametrize(
    "answer", [Answer(octets=b"", then=Then.RESET), Answer(octets=b"500 no\r\n"), Answer(octets=b"??\r\n")]
)
def test_quit_never_fails(server: SmtpServer, connect: Connect, answer: Answer) -> None:
    relay = connect(server.port)
    server.answers["QUIT"] = answer
    relay.quit()
    assert not relay.usable


# --- greeting ---------------------------------------------------------------------------------------------------------


def test_helo_where_ehlo_is_not_known(server: SmtpServer, connect: Connect) -> None:
    server.knows_ehlo = False
    relay = connect(server.port)
    assert frozenset() == relay.features.names
    assert send(relay, TO_BOB, b"x\r\n")
    relay.quit()
    assert ["EHLO us.example", "HELO us.example", "MAIL FROM:<anna@example.org>"] == server.commands[:3]
    assert [] == server.violations


@pytest.mark.parametrize(
    ("name", "expected"), [("bücher.example", "xn--bcher-kva.example"), ("a b\r\nQUIT", "localhost")]
)
def test_our_name_is_made_ascii(server: SmtpServer, connect: Connect, name: str, expected: str) -> None:
    connect(server.port, helo_name=name)
    assert [f"EHLO {expected}"] == server.commands


REFUSALS = [
    ("CONNECT", b"421 4.3.2 busy\r\n", errors.RelayRefused, "refused at its greeting: 421 4.3.2 busy", 421),
    ("CONNECT", b"554 5.7.1 go away\r\n", errors.RelayRefused, "refused at its greeting: 554 5.7.1 go away", 554),
    ("CONNECT", b"354 what\r\n", errors.ProtocolViolation, "the greeting makes no sense", None),
    ("CONNECT", b"+OK POP3 here\r\n", errors.ProtocolViolation, "this is no SMTP reply", None),
    ("CONNECT", b"SSH-2.0-OpenSSH\r\n", errors.ProtocolViolation, "this is no SMTP reply", None),
    ("EHLO", b"421 4.3.2 busy\r\n", errors.RelayRefused, "refused at EHLO: 421", 421),
    ("EHLO", b"450 4.7.0 later\r\n", errors.RelayRefused, "refused at EHLO: 450", 450),
    ("EHLO", b"220-relay\r\n250 relay\r\n", errors.ProtocolViolation, "two codes", None),
    ("EHLO", b"250-" + b"x" * 100_000, errors.TooLong, "longer than", None),
    ("EHLO", b"250-x\r\n" * 20_000, errors.TooLong, "longer than", None),
]


@pytest.mark.parametrize(
    ("verb", "octets", "kind", "reason", "code"), REFUSALS, ids=[f"{case[0]} {case[1][:20]!r}" for case in REFUSALS]
)
def test_a_relay_that_will_not_talk_is_one_line(
    server: SmtpServer,
    connect: Connect,
    verb: str,
    octets: bytes,
    kind: type[errors.PostroomError],
    reason: str,
    code: int,
) -> None:
    server.answers[verb] = Answer(octets=octets)
    with pytest.raises(kind) as raised:
        connect(server.port)
    message = str(raised.value)
    assert message.startswith(f"127.0.0.1:{server.port}: ")
    assert reason in message
    assert message.isprintable()
    assert code == getattr(raised.value, "code", None)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
@pytest.mark.parametrize(
    ("then", "kind"),
    [(Then.CLOSE, errors.ConnectionLost), (Then.RESET, errors.ConnectionLost), (Then.STALL, errors.TimedOut)],
)
def test_a_relay_that_leaves_or_is_silent(
    server: SmtpServer, connect: Connect, verb: str, then: Then, kind: type[errors.PostroomError]
) -> None:
    server.answers[verb] = Answer(octets=b"", then=then)
    with pytest.raises(kind):
        connect(server.port, timeout_seconds=0.3)


def test_a_refused_ehlo_and_helo(server: SmtpServer, connect: Connect) -> None:
    server.answers |= {"EHLO": Answer(octets=b"502 no\r\n"), "HELO": Answer(octets=b"550 5.7.1 not you\r\n")}
    with pytest.raises(errors.RelayRefused, match=r"refused at EHLO: 550 5\.7\.1 not you"):
        connect(server.port)


def test_a_reply_that_dribbles_is_late(connect: Connect) -> None:
    """Every octet is progress, the reply is not: without a limit on the whole of it this would never end."""

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.hear()
        while True:
            line.say(b"2", b"5", b"0", b"-", b"\r", b"\n")

    with RawRelay(play) as relay, pytest.raises((errors.TimedOut, errors.TooLong)):
        connect(relay.port, timeout_seconds=0.5)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
def test_letters_go_encrypted(tls: Tls, connect: Connect, security: Security) -> None:
    with SmtpServer({"anna": PASSWORD}, tls=tls.context, implicit_tls=security is Security.TLS) as server:
        server.needs_tls = True
        relay = connect(server.port, ANNA, security=security, ca_file=tls.ca_file)
        assert str(relay.tls_version).startswith("TLSv1.")
        send(relay, TO_BOB, b"x\r\n")
        relay.quit()
    assert [(True, "anna")] == [(letter.encrypted, letter.user) for letter in server.received]
    assert [] == server.violations


def test_a_certificate_of_somebody_else_is_refused(tls: Tls, connect: Connect) -> None:
    with SmtpServer({"anna": PASSWORD}, tls=tls.context) as server, pytest.raises(errors.CertificateRejected):
        connect(server.port, ANNA, security=Security.STARTTLS)
    assert ["EHLO us.example", "STARTTLS"] == server.commands


STARTTLS: list[tuple[str, Callable[[SmtpServer], None], type[errors.PostroomError], str]] = [
    ("stripped", lambda s: s.extensions.discard("STARTTLS"), errors.TlsFailed, "it offers no STARTTLS"),
    ("no EHLO", lambda s: setattr(s, "knows_ehlo", False), errors.TlsFailed, "it offers no STARTTLS"),
    (
        "refused for now",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"454 4.7.0 no TLS now\r\n")),
        errors.TlsFailed,
        "refused to begin TLS: 454 4.7.0 no TLS now",
    ),
    (
        "refused",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"502 5.5.1 what?\r\n")),
        errors.TlsFailed,
        "refused to begin TLS: 502",
    ),
    (
        "another 2xx",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"250 2.0.0 fine\r\n")),
        errors.TlsFailed,
        "refused to begin TLS: 250",
    ),
    (
        "injected",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"220 2.0.0 go\r\n250-evil\r\n250 AUTH PLAIN\r\n")),
        errors.PlaintextInjected,
        "before TLS",
    ),
    (
        "no handshake",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"220 2.0.0 go\r\n")),
        errors.WireError,
        "",
    ),
    (
        "cut",
        lambda s: s.answers.update(STARTTLS=Answer(octets=b"220 2.0.0 go\r\n", then=Then.CLOSE)),
        errors.WireError,
        "",
    ),
]


@pytest.mark.parametrize(
    ("misbehave", "kind", "reason"), [case[1:] for case in STARTTLS], ids=[case[0] for case in STARTTLS]
)
def test_without_tls_nothing_more_is_said(
    tls: Tls,
    connect: Connect,
    misbehave: Callable[[SmtpServer], None],
    kind: type[errors.PostroomError],
    reason: str,
) -> None:
    with SmtpServer({"anna": PASSWORD}, tls=tls.context) as server:
        misbehave(server)
        with pytest.raises(kind) as raised:
            connect(server.port, ANNA, security=Security.STARTTLS, ca_file=tls.ca_file, timeout_seconds=1.0)
        message = str(raised.value)
        assert message.startswith(f"127.0.0.1:{server.port}: ")
        assert reason in message
    assert {"EHLO", "HELO", "STARTTLS"} >= {seen.verb for seen in server.seen if seen.verb.isalpha()}
    assert PASSWORD not in str(server.commands)


def test_what_is_offered_in_the_clear_is_not_believed_after_tls(tls: Tls, connect: Connect) -> None:
    with SmtpServer({"anna": PASSWORD}, tls=tls.context) as server:
        server.answers["EHLO"] = lambda seen: (
            Answer(octets=b"250-relay\r\n250-STARTTLS\r\n250 X-EVIL\r\n") if seen.nth == 1 else None
        )
        relay = connect(server.port, ANNA, security=Security.STARTTLS, ca_file=tls.ca_file)
        assert "X-EVIL" not in relay.features.names
        assert "STARTTLS" not in relay.features.names


# --- logging in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("auth", ["auto", "named"])
def test_a_login_works_and_is_not_shown(connect: Connect, transcript: Transcript, mechanism: str, auth: str) -> None:
    with SmtpServer({"anna": PASSWORD}) as server:
        server.mechanisms = (mechanism,) if auth == "auto" else ("PLAIN", "LOGIN")
        connect(server.port, ANNA, auth="auto" if auth == "auto" else mechanism.lower()).quit()
        assert f"AUTH {mechanism}" in " ".join(server.commands)
    assert "235 2.7.0 welcome" in transcript.text()
    assert f"> AUTH {mechanism}" in transcript.text()
    for form in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), base64.b64encode(b"anna").decode()):
        assert form not in transcript.text()


LOGINS: list[tuple[str, bytes, type[errors.PostroomError], str]] = [
    ("wrong password", b"535 5.7.8 no\r\n", errors.AuthFailed, "the login as anna was refused: 535 5.7.8 no; check"),
    ("app password wanted", b"534 5.7.9 app password\r\n", errors.AuthFailed, "534"),
    ("mechanism refused", b"504 5.5.4 no such\r\n", errors.AuthFailed, "504"),
    ("for now", b"454 4.7.0 later\r\n", errors.RelayRefused, "refused at the login, for now: 454"),
    ("too many", b"421 4.7.0 too many logins\r\n", errors.RelayRefused, "421"),
    ("a challenge too many", b"334 eA==\r\n", errors.ProtocolViolation, "challenge"),
    ("nonsense", b"354 go\r\n", errors.ProtocolViolation, ""),
    ("echo", f"535 5.7.8 {PASSWORD} is wrong\r\n".encode(), errors.AuthFailed, "*** is wrong"),
    (
        "echo in base64",
        b"535 5.7.8 " + base64.b64encode(f"\0anna\0{PASSWORD}".encode()) + b"\r\n",
        errors.AuthFailed,
        "***",
    ),
]


@pytest.mark.parametrize(("octets", "kind", "reason"), [case[1:] for case in LOGINS], ids=[case[0] for case in LOGINS])
def test_a_refused_login_is_told_apart_and_shows_no_secret(
    connect: Connect,
    transcript: Transcript,
    octets: bytes,
    kind: type[errors.PostroomError],
    reason: str,
) -> None:
    with SmtpServer({"anna": PASSWORD}) as server:
        server.answers["AUTH"] = Answer(octets=octets)
        with pytest.raises(kind) as raised:
            connect(server.port, ANNA)
    for text in (str(raised.value), transcript.text()):
        assert PASSWORD not in text
        assert base64.b64encode(f"\0anna\0{PASSWORD}".encode()).decode() not in text
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_login_where_none_is_offered_is_unavailable(server: SmtpServer, connect: Connect) -> None:
    with pytest.raises(errors.AuthUnavailable):
        connect(server.port, ANNA)
    assert ["EHLO us.example"] == server.commands


def test_an_initial_response_that_is_passed_over_is_said_again(connect: Connect) -> None:
    heard: list[bytes] = []

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        heard.extend(line.answer(EHLO, b"334 \r\n", b"235 fine\r\n"))

    with RawRelay(play) as relay:
        connect(relay.port, ANNA).close()
    token = base64.b64encode(f"\0anna\0{PASSWORD}".encode())
    assert [b"AUTH PLAIN " + token + b"\r\n", token + b"\r\n"] == heard[1:]


def test_prompts_of_login_need_not_be_base64(connect: Connect) -> None:
    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(EHLO, b"334 User, please:\r\n", b"334 Password\xff:\r\n", b"235 fine\r\n")

    with RawRelay(play) as relay:
        connect(relay.port, ANNA, auth="login").close()


def test_challenges_without_end_are_ended(connect: Connect) -> None:
    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(EHLO)
        while line.hear():
            line.say(b"334 \r\n")

    with RawRelay(play) as relay, pytest.raises(errors.ProtocolViolation, match="challenge"):
        connect(relay.port, ANNA)


def test_an_empty_secret_is_sent_as_it_is(connect: Connect) -> None:
    with SmtpServer({"": ""}) as server:
        connect(server.port, Credentials(username="", secret=Secret(""))).quit()
        assert "AUTH PLAIN ***" in server.commands
