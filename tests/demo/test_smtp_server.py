"""The demo's SMTP server, asked by the stdlib's client and by hand."""

import base64
import smtplib  # noqa: TID251 -- an independent client: the server must not agree only with ours
import ssl
from collections.abc import Callable, Iterator

import pytest

from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.smtp_server import SmtpServer
from tests.doubles.raw_line import RawLine
from tests.secrets_used import PASSWORD

TLS = tuple[ssl.SSLContext, ssl.SSLContext]
CONTENT = b"Subject: s\r\n\r\n.dot\r\n..\r\nend\r\n"


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as started:
        yield started


@pytest.fixture
def line(server: SmtpServer, call: Callable[[int], RawLine]) -> RawLine:
    opened = call(server.port)
    opened.hear()
    assert "250-relay.postroom.example greets me" == opened.ask("EHLO me")
    heard(opened)
    return opened


def heard(line: RawLine) -> str:
    """Give the last line of a reply that may have many."""
    while (reply := line.hear())[3:4] == "-":
        pass
    return reply


def ready(line: RawLine, *recipients: str) -> None:
    """Say all up to 354."""
    line.say("MAIL FROM:<me@x.example>", *(f"RCPT TO:<{one}>" for one in recipients or ("you@x.example",)), "DATA")
    while not line.hear().startswith("354"):
        pass


def test_the_stdlib_sends_a_letter(server: SmtpServer) -> None:
    server.on_rcpt = lambda address: "550 5.1.1 no such user" if address == "no@x.example" else None
    with smtplib.SMTP("127.0.0.1", server.port, timeout=5) as client:
        client.ehlo()
        assert {"pipelining", "8bitmime", "smtputf8", "size", "enhancedstatuscodes"} == set(client.esmtp_features)
        refused = client.sendmail("me@x.example", ["you@x.example", "no@x.example"], CONTENT, ["BODY=8BITMIME"])
    assert {"no@x.example": (550, b"5.1.1 no such user")} == refused
    assert 1 == len(server.received)
    letter = server.received[0]
    assert ("me@x.example", ("you@x.example",), CONTENT) == (letter.sender, letter.recipients, letter.content)
    assert "8BITMIME" == letter.parameters["BODY"]
    assert [] == server.violations
    assert [letter] == server.letters_to("you@x.example")


def test_logins_and_starttls(tls: TLS) -> None:
    with SmtpServer({"anna": "ascii"}, tls=tls[0]) as server:
        server.needs_tls = True
        for login in ("AUTH_PLAIN", "AUTH_LOGIN"):
            with smtplib.SMTP("localhost", server.port, timeout=5) as client:
                client.ehlo()
                assert "auth" not in client.esmtp_features
                assert 530 == client.mail("me@x.example")[0]
                client.starttls(context=tls[1])
                client.ehlo()
                assert "starttls" not in client.esmtp_features
                assert 530 == client.mail("me@x.example")[0]
                client.login("anna", "ascii", initial_response_ok=login == "AUTH_PLAIN")
                client.sendmail("me@x.example", ["you@x.example"], CONTENT)
        assert [("anna", True)] * 2 == [(one.user, one.encrypted) for one in server.received]
        assert "ascii" not in " ".join(server.commands)


def test_tls_from_the_first_octet(tls: TLS) -> None:
    with (
        SmtpServer(tls=tls[0], implicit_tls=True) as server,
        smtplib.SMTP_SSL("localhost", server.port, timeout=5, context=tls[1]) as client,
    ):
        client.sendmail("me@x.example", ["you@x.example"], CONTENT)
        assert CONTENT == server.received[0].content


