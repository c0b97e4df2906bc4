"""One letter to a relay that fails at each stage: what every recipient is told, and what the connection is good for after it."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from daemon import errors
from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.smtp_server import SmtpServer
from daemon.mail.envelope import Envelope, Parcel
from daemon.smtp import command as commands
from daemon.smtp import flight
from daemon.smtp.features import Features
from daemon.smtp.relay import Relay
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Reply, Sent
from daemon.smtp.transaction import Transaction
from tests.doubles import smtp_double
from tests.doubles.smtp_double import Connect, Line, RawRelay

CONTENT = b"Subject: x\r\n\r\nText.\r\n.\r\n..\r\nend\r\n"
BOB, CARL, DORA = "bob@example.net", "carl@example.net", "dora@example.net"
TO_ALL = Envelope(sender="anna@example.org", recipients=(BOB, CARL, DORA))


class Mark:
    """The mark before the final dot."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.times = 0
        self._act = act

    def __call__(self) -> None:
        self.times += 1
        self._act()


def send(relay: Relay, envelope: Envelope = TO_ALL, content: bytes = CONTENT, **options: Any) -> dict[str, Outcome]:
    return smtp_double.send(relay, envelope, content, **options)


def kinds(outcomes: dict[str, Outcome]) -> list[type[Outcome]]:
    return [type(one) for one in outcomes.values()]


def words(one: Outcome) -> str:
    return one.reason if isinstance(one, InDoubt) else str(one.reply)


@pytest.fixture(params=["pipelined", "one by one"])
def server(request: pytest.FixtureRequest, server: SmtpServer) -> SmtpServer:
    """Every test here runs with and without PIPELINING."""
    if request.param == "one by one":
        server.extensions.discard("PIPELINING")
    return server


# --- letters that go --------------------------------------------------------------------------------------------------


def test_a_letter_arrives_octet_for_octet(server: SmtpServer, connect: Connect) -> None:
    mark = Mark()
    outcomes = send(connect(server.port), before_final_dot=mark)
    assert dict.fromkeys(TO_ALL.recipients, Sent(Reply(code=250, enhanced="2.0.0", text="taken as 1"))) == outcomes
    assert [(TO_ALL.sender, TO_ALL.recipients, CONTENT)] == [
        (r.sender, r.recipients, r.content) for r in server.received
    ]
    assert 1 == mark.times
    assert [] == server.violations


def test_the_mark_stands_before_the_dot_and_behind_the_content(server: SmtpServer, connect: Connect) -> None:
    seen: list[tuple[int, bool]] = []

    def mark() -> None:
        deadline = time.monotonic() + 5
        while not any(command.verb == "DATA" for command in server.seen) and time.monotonic() < deadline:
            time.sleep(0.005)
        seen.append((len(server.received), any(command.verb == "." for command in server.seen)))

    send(connect(server.port), before_final_dot=mark)
    assert [(0, False)] == seen
    assert 1 == len(server.received)


def test_many_letters_go_on_one_connection(server: SmtpServer, connect: Connect) -> None:
    relay = connect(server.port)
    for _ in range(5):
        assert [Sent] * 3 == kinds(send(relay))
    assert (5, 1) == (len(server.received), server.connections)
    assert "RSET" not in server.commands
    assert [] == server.violations


def test_many_recipients_go_in_groups(server: SmtpServer, connect: Connect) -> None:
    recipients = tuple(f"r{number}@example.net" for number in range(350))
    server.on_rcpt = lambda address: "550 5.1.1 no" if address.startswith("r7") else None
    outcomes = send(connect(server.port), Envelope(sender="", recipients=recipients))
    assert list(recipients) == list(outcomes), "in the envelope's order"
    assert {"r7@example.net", *(f"r7{n}@example.net" for n in range(10))} == {
        address for address, one in outcomes.items() if isinstance(one, Failed)
    }
    assert 339 == len(server.received[0].recipients)
    assert "" == server.received[0].sender
    assert [] == server.violations


