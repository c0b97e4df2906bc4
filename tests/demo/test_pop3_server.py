"""The demo's POP3 server, asked by the stdlib's client and by hand."""

import base64
import poplib  # noqa: TID251 -- an independent client: the server must not agree only with ours
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from daemon.demo import pop3_server
from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from tests.doubles.raw_line import RawLine
from tests.secrets_used import PASSWORD

CONTENTS = [b"Subject: one\r\n\r\n.dot\r\n..\r\nend\r\n", b"Subject: two\r\n\r\nno line end", b"", b"bare\nlf\n.\n"]
TLS = tuple[ssl.SSLContext, ssl.SSLContext]
Call = Callable[[int], RawLine]


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server({"anna": CONTENTS, "bob": []}, PASSWORD) as started:
        yield started


@pytest.fixture
def anna(server: Pop3Server, call: Call) -> RawLine:
    line = call(server.port)
    log_in(line)
    return line


def log_in(line: RawLine) -> None:
    line.hear()
    line.say("USER anna", f"PASS {PASSWORD}")
    line.hear()
    assert "+OK 4 messages" == line.hear()


def test_the_stdlib_reads_a_maildrop(server: Pop3Server) -> None:
    server.maildrop("anna").password = "ascii only"  # all that poplib can say
    client = poplib.POP3("127.0.0.1", server.port, timeout=5)
    assert {"TOP", "UIDL", "PIPELINING", "USER", "SASL", "RESP-CODES"} <= set(client.capa())
    client.user("anna")
    client.pass_("ascii only")
    assert (4, sum(map(len, CONTENTS))) == client.stat()
    assert [b"Subject: one", b"", b".dot", b"..", b"end"] == client.retr(1)[1]
    assert [b"Subject: one", b"", b".dot"] == client.top(1, 1)[1]
    assert 4 == len({line.split()[1] for line in client.uidl()[1]})
    client.dele(1)
    assert (3, sum(map(len, CONTENTS[1:]))) == client.stat()
    assert 4 == len(server.maildrop("anna").messages)
    client.quit()
    assert CONTENTS[1:] == server.maildrop("anna").contents
    assert CONTENTS[:1] == [held.content for held in server.maildrop("anna").deleted]


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n..\r\n", b"a\r\n..\r\n...\r\n.\r\n"),
        (b"a\n.\nb\r\n", b"a\n.\nb\r\n.\r\n"),  # a bare LF begins no line
        (b"\0\xff\r\n", b"\0\xff\r\n.\r\n"),
    ],
)
def test_dots_are_stuffed_as_the_rfc_says(content: bytes, wire: bytes) -> None:
    assert wire == pop3_server.stuffed(content)


def test_a_window_of_commands_is_answered_in_order(anna: RawLine) -> None:
    anna.say(*(f"LIST {number}" for number in range(1, 5)), "NOOP", "DELE 1", "RSET", "STAT")
    replies = [anna.hear() for _ in range(8)]
    assert [f"+OK {number} {len(content)}" for number, content in enumerate(CONTENTS, start=1)] == replies[:4]
    assert f"+OK 4 {sum(map(len, CONTENTS))}" == replies[7]


def test_commands_are_recorded_without_secrets(server: Pop3Server, anna: RawLine) -> None:
    anna.ask("AUTH PLAIN c2VjcmV0")
    assert ["USER anna", "PASS ***", "AUTH PLAIN ***"] == server.commands


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("RETR 0", "-ERR no such message"),
        ("RETR 5", "-ERR no such message"),
        ("RETR x", "-ERR no such message"),
        ("TOP 1", "-ERR how many lines?"),
        ("USER anna", "-ERR you are logged in"),
        ("STLS", "-ERR you are logged in"),
        ("XYZZY", "-ERR unknown command"),
        ("", "-ERR unknown command"),
    ],
)
def test_nonsense_is_refused_and_the_session_goes_on(anna: RawLine, command: str, reply: str) -> None:
    assert reply == anna.ask(command)
    assert "+OK " == anna.ask("NOOP")


def test_nothing_is_told_before_the_login(server: Pop3Server, call: Call) -> None:
    line = call(server.port)
    line.hear()
    assert "-ERR log in first" == line.ask("STAT")
    assert "-ERR USER first" == line.ask("PASS x")
    line.ask("USER anna")
    assert "-ERR [AUTH] wrong user or password" == line.ask("PASS wrong")


def plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ([f"AUTH PLAIN {plain('anna', PASSWORD)}"], "+OK 4 messages"),
        (["AUTH PLAIN", plain("anna", PASSWORD)], "+OK 4 messages"),
        (
            ["AUTH LOGIN", base64.b64encode(b"anna").decode(), base64.b64encode(PASSWORD.encode()).decode()],
            "+OK 4 messages",
        ),
        ([f"AUTH PLAIN {plain('anna', 'wrong')}"], "-ERR [AUTH] wrong user or password"),
        (["AUTH PLAIN", "*"], "-ERR [AUTH] cancelled"),
        (["AUTH PLAIN ???"], "-ERR [AUTH] that is not base64 of UTF-8"),
        (["AUTH PLAIN YQ=="], "-ERR [AUTH] that is not PLAIN"),
        (["AUTH CRAM-MD5"], "-ERR [AUTH] no such mechanism here"),
    ],
)
def test_sasl_logins(server: Pop3Server, call: Call, lines: list[str], last: str) -> None:
    line = call(server.port)
    line.hear()
    assert last == [line.ask(one) for one in lines][-1]


def test_a_maildrop_is_held_by_one_session_at_a_time(server: Pop3Server, call: Call, anna: RawLine) -> None:
    second = call(server.port)
    second.hear()
    second.ask("USER anna")
    assert "-ERR [IN-USE] another session holds the maildrop" == second.ask(f"PASS {PASSWORD}")
    second.ask("USER bob")
    assert "+OK 0 messages" == second.ask(f"PASS {PASSWORD}")
    anna.ask("QUIT")
    log_in(call(server.port))


def test_a_cut_line_frees_the_maildrop_and_deletes_nothing(server: Pop3Server, call: Call, anna: RawLine) -> None:
    anna.ask("DELE 1")
    anna.close()
    log_in(call(server.port))
    assert CONTENTS == server.maildrop("anna").contents


def test_mail_that_arrives_during_a_session_is_seen_by_the_next(server: Pop3Server, anna: RawLine) -> None:
    server.maildrop("anna").add(b"late\r\n", uidl="late")
    assert "+OK 4 " in anna.ask("STAT")
    anna.ask("DELE 1")
    anna.ask("QUIT")
    assert [*CONTENTS[1:], b"late\r\n"] == server.maildrop("anna").contents


def test_features_can_be_taken_away(server: Pop3Server, anna: RawLine) -> None:
    server.features -= {"UIDL", "TOP", "PIPELINING", "SASL"}
    anna.ask("CAPA")
    assert not {"UIDL", "TOP", "PIPELINING", "SASL PLAIN LOGIN"} & set(anna.rest())
    assert "-ERR unknown command" == anna.ask("UIDL")
    anna.say("NOOP", "NOOP")
    anna.hear()
    anna.hear()
    assert ["pipelined after b'NOOP' without PIPELINING"] == server.violations


def test_sizes_and_identities_may_lie(server: Pop3Server, call: Call) -> None:
    held = server.maildrop("bob").add(b"x", uidl=b"odd \xff", listed_octets=99)
    line = call(server.port)
    line.hear()
    line.ask("USER bob")
    line.ask(f"PASS {PASSWORD}")
    assert "+OK 1 99" == line.ask("STAT")
    held.uidl = "other"
    assert "+OK 1 other" == line.ask("UIDL 1")


# --- TLS ------------------------------------------------------------------------------------------------------------


def test_stls_drops_what_was_said_in_the_clear(call: Call, tls: TLS) -> None:
    with Pop3Server({"anna": CONTENTS}, PASSWORD, tls=tls[0]) as server:
        server.login_needs_tls = True
        line = call(server.port)
        line.hear()
        line.ask("CAPA")
        assert {"STLS"} == {"STLS", "USER", "SASL PLAIN LOGIN"} & set(line.rest())
        assert "-ERR [AUTH] not without TLS" == line.ask("USER anna")
        line.say("STLS", "NOOP")
        assert "+OK begin TLS" == line.hear()
        line.encrypt(tls[1])
        line.say("USER anna", f"PASS {PASSWORD}")
        assert ["+OK and the password?", "+OK 4 messages"] == [line.hear(), line.hear()]
        line.ask("CAPA")
        assert "STLS" not in line.rest()