def test_passwords_are_utf_8(call: Callable[[int], RawLine]) -> None:
    with SmtpServer({"anna": PASSWORD}) as server:
        line = call(server.port)
        line.hear()
        line.ask("EHLO me")
        heard(line)
        assert "535 5.7.8 wrong user or password" == line.ask("AUTH PLAIN " + base64.b64encode(b"\0anna\0x").decode())
        assert "334 " == line.ask("AUTH PLAIN")
        assert "235 2.7.0 welcome" == line.ask(base64.b64encode(f"\0anna\0{PASSWORD}".encode()))
        assert "503 5.5.1 not now" == line.ask("AUTH PLAIN")


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        (["RCPT TO:<a@b>"], "503 5.5.1 MAIL first"),
        (["DATA"], "503 5.5.1 MAIL first"),
        (["MAIL FROM:<a@b>", "MAIL FROM:<a@b>"], "503 5.5.1 one letter at a time"),
        (["MAIL FROM:<a@b>", "DATA"], "554 5.5.1 no valid recipients"),
        (["MAIL FROM:a@b"], "501 5.5.4 FROM:<address> is needed"),
        (["MAIL FROM:<a@b> SIZE=99999999999"], "552 5.3.4 the letter is too big"),
        (["MAIL FROM:<a@b> SIZE=x"], "501 5.5.4 SIZE is a number"),
        (["MAIL FROM:<a@b> BODY=BINARYMIME"], "501 5.5.4 BODY is 7BIT or 8BITMIME"),
        (["MAIL FROM:<a@b> RET=FULL"], "555 5.5.4 RET is not offered"),
        (["MAIL FROM:<ä@b>"], "553 5.6.7 that address needs SMTPUTF8"),
        (["MAIL FROM:<ä@b> SMTPUTF8"], "250 2.1.0 sender taken"),
        (["MAIL FROM:<>"], "250 2.1.0 sender taken"),
        (["MAIL FROM:<a@b>", "RCPT TO:<ä@b>"], "553 5.6.7 that address needs SMTPUTF8"),
        (["MAIL FROM:<a@b>", "RCPT TO:<>"], "501 5.1.3 an address is needed"),
        (["MAIL FROM:<a@b>", "RCPT TO:<c@d> NOTIFY=NEVER"], "555 5.5.4 RCPT parameters are not offered"),
        (["MAIL FROM:<a@b>", "RSET", "RCPT TO:<c@d>"], "503 5.5.1 MAIL first"),
        (["STARTTLS"], "503 5.5.1 no TLS here"),
        (["AUTH PLAIN"], "502 5.5.1 no AUTH here"),
        (["XYZZY"], "502 5.5.1 I do not know that"),
        (["NOOP"], "250 2.0.0 still here"),
        (["VRFY a"], "252 2.1.5 send and see"),
        (["QUIT"], "221 2.0.0 good bye"),
    ],
)
def test_commands_out_of_place_are_refused(line: RawLine, commands: list[str], reply: str) -> None:
    assert reply == [line.ask(command) for command in commands][-1]


def test_nobody_sends_before_the_greeting(server: SmtpServer, call: Callable[[int], RawLine]) -> None:
    opened = call(server.port)
    opened.hear()
    assert "503 5.5.1 EHLO first" == opened.ask("MAIL FROM:<a@b>")
    assert "501 5.5.4 who are you?" == opened.ask("EHLO")
    assert "250 relay.postroom.example" == opened.ask("HELO me")


def test_letters_can_be_pipelined_up_to_data(server: SmtpServer, line: RawLine) -> None:
    for number in range(3):
        ready(line, f"{number}@x.example", "same@x.example")
        line.say(b"text", b".")
        assert f"250 2.0.0 taken as {number + 1}" == line.hear()
    assert [] == server.violations
    assert [f"{number}@x.example" for number in range(3)] == [one.recipients[0] for one in server.received]


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ([b"."], b""),
        ([b"a", b"."], b"a\r\n"),
        ([b"..", b"."], b".\r\n"),
        ([b"..a", b"b", b"...", b"."], b".a\r\nb\r\n..\r\n"),
        ([b".a", b"."], b"a\r\n"),  # a forgotten dot is lost, as RFC 5321 section 4.5.2 says
        ([b"a\n.\nb", b"."], b"a\n.\nb\r\n"),  # a bare LF ends nothing
        ([b"a\r.\rb", b"."], b"a\r.\rb\r\n"),
    ],
)
def test_dots_are_unstuffed_as_the_rfc_says(
    server: SmtpServer, line: RawLine, said: list[bytes], content: bytes
) -> None:
    ready(line)
    line.say(*said)
    assert "250 2.0.0 taken as 1" == line.hear()
    assert content == server.received[0].content


def test_the_final_dot_may_come_in_pieces(server: SmtpServer, line: RawLine) -> None:
    ready(line)
    for piece in (b"a", b"\r", b"\n", b".", b"\r", b"\n"):
        line.socket.sendall(piece)
        assert [] == server.received
    assert server.wait_for(1)
    assert b"a\r\n" == server.received[0].content