def test_a_recipient_named_twice_is_asked_once(server: SmtpServer, connect: Connect) -> None:
    outcomes = send(connect(server.port), Envelope(sender="a@b", recipients=(BOB, CARL, BOB)))
    assert [BOB, CARL] == list(outcomes)
    assert (BOB, CARL) == server.received[0].recipients


@pytest.mark.parametrize("content", [b"", b"\n", b".", b".\r\n", b"\r\n.\r\n", b"a\rb\nc", b"x" * 3_000_000])
def test_any_content_is_ended_by_our_dot_only(server: SmtpServer, connect: Connect, content: bytes) -> None:
    send(connect(server.port), content=content)
    (letter,) = server.received
    normal = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert (normal if normal.endswith(b"\r\n") else normal + b"\r\n") == letter.content
    assert [] == server.violations


def test_parameters_say_what_the_letter_needs(server: SmtpServer, connect: Connect) -> None:
    content = "Subject: ü\r\n\r\nü\r\n".encode()
    envelope = Envelope(sender="änne@example.org", recipients=("jörg@example.net",))
    assert [Sent] == kinds(send(connect(server.port), envelope, content, smtputf8=True, eight_bit=True))
    assert {"SIZE": "19", "BODY": "8BITMIME", "SMTPUTF8": ""} == server.received[0].parameters
    assert ("änne@example.org", ("jörg@example.net",)) == (server.received[0].sender, server.received[0].recipients)


# --- what the relay can't do ------------------------------------------------------------------------------------------

UNABLE: list[tuple[str, dict[str, Any], str]] = [
    ("8BITMIME", {"eight_bit": True, "content": b"DKIM-Signature: v=1\r\n\r\n\xfc\r\n"}, "no 8BITMIME"),
    ("SMTPUTF8", {"smtputf8": True}, "offers no SMTPUTF8"),
]


@pytest.mark.parametrize(("extension", "options", "reason"), UNABLE, ids=[case[0] for case in UNABLE])
def test_what_the_relay_can_not_carry_fails_without_asking(
    server: SmtpServer, connect: Connect, extension: str, options: dict[str, Any], reason: str
) -> None:
    server.extensions.discard(extension)
    relay = connect(server.port)
    outcomes = send(relay, **options)
    assert [Failed] * 3 == kinds(outcomes)
    assert reason in words(outcomes[BOB])
    assert ["EHLO us.example"] == server.commands
    assert [Sent] * 3 == kinds(send(relay)), "the next letter goes"


def test_eight_bits_are_encoded_for_a_relay_that_does_not_take_them(server: SmtpServer, connect: Connect) -> None:
    server.extensions.discard("8BITMIME")
    content = "Subject: x\r\n\r\nGrüße\r\n".encode()
    assert [Sent] * 3 == kinds(send(connect(server.port), content=content, eight_bit=True))
    (letter,) = server.received
    encoded = (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    )
    assert (encoded, {"SIZE": str(len(encoded))}) == (letter.content, letter.parameters)


def test_a_letter_that_is_too_large_fails_without_asking(server: SmtpServer, connect: Connect) -> None:
    server.max_content_octets = 30
    outcomes = send(connect(server.port))
    assert [Failed] * 3 == kinds(outcomes)
    assert f"the letter has {len(CONTENT)} octets, and the relay takes 30 at most (SIZE)" == words(outcomes[BOB])
    assert ["EHLO us.example"] == server.commands


def test_without_size_nothing_is_said_of_it(server: SmtpServer, connect: Connect) -> None:
    server.extensions.discard("SIZE")
    send(connect(server.port))
    assert {} == server.received[0].parameters