def test_tls_from_the_first_octet(tls: TLS) -> None:
    with Pop3Server({"anna": [b"x" * 1_000_000]}, "ascii", tls=tls[0], implicit_tls=True) as server:
        client = poplib.POP3_SSL("localhost", server.port, timeout=5, context=tls[1])
        client.user("anna")
        client.pass_("ascii")
        assert (1, 1_000_000) == client.stat()
        client.quit()


# --- misbehaviour ---------------------------------------------------------------------------------------------------


def test_an_answer_stands_for_the_proper_reply(server: Pop3Server, anna: RawLine) -> None:
    server.answers["RETR"] = lambda seen: Answer(octets=b"-ERR not today\r\n") if seen.nth == 1 else None
    assert "-ERR not today" == anna.ask("RETR 1")
    assert "+OK 31 octets" == anna.ask("RETR 1")


def test_a_greeting_can_be_a_refusal(server: Pop3Server, call: Call) -> None:
    server.answers["CONNECT"] = Answer(octets=b"-ERR [SYS/TEMP] later\r\n", then=Then.CLOSE)
    line = call(server.port)
    assert ["-ERR [SYS/TEMP] later", ""] == [line.hear(), line.hear()]


def test_a_quit_whose_reply_is_lost_has_deleted(server: Pop3Server, anna: RawLine) -> None:
    server.answers["QUIT"] = Answer(keep=0, then=Then.CLOSE)
    anna.ask("DELE 1")
    assert "" == anna.ask("QUIT")
    assert CONTENTS[1:] == server.maildrop("anna").contents


def test_a_quit_that_is_not_carried_out_has_not(server: Pop3Server, anna: RawLine) -> None:
    server.answers["QUIT"] = Answer(octets=b"", then=Then.CLOSE)
    anna.ask("DELE 1")
    assert "" == anna.ask("QUIT")
    assert CONTENTS == server.maildrop("anna").contents


def test_a_body_can_be_cut(server: Pop3Server, anna: RawLine) -> None:
    server.answers["RETR"] = Answer(keep=len("+OK 31 octets\r\nSubj"), then=Then.CLOSE)
    assert ["+OK 31 octets", "Subj", ""] == [anna.ask("RETR 1"), anna.hear(), anna.hear()]


def test_a_line_can_be_reset(server: Pop3Server, anna: RawLine) -> None:
    server.answers["STAT"] = Answer(octets=b"", then=Then.RESET)
    with pytest.raises(ConnectionResetError):
        anna.ask("STAT")


def test_a_connection_can_be_cut_after_some_octets(server: Pop3Server, call: Call) -> None:
    server.cut_after_octets = 8
    line = call(server.port)
    assert ["+OK Post", ""] == [line.hear(), line.hear()]


def test_a_stall_ends_with_the_server(server: Pop3Server, anna: RawLine) -> None:
    server.answers["STAT"] = Answer(octets=b"+O", then=Then.STALL)
    anna.say("STAT", "NOOP")
    assert b"+O" == anna.file.read(2)  # it stalls now, and not only soon
    began = time.monotonic()
    server.stop()
    assert 1 > time.monotonic() - began
    assert "" == anna.hear()


def test_a_delay_is_cut_short_by_a_stop(server: Pop3Server, anna: RawLine) -> None:
    server.answers["STAT"] = Answer(delay_seconds=60)
    anna.say("STAT")
    server.stop()
    assert 0 == server.open_connections


def test_stop_ends_clients_that_never_read_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with (
        Pop3Server({"anna": [b"x" * 10_000_000]}, "ascii") as server,
        closing(poplib.POP3("127.0.0.1", server.port)) as client,
    ):
        client.user("anna")
        client.pass_("ascii")
        client.sock.sendall(b"RETR 1\r\n" * 5)
        server.stop()
        server.stop()
        assert before == threading.active_count()


def test_a_server_comes_back_on_its_port(server: Pop3Server, call: Call) -> None:
    port = server.port
    server.stop()
    server.start()
    assert port == server.port
    log_in(call(port))


def test_a_bug_in_a_hook_is_not_swallowed(call: Call) -> None:
    server = Pop3Server({"anna": []}, "x").start()

    def broken(_seen: Seen) -> Answer:
        raise ZeroDivisionError

    server.answers["CONNECT"] = broken
    assert "" == call(server.port).hear()
    with pytest.raises(ZeroDivisionError):
        server.stop()