def test_what_clients_do_wrong_is_noted(server: SmtpServer, line: RawLine) -> None:
    server.extensions -= {"PIPELINING"}
    ready(line)
    line.say(b"bare\nlf", "ä".encode(), b".")
    line.hear()
    assert [
        "pipelined after MAIL without PIPELINING",
        "pipelined after RCPT without PIPELINING",
        "a bare CR or LF in the content",
        "8-bit content without BODY=8BITMIME",
    ] == server.violations


def test_extensions_can_be_taken_away(server: SmtpServer, line: RawLine) -> None:
    server.extensions.clear()
    line.ask("EHLO me")
    assert "501 FROM:<address> is needed" == line.ask("MAIL me")
    assert "555 SIZE is not offered" == line.ask("MAIL FROM:<a@b> SIZE=1")
    server.knows_ehlo = False
    assert "502 I do not know that" == line.ask("EHLO me")


def test_a_letter_that_is_too_big_is_refused_after_its_dot(server: SmtpServer, line: RawLine) -> None:
    server.max_content_octets = 10
    ready(line)
    line.say(b"x" * 20, b".")
    assert "552 5.3.4 the letter is too big" == line.hear()
    assert [] == server.received


def test_recipients_can_be_refused_once(server: SmtpServer, line: RawLine) -> None:
    tried: set[str] = set()

    def greylisted(address: str) -> str | None:
        if address in tried:
            return None
        tried.add(address)
        return "450 4.2.0 greylisted"

    server.on_rcpt = greylisted
    line.ask("MAIL FROM:<a@b>")
    assert "450 4.2.0 greylisted" == line.ask("RCPT TO:<c@d>")
    assert "250 2.1.5 recipient taken" == line.ask("RCPT TO:<c@d>")


def test_recipients_are_limited(server: SmtpServer, line: RawLine) -> None:
    server.max_recipients = 1
    line.ask("MAIL FROM:<a@b>")
    line.ask("RCPT TO:<c@d>")
    assert "452 4.5.3 enough recipients" == line.ask("RCPT TO:<e@f>")


def test_a_letter_can_be_refused(server: SmtpServer, line: RawLine) -> None:
    server.on_letter = lambda letter: "554 5.7.1 spam" if b"spam" in letter.content else None
    ready(line)
    line.say(b"spam", b".")
    assert "554 5.7.1 spam" == line.hear()
    ready(line)
    line.say(b"ham", b".")
    assert "250 2.0.0 taken as 1" == line.hear()


@pytest.mark.parametrize(
    ("verb", "answer", "taken"),
    [
        ("CONTENT", Answer(octets=b"", then=Then.CLOSE), 0),  # before the final dot
        (".", Answer(octets=b"", then=Then.CLOSE), 0),  # after it, not taken
        (".", Answer(keep=0, then=Then.CLOSE), 1),  # after it, taken and never told
        (".", Answer(octets=b"451 4.3.0 disk\r\n", then=Then.CLOSE), 0),
    ],
)
def test_the_line_can_be_cut_around_the_final_dot(
    server: SmtpServer, line: RawLine, verb: str, answer: Answer, taken: int
) -> None:
    server.answers[verb] = answer
    ready(line)
    line.say(b"text", b".")
    assert (answer.octets or b"").decode().strip() == line.hear()
    server.stop()
    assert taken == len(server.received)


def test_the_line_can_be_cut_within_a_letter(server: SmtpServer, line: RawLine) -> None:
    server.drop_after_content_octets = 1000
    ready(line)
    line.say(b"x" * 10)
    line.say(b"x" * 2000)
    assert "" == line.hear()
    assert [] == server.received


def test_any_verb_can_be_answered_otherwise(server: SmtpServer, line: RawLine) -> None:
    server.answers["MAIL"] = Answer(octets=b"421 4.3.2 closing\r\n", then=Then.CLOSE)
    assert ["421 4.3.2 closing", ""] == [line.ask("MAIL FROM:<a@b>"), line.hear()]


def test_a_reply_before_a_close_arrives_whatever_the_client_still_sends(server: SmtpServer, line: RawLine) -> None:
    server.answers["DATA"] = Answer(octets=b"421 4.3.2 closing\r\n", then=Then.CLOSE)
    line.say("MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", b"x" * 100_000)
    assert ["250 2.1.0 sender taken", "250 2.1.5 recipient taken", "421 4.3.2 closing"] == [
        line.hear() for _ in range(3)
    ]