@pytest.mark.parametrize(
    "address", ["x@y\r\nRCPT TO:<eve@example.net>", "a b@c", "", "no at", "a@b> SIZE=1", "jörg@example.net", "\ud800@b"]
)
def test_an_address_that_can_not_be_written_fails_alone(server: SmtpServer, connect: Connect, address: str) -> None:
    """Any program may write into the recipients' table."""
    outcomes = send(connect(server.port), Envelope(sender="a@b", recipients=(BOB, address)))
    assert [Sent, Failed] == kinds(outcomes)
    assert words(outcomes[address]).isprintable()
    assert [(BOB,)] == [letter.recipients for letter in server.received]


def test_a_sender_that_can_not_be_written_fails_the_letter(server: SmtpServer, connect: Connect) -> None:
    outcomes = send(connect(server.port), Envelope(sender="a@b\r\nQUIT", recipients=(BOB,)))
    assert [Failed] == kinds(outcomes)
    assert words(outcomes[BOB]).startswith("the sender ")
    assert ["EHLO us.example"] == server.commands


# --- refusals at each stage -------------------------------------------------------------------------------------------

REFUSALS = [
    (stage, reply, expected)
    for stage in ("MAIL", "RCPT", "DATA", ".")
    for reply, expected in [
        (b"451 4.3.0 not now\r\n", Deferred),
        (b"554 5.7.1 never\r\n", Failed),
        (b"451-4.3.0 not\r\n451 4.3.0 now\r\n", Deferred),
    ]
]


@pytest.mark.parametrize(
    ("stage", "octets", "expected"), REFUSALS, ids=[f"{stage} {octets[:3]!r}" for stage, octets, _ in REFUSALS]
)
def test_a_refusal_is_a_verdict_and_the_next_letter_goes(
    server: SmtpServer, connect: Connect, stage: str, octets: bytes, expected: type[Outcome]
) -> None:
    server.answers[stage] = Answer(octets=octets)
    relay, mark = connect(server.port), Mark()
    outcomes = send(relay, before_final_dot=mark)
    assert [expected] * 3 == kinds(outcomes)
    assert {octets[:9].decode()} == {words(one)[:9].replace(" ", octets[3:4].decode(), 1) for one in outcomes.values()}
    assert (stage == ".") == bool(mark.times), "nothing is marked that was not sent"
    assert [] == server.received

    server.answers.clear()
    assert relay.usable
    assert [Sent] * 3 == kinds(send(relay))
    assert 1 == server.connections
    assert [] == server.violations


def test_each_recipient_has_its_own_verdict(server: SmtpServer, connect: Connect) -> None:
    server.on_rcpt = {CARL: "550 5.1.1 nobody", DORA: "451 4.7.1 greylisted"}.get
    outcomes = send(connect(server.port))
    assert {
        BOB: Sent(Reply(code=250, enhanced="2.0.0", text="taken as 1")),
        CARL: Failed(Reply(code=550, enhanced="5.1.1", text="nobody")),
        DORA: Deferred(Reply(code=451, enhanced="4.7.1", text="greylisted")),
    } == outcomes
    assert [(BOB,)] == [letter.recipients for letter in server.received]


def test_refused_recipients_keep_their_reply_when_the_letter_is_refused(server: SmtpServer, connect: Connect) -> None:
    server.on_rcpt = {CARL: "550 5.1.1 nobody"}.get
    server.answers["."] = Answer(octets=b"451 4.3.0 later\r\n")
    assert ["451 4.3.0 later", "550 5.1.1 nobody", "451 4.3.0 later"] == [
        words(one) for one in send(connect(server.port)).values()
    ]


def test_too_many_recipients_is_for_another_time(server: SmtpServer, connect: Connect) -> None:
    server.max_recipients = 2
    assert [Sent, Sent, Deferred] == kinds(send(connect(server.port)))


