"""Logging in by every way there is; each dialogue is a file, tests/dialogues/pop3_auth_*.txt."""

import functools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from daemon import errors
from daemon.pop3 import login as login_module
from daemon.pop3 import replies
from daemon.pop3.client import Client
from daemon.pop3.commands import Apop, Auth, AuthLine, Command, Pass
from daemon.pop3.session import Challenge, Reply
from daemon.wire.sasl import Channel, Credentials
from daemon.wire.secret import Secret
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests import suite_log
from tests.doubles.scripted import Scripted, authority, ca_file, server_context
from tests.secrets_used import PASSWORD, TOKEN

TIMESTAMP: Final = "<1896.697170952@dbc.mtview.ca.us>"
Enter = Callable[..., str]


@pytest.fixture
def enter(tmp_path: Path) -> Enter:
    """Log in and quit; return the transcript."""

    def entering(name: str, auth: str, secret: str = PASSWORD, security: Security = Security.PLAINTEXT) -> str:
        certificate = tmp_path / "client.pem"
        authority().issue_cert("anna@example.org").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        transcript = Transcript("test", "work")
        tls = server_context() if security is Security.TLS else None
        try:
            with Scripted(Path(f"pop3_{name}.txt"), tls=tls) as server:
                endpoint = Endpoint(
                    host="127.0.0.1",
                    port=server.port,
                    security=security,
                    ca_file=ca_file(tmp_path),
                    timeout_seconds=5,
                    client_certificate=certificate if security is Security.TLS else None,
                )
                credentials = Credentials(username="anna", secret=Secret(secret))
                with closing(Client.connect(endpoint, credentials, auth=auth, transcript=transcript)) as client:
                    client.quit()
        finally:
            suite_log.keep(transcript.text())
        return transcript.text()

    return entering


@pytest.mark.parametrize(
    ("name", "auth", "secret", "shown"),
    [
        ("auth_xoauth2", "xoauth2", TOKEN, "> AUTH XOAUTH2\n< + ***\n> ***"),
        ("auth_oauthbearer", "oauthbearer", TOKEN, "> AUTH OAUTHBEARER ***"),
        ("auth_apop", "apop", PASSWORD, "> APOP anna ***"),
        ("auth_cram_md5", "auto", PASSWORD, "> AUTH CRAM-MD5\n< + ***\n> ***"),
    ],
)
def test_a_login_and_what_is_shown_of_it(enter: Enter, name: str, auth: str, secret: str, shown: str) -> None:
    text = enter(name, auth, secret)
    assert shown in text
    assert secret not in text


@pytest.mark.parametrize(("auth", "secret"), [("external", PASSWORD), ("auto", "")])
def test_a_certificate_is_the_login_by_name_or_without_a_password(enter: Enter, auth: str, secret: str) -> None:
    assert "AUTH EXTERNAL ***" in enter("auth_external", auth, secret, Security.TLS)


@pytest.mark.parametrize(
    ("name", "auth", "kind", "says"),
    [
        ("auth_xoauth2_refused", "xoauth2", errors.AuthFailed, "status 401"),
        ("auth_oauthbearer_refused", "oauthbearer", errors.AuthFailed, "status invalid_token"),
        ("auth_apop_refused", "apop", errors.AuthFailed, "no secret for APOP"),
        ("auth_apop_no_timestamp", "apop", errors.AuthUnavailable, "no timestamp"),
        ("auth_scram_foreign_nonce", "auto", errors.AuthFailed, "nonce"),
        ("auth_scram_unproven", "auto", errors.AuthFailed, "did not prove"),
        ("auth_scram_refused", "auto", errors.AuthFailed, "nothing weaker was tried"),
    ],
)
def test_a_login_that_fails_says_why(enter: Enter, name: str, auth: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        enter(name, auth, TOKEN if "oauth" in auth else PASSWORD)
    assert str(caught.value).startswith("127.0.0.1:")
    assert str(caught.value).isprintable()


class OpenLine:
    """A line that others can read, to a server that takes any login."""

    peer = "pop.example:110"
    is_private = False
    channel = Channel(nonce="n0nce")

    def __init__(self, greeting: str, *capabilities: bytes, wanted: bool = True) -> None:
        self.greeting, self.is_plaintext_wanted = greeting, wanted
        self.capabilities = replies.capabilities(capabilities)
        self.said: list[Command] = []

    def ask(self, command: Command) -> Reply:
        self.said.append(command)
        return Reply(command, ok=True, code=None, text="", shown="+OK", octets=3)

    def converse(self, command: Command) -> Reply | Challenge:
        if isinstance(command, Auth) and command.initial is None:
            self.said.append(command)
            return Challenge(command, b"", "+ ***", 2)
        return self.ask(command)


@pytest.mark.parametrize(
    ("greeting", "capabilities", "last"),
    [
        (TIMESTAMP, (b"SASL PLAIN LOGIN", b"USER"), Apop),
        (TIMESTAMP, (b"SASL CRAM-MD5 PLAIN",), AuthLine),
        (TIMESTAMP, (b"USER",), Apop),
        ("<no timestamp>", (b"USER",), Pass),
        ("<\x01@x>", (b"USER",), Pass),
        ("", (b"SASL XOAUTH2", b"USER"), Pass),
        ("", (b"SASL PLAIN",), Auth),
    ],
)
def test_on_an_open_line_auto_shows_the_password_only_when_there_is_no_other_way(
    greeting: str, capabilities: tuple[bytes, ...], last: type[Command]
) -> None:
    line = OpenLine(greeting, *capabilities)
    login_module.login(line, Credentials(username="anna", secret=Secret(PASSWORD)), "auto")
    assert last is type(line.said[-1])
    assert (last in (Pass, Auth)) == any(
        PASSWORD.encode() in said.wire or (isinstance(said, Auth) and said.initial) for said in line.said
    )


@pytest.mark.parametrize("auth", ["auto", "user", "plain", "login", "xoauth2", "oauthbearer"])
def test_nothing_is_said_on_an_open_line_that_nobody_asked_for(auth: str) -> None:
    line = OpenLine("", b"USER", b"SASL PLAIN LOGIN XOAUTH2 OAUTHBEARER", wanted=False)
    with pytest.raises(errors.AuthUnavailable, match="open line"):
        login_module.login(line, Credentials(username="anna", secret=Secret(PASSWORD)), auth)
    assert [] == line.said


def test_a_long_token_waits_to_be_asked() -> None:
    line = OpenLine("", b"SASL OAUTHBEARER")
    login_module.login(line, Credentials(username="anna", secret=Secret(TOKEN * 20)), "oauthbearer")
    assert ["AUTH OAUTHBEARER", "***"] == [said.shown for said in line.said]


def test_apop_as_in_rfc_1939() -> None:
    line = OpenLine(f"POP3 server ready {TIMESTAMP}")
    login_module.login(line, Credentials(username="mrose", secret=Secret("tanstaaf")), "apop")
    assert [b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n"] == [said.wire for said in line.said]


def test_a_name_with_a_line_break_is_no_apop() -> None:
    with pytest.raises(errors.InputInvalid):
        functools.partial(Apop, "a\r\nDELE 1", "0")().wire  # noqa: B018 -- the octets are made when they are asked for