@pytest.mark.parametrize("code", [530, 535, 538])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_wish_for_a_login_is_no_verdict_on_the_letter(
    server: SmtpServer, connect: Connect, stage: str, code: int
) -> None:
    server.answers[stage] = Answer(octets=b"%d 5.7.0 log in first\r\n" % code)
    relay, mark = connect(server.port), Mark()
    with pytest.raises(errors.AuthFailed, match=f"{code} 5.7.0 log in first"):
        send(relay, before_final_dot=mark)
    assert (False, 0, []) == (relay.usable, mark.times, server.received)


def test_354_for_nobody_is_ended_by_a_lone_dot(connect: Connect) -> None:
    """RFC 2920 section 3.1: it may come for a DATA that was sent along, and then it must be ended."""
    heard: list[bytes] = []

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250-x\r\n250 PIPELINING\r\n")
        for _ in range(2):
            heard.extend(
                line.answer(b"250 x\r\n", b"550 5.1.1 nobody\r\n", b"354 x\r\n", b"554 5.5.1 no recipients\r\n")
            )

    with RawRelay(play) as raw:
        relay, mark = connect(raw.port), Mark()
        for _ in range(2):
            outcomes = send(relay, Envelope(sender="a@b", recipients=(BOB,)), before_final_dot=mark)
            assert ["550 5.1.1 nobody"] == [words(one) for one in outcomes.values()]
        assert relay.usable
    assert 0 == mark.times
    assert [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<bob@example.net>\r\n", b"DATA\r\n", b".\r\n"] * 2 == heard


# --- 421 --------------------------------------------------------------------------------------------------------------

GO_AWAY = Answer(octets=b"421 4.3.2 closing\r\n", then=Then.CLOSE)


def test_421_to_mail_is_about_the_relay(server: SmtpServer, connect: Connect) -> None:
    server.answers["MAIL"] = GO_AWAY
    relay = connect(server.port)
    with pytest.raises(errors.RelayRefused, match=r"421 4\.3\.2 closing") as raised:
        send(relay)
    assert (421, False) == (raised.value.code, relay.usable)


@pytest.mark.parametrize("stage", ["RCPT", "DATA", "."])
def test_421_defers_all_that_have_no_verdict(server: SmtpServer, connect: Connect, stage: str) -> None:
    server.on_rcpt = {BOB: "550 5.1.1 nobody"}.get

    def away(seen: Seen) -> Answer | None:
        return GO_AWAY if stage != "RCPT" or seen.nth == 2 else None

    server.answers[stage] = away
    relay = connect(server.port)
    outcomes = send(relay)
    assert ["550 5.1.1 nobody", "421 4.3.2 closing", "421 4.3.2 closing"] == [words(one) for one in outcomes.values()]
    assert [Failed, Deferred, Deferred] == kinds(outcomes)
    assert not relay.usable


UNASKED = [
    ([b"250 x\r\n421 bye\r\n"], [Deferred]),
    ([b"250 x\r\n", b"250 x\r\n421 bye\r\n"], [Deferred]),
    ([b"250 x\r\n", b"250 x\r\n", b"354 x\r\n421 bye\r\n"], [Deferred]),
    ([b"250 x\r\n", b"250 x\r\n", b"354 x\r\n554 no\r\n"], [Failed]),
    ([b"250 x\r\n", b"250 x\r\n", b"354 x\r\n250 odd\r\n"], [Deferred]),
]


@pytest.mark.parametrize(("replies", "expected"), UNASKED, ids=[str(replies) for replies, _ in UNASKED])
@pytest.mark.parametrize("is_held", [False, True], ids=["left", "held open"])
def test_a_reply_that_comes_unasked_is_no_bug_of_ours(
    connect: Connect, replies: list[bytes], expected: list[type[Outcome]], *, is_held: bool
) -> None:
    """It may stand in the same packet as the reply before it, so that the session knows of it too early."""
    is_over = threading.Event()

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250 x\r\n", *replies)
        if is_held:
            is_over.wait(30)

    with RawRelay(play) as raw:
        relay, mark = connect(raw.port), Mark()
        try:
            outcomes = send(relay, Envelope(sender="a@b", recipients=(BOB,)), before_final_dot=mark)
        finally:
            is_over.set()
    assert (expected, 0, False) == (kinds(outcomes), mark.times, relay.usable)
    assert words(outcomes[BOB]).isprintable()


def test_421_behind_the_verdict_does_not_change_it(server: SmtpServer, connect: Connect) -> None:
    server.answers["."] = Answer(octets=b"250 2.0.0 taken\r\n421 bye\r\n")
    relay = connect(server.port)
    assert [Sent] * 3 == kinds(send(relay))
    assert not relay.usable


# --- lost connections -------------------------------------------------------------------------------------------------

ENDS = {"FIN": Then.CLOSE, "RST": Then.RESET, "silence": Then.STALL}


@pytest.mark.parametrize("then", ENDS.values(), ids=ENDS)
def test_lost_before_the_reply_to_mail_nothing_was_begun(server: SmtpServer, connect: Connect, then: Then) -> None:
    server.answers["MAIL"] = Answer(octets=b"", then=then)
    relay = connect(server.port, timeout_seconds=0.3)
    with pytest.raises((errors.ConnectionLost, errors.TimedOut)):
        send(relay)
    assert not relay.usable


@pytest.mark.parametrize("then", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_lost_before_the_dot_is_deferred(server: SmtpServer, connect: Connect, stage: str, then: Then) -> None:
    server.answers[stage] = Answer(octets=b"", then=then)
    relay = connect(server.port, timeout_seconds=0.3)
    outcomes = send(relay, content=b"x" * 30_000_000)  # more than fits into the sockets' buffers
    assert [Deferred] * 3 == kinds(outcomes)
    assert words(outcomes[BOB]).startswith(f"127.0.0.1:{server.port}: ")
    assert not relay.usable
    assert [] == server.received


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
def test_a_cut_within_a_large_letter_is_deferred(server: SmtpServer, connect: Connect, then: Then) -> None:
    server.answers["CONTENT"] = Answer(octets=b"", then=then)
    mark = Mark()
    outcomes = send(connect(server.port), content=b"x" * 30_000_000, before_final_dot=mark)
    assert [Deferred] * 3 == kinds(outcomes)
    assert 0 == mark.times


def test_a_relay_that_stops_reading_is_deferred(connect: Connect) -> None:
    is_over = threading.Event()

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n")
        is_over.wait(30)

    with RawRelay(play) as raw:
        relay = connect(raw.port, timeout_seconds=0.3)
        try:
            outcomes = send(relay, Envelope(sender="a@b", recipients=(BOB,)), content=b"x" * 30_000_000)
        finally:
            is_over.set()
    assert [Deferred] == kinds(outcomes)
    assert "no reply for" in words(outcomes[BOB])


@pytest.mark.parametrize("keep", [0, 2, 9], ids=["no reply", "half a code", "half a reply"])
@pytest.mark.parametrize("then", ENDS.values(), ids=ENDS)
def test_lost_after_the_dot_is_a_doubt(server: SmtpServer, connect: Connect, then: Then, keep: int) -> None:
    server.on_rcpt = {CARL: "550 5.1.1 nobody"}.get
    server.answers["."] = Answer(keep=keep, then=then)
    relay = connect(server.port, timeout_seconds=0.1)
    outcomes = send(relay)
    assert [InDoubt, Failed, InDoubt] == kinds(outcomes)
    assert words(outcomes[BOB]).startswith(
        "the final dot was sent and its reply not seen; the relay may have the letter: "
    )
    assert words(outcomes[BOB]).isprintable()
    assert not relay.usable
    assert 1 == len(server.received), "it truly has it"


@pytest.mark.parametrize("octets", [b"what?\r\n", b"354 more\r\n", b"250-endless\r\n" * 10_000])
def test_nonsense_after_the_dot_is_a_doubt(server: SmtpServer, connect: Connect, octets: bytes) -> None:
    server.answers["."] = Answer(octets=octets)
    relay = connect(server.port)
    assert [InDoubt] * 3 == kinds(send(relay))
    assert not relay.usable


def test_nonsense_behind_the_verdict_does_not_change_it(server: SmtpServer, connect: Connect) -> None:
    server.answers["."] = Answer(octets=b"250 2.0.0 taken\r\nwhat?\r\n")
    relay = connect(server.port)
    assert [Sent] * 3 == kinds(send(relay))
    with pytest.raises(errors.ProtocolViolation):
        send(relay)
    assert not relay.usable


def test_the_reply_to_the_dot_is_waited_for_longer(server: SmtpServer, connect: Connect) -> None:
    """RFC 5321 section 4.5.3.2.6: ten minutes. Who gives up earlier sends twice."""
    server.answers["."] = Answer(delay_seconds=0.5)
    told: list[float] = []
    relay = connect(server.port, timeout_seconds=0.1, progress=lambda: told.append(time.monotonic()))
    before = time.monotonic()
    assert [Sent] * 3 == kinds(send(relay))
    assert len([one for one in told if one > before + 0.1]) >= 3, "leases and watchdogs hear of us meanwhile"


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("octets", [b"what?\r\n", b"150 no\r\n", b"250-x\r\n" * 20_000, b"250 " + b"x" * 10_000])
def test_nonsense_before_the_dot_sends_nothing(server: SmtpServer, connect: Connect, stage: str, octets: bytes) -> None:
    server.answers[stage] = Answer(octets=octets)
    relay, mark = connect(server.port, timeout_seconds=1.0), Mark()
    if stage == "MAIL":
        with pytest.raises((errors.ProtocolViolation, errors.TimedOut)):
            send(relay, before_final_dot=mark)
    else:
        assert [Deferred] * 3 == kinds(send(relay, before_final_dot=mark))
    assert (False, 0, []) == (relay.usable, mark.times, server.received)


def test_a_refusal_of_the_content_is_seen_before_the_dot(connect: Connect) -> None:
    """What was refused while we were sending is not asked about, and not marked."""
    is_over = threading.Event()

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n552 5.3.4 too big for me\r\n")
        is_over.wait(30)

    with RawRelay(play) as raw:
        relay, mark = connect(raw.port), Mark()
        try:
            outcomes = send(relay, Envelope(sender="a@b", recipients=(BOB,)), before_final_dot=mark)
        finally:
            is_over.set()
    assert ([Failed], 0, False) == (kinds(outcomes), mark.times, relay.usable)
    assert "552 5.3.4 too big for me" == words(outcomes[BOB])


@pytest.mark.parametrize(("reply", "expected"), [(b"552 5.3.4 too big\r\n", Failed), (b"451 4.3.0 busy\r\n", Deferred)])
def test_a_reason_given_before_hanging_up_is_heard(connect: Connect, reply: bytes, expected: type[Outcome]) -> None:
    """Else a letter that is too large would be tried for days."""

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n")
        line.hear()
        line.say(reply)

    with RawRelay(play) as raw:
        outcomes = send(connect(raw.port), Envelope(sender="a@b", recipients=(BOB,)), content=b"x" * 30_000_000)
    assert [expected] == kinds(outcomes)
    assert reply[:-2].decode() == words(outcomes[BOB])


# --- the mark, the stop, the pulse ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [errors.DatabaseBusy("locked"), errors.OutOfState("a bug"), KeyError("bug"), KeyboardInterrupt()]
)
def test_without_the_mark_the_dot_does_not_leave(server: SmtpServer, connect: Connect, error: BaseException) -> None:
    def fail() -> None:
        raise error

    relay = connect(server.port)
    with pytest.raises(type(error)):
        send(relay, before_final_dot=fail)
    assert not relay.usable
    server.stop()
    assert [] == server.received
    assert "." not in server.commands


def test_a_stop_before_the_dot_is_deferred(server: SmtpServer, connect: Connect) -> None:
    """Even when the mark is made: the dot has not left."""
    relay = connect(server.port)
    outcomes = send(relay, before_final_dot=relay.abort)
    assert [Deferred] * 3 == kinds(outcomes)
    assert "ended from outside" in words(outcomes[BOB])
    server.stop()
    assert [] == server.received


def test_a_stop_at_mail_is_stopped(server: SmtpServer, connect: Connect) -> None:
    relay = connect(server.port)

    def stop(_seen: Seen) -> Answer:
        relay.abort()
        return Answer(octets=b"", then=Then.STALL)

    server.answers["MAIL"] = stop
    with pytest.raises(errors.Stopped):
        send(relay)


def test_a_stop_after_the_dot_is_a_doubt(server: SmtpServer, connect: Connect) -> None:
    relay = connect(server.port)
    server.answers["."] = Answer(keep=0, then=Then.STALL)
    threading.Timer(0.2, relay.abort).start()
    assert [InDoubt] * 3 == kinds(send(relay))


def test_a_failing_pulse_ends_the_session_but_not_a_verdict(server: SmtpServer, connect: Connect) -> None:
    """What `progress` does (renewing a lease, say) may fail; after the dot that must not cost us the reply."""
    fails = threading.Event()

    def pulse() -> None:
        if fails.is_set():
            raise errors.DatabaseBusy("locked")

    relay = connect(server.port, progress=pulse)
    assert [Sent] * 3 == kinds(send(relay, before_final_dot=fails.set))
    with pytest.raises(errors.DatabaseBusy):
        send(relay)
    assert not relay.usable


# --- replies that contradict each other -------------------------------------------------------------------------------

CONTRADICTIONS = [
    (False, [550, 503, 250], Failed),  # nobody was accepted, so nobody can have it
    (False, [550, 250, 250], InDoubt),
    (False, [451, 250, 250], InDoubt),
    (False, [550, 250, 503], Failed),
    (False, [451, 250, 451], Deferred),
    (True, [550, 250, 250], InDoubt),
]


@pytest.mark.parametrize(("lmtp", "codes", "expected"), CONTRADICTIONS)
def test_a_letter_that_is_taken_behind_a_refused_sender_is_a_doubt(
    codes: list[int], expected: type[Outcome], *, lmtp: bool
) -> None:
    """In a flight by BDAT all is said before the first reply; a relay that then takes the end had somebody to take it for."""
    features = Features.of(["relay", "PIPELINING", "CHUNKING"])
    envelope = Envelope(sender="anna@example.org", recipients=(BOB,))
    letter = Transaction(Parcel(key=1, envelope=envelope, content=CONTENT), features)
    letter.unanswered, letter.end_at = len(codes), 1
    said = (*letter.envelope, commands.BdatLast(CONTENT))
    for command, code in zip(said, codes, strict=True):
        letter.take(command, Reply.of(code, ["said"]), lmtp=lmtp)
    assert [expected] == kinds(letter.verdict())
    assert 0 == letter.unanswered


def test_one_final_reply_for_all_recipients_of_lmtp_is_no_reason_to_wait_for_long(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "END_PATIENCE", 1_000_000)
    is_over = threading.Event()

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250 x\r\n", *[b"250 x\r\n"] * 4, b"354 go\r\n")
        line.hear_until(b".\r\n")
        line.say(b"250 2.0.0 taken\r\n")
        is_over.wait(30)

    with RawRelay(play) as raw:
        outcomes = send(connect(raw.port, protocol="lmtp", timeout_seconds=0.3))
        is_over.set()
    assert [Sent, InDoubt, InDoubt] == kinds(outcomes)
