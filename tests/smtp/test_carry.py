"""Many letters over one connection: as many at once as the relay takes, each with its outcomes, whatever becomes of the others."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon import errors
from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.mta import Mta
from daemon.mail.envelope import DELAY, FAILURE, SUCCESS, Envelope, Notice, Parcel
from daemon.smtp.relay import LMTP, Relay
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Sent
from daemon.smtp.transaction import PIECE_OCTETS
from daemon.wire.stream import Security
from tests.doubles.smtp_double import Connect, Line, RawRelay, Tls

CONTENT = b"Subject: x\r\n\r\n.dot\r\n..\r\n.\r\nMAIL FROM:<eve@example.net>\r\n"
BOB, CARL, DORA = "bob@example.net", "carl@example.net", "dora@example.net"


def parcel(key: int, *to: str, content: bytes = CONTENT, **more: Any) -> Parcel:
    envelope = Envelope(sender=f"s{key}@example.org", recipients=to or (f"r{key}@example.net",))
    return Parcel(key=key, envelope=envelope, content=content, **more)


def carry(
    relay: Relay,
    parcels: Iterator[Parcel] | list[Parcel],
    *,
    window: int = 10,
    before_end: Callable[[int], None] = lambda _: None,
) -> tuple[list[tuple[int, list[type[Outcome]]]], str]:
    """Give keys with the kinds of their outcomes, as they came, and the name of the error at the end."""
    came: list[tuple[int, list[type[Outcome]]]] = []
    try:
        for one, outcomes in relay.carry(iter(parcels), before_end=before_end, window=lambda: window):
            assert list(dict.fromkeys(one.envelope.recipients)) == list(outcomes)
            came.append((one.key, [type(outcome) for outcome in outcomes.values()]))
    except errors.PostroomError as error:
        return came, type(error).__name__
    return came, ""


def sent(*keys: int) -> list[tuple[int, list[type[Outcome]]]]:
    return [(key, [Sent]) for key in keys]


@pytest.fixture
def mta() -> Iterator[Mta]:
    with Mta() as started:
        yield started
    assert [] == started.violations


WAYS: dict[str, tuple[set[str], int]] = {
    "chunks": (set(), 10),
    "chunks one by one": (set(), 1),
    "chunks word by word": (set(), 0),
    "chunks without PIPELINING": ({"PIPELINING"}, 10),
    "data": ({"CHUNKING"}, 10),
    "data one by one": ({"CHUNKING"}, 1),
    "data word by word": ({"CHUNKING"}, 0),
    "data without PIPELINING": ({"CHUNKING", "PIPELINING"}, 10),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> tuple[set[str], int]:
    """What the relay lacks, and the window."""
    chosen: tuple[set[str], int] = request.param
    return chosen


# --- letters that go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
def test_letters_arrive_in_order_octet_for_octet_each_marked_before_its_end(
    connect: Connect, way: tuple[set[str], int], *, lmtp: bool
) -> None:
    marks: list[int] = []

    def mark(key: int) -> None:
        assert not any(letter.sender == f"s{key}@example.org" for letter in server.received)
        marks.append(key)

    with Mta(lmtp=lmtp) as server:
        server.extensions -= way[0]
        relay = connect(server.port, protocol=LMTP if lmtp else "smtp")
        parcels = [parcel(key, *(BOB, CARL)[: 1 + key % 2]) for key in range(25)]
        came, error = carry(relay, parcels, window=way[1], before_end=mark)
        assert [(key, [Sent] * (1 + key % 2)) for key in range(25)] == came
        assert ("", True, 1) == (error, relay.usable, server.connections)
        relay.quit()
    assert list(range(25)) == marks
    assert [(one.envelope.sender, one.envelope.recipients, CONTENT) for one in parcels] == [
        (one.sender, one.recipients, one.content) for one in server.received
    ]
    assert [] == server.violations
    assert ("CHUNKING" in way[0]) == ("DATA" in server.commands)


def test_the_window_is_full_and_no_fuller(connect: Connect) -> None:
    """The relay answers the first letter, then nothing before it has heard five."""
    heard: list[bytes] = []
    counted = threading.Event()

    def letter(line: Line) -> None:
        while not (command := line.hear()).startswith(b"BDAT"):
            heard.append(command)
        heard.append(command)
        line._lines.read(int(command.split()[1]))

    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n", b"250 x\r\n", b"250 x\r\n")
        letter(line)
        line.say(b"250 x\r\n")
        letter(line)
        line.say(b"250 x\r\n")
        for _ in range(5):
            letter(line)
        line.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.hear()
        counted.set()

    with RawRelay(play) as raw:
        relay = connect(raw.port)
        carried = relay.carry((parcel(key) for key in itertools.count()), before_end=lambda _: None, window=lambda: 5)
        assert 0 == next(carried)[0].key
        with pytest.raises(errors.ConnectionLost):
            for one, outcomes in carried:
                assert [InDoubt] == [type(outcome) for outcome in outcomes.values()], one
        assert counted.wait(5)
    assert [b"MAIL FROM:<s1@example.org>\r\n", b"RCPT TO:<r1@example.net>\r\n"] == heard[2:4]
    assert [b"RSET\r\n", b"MAIL FROM:<s2@example.org>\r\n", b"RCPT TO:<r2@example.net>\r\n"] == heard[5:8]
    assert (4, 21) == (heard.count(b"RSET\r\n"), len(heard))


def test_parcels_are_taken_lazily(mta: Mta, connect: Connect) -> None:
    taken: list[int] = []

    def parcels() -> Iterator[Parcel]:
        for key in range(100):
            taken.append(key)
            yield parcel(key)

    carried = connect(mta.port).carry(parcels(), before_end=lambda _: None, window=lambda: 8)
    for done, _ in enumerate(carried, 1):
        assert len(taken) <= done + 7
        if done == 20:
            break


def test_nobody_waits_for_ever_when_both_want_to_be_heard(mta: Mta, connect: Connect) -> None:
    """Large letters one way and thousands of replies the other: more than the sockets hold."""
    recipients = tuple(f"r{number}@example.net" for number in range(10_000))
    mta.max_recipients = 20_000
    mta.on_rcpt = lambda address: "550 5.1.1 " + "no " * 150 if address.startswith("r9") else None
    large = b"x" * 70 + b"\r\n"
    parcels = [parcel(0), parcel(1, *recipients, content=large * 50_000), *(parcel(key) for key in range(2, 40))]
    came, error = carry(connect(mta.port), parcels, window=30)
    assert ("", list(range(40))) == (error, [key for key, _ in came])
    assert [1111, 8889] == [came[1][1].count(kind) for kind in (Failed, Sent)]


@pytest.mark.parametrize("without", [(), ("CHUNKING",)], ids=["chunks", "data"])
def test_large_letters_go_in_pieces_and_through_tls(tls: Tls, connect: Connect, without: tuple[str, ...]) -> None:
    content = b".x" + b"y" * (PIECE_OCTETS - 4) + b"\r\n" + b".\r\n." + b"\r\n.z" * 1_000_000 + b"\r\n"
    with Mta(tls=tls.context, implicit_tls=True) as server:
        relay = connect(server.port, security=Security.TLS, ca_file=tls.ca_file, without=without)
        parcels = [parcel(0), parcel(1, content=content), parcel(2), parcel(3, content=content), parcel(4)]
        assert (sent(0, 1, 2, 3, 4), "") == carry(relay, parcels)
    assert [CONTENT, content, CONTENT, content, CONTENT] == [one.content for one in server.received]
    assert [] == server.violations


# --- refusals in a window ---------------------------------------------------------------------------------------------


def test_what_is_refused_is_refused_alone(mta: Mta, connect: Connect, way: tuple[set[str], int]) -> None:
    """Also where a refused letter is still begun at the relay: nothing of it becomes part of the next."""
    mta.extensions -= way[0]
    mta.on_rcpt = {BOB: "550 5.1.1 nobody", CARL: "451 4.7.1 greylisted"}.get
    mta.on_letter = lambda letter: "554 5.7.1 spam" if letter.sender == "s4@example.org" else None
    mta.answers["MAIL"] = lambda seen: Answer(octets=b"452 4.3.1 full\r\n") if "<s6@" in seen.argument else None
    parcels = [parcel(0), parcel(1, BOB), parcel(2, CARL, BOB), parcel(3, DORA, BOB), parcel(4), parcel(5), parcel(6)]
    parcels += [parcel(7, "no address"), parcel(8), parcel(9, "x@y.example", "bad one")]
    expected: list[tuple[int, list[type[Outcome]]]] = [
        (0, [Sent]),
        (1, [Failed]),
        (2, [Deferred, Failed]),
        (3, [Sent, Failed]),
        (4, [Failed]),
        (5, [Sent]),
        (6, [Deferred]),
        (7, [Failed]),
        (8, [Sent]),
        (9, [Sent, Failed]),
    ]
    assert (expected, "") == carry(connect(mta.port), parcels, window=way[1])
    assert [f"s{key}@example.org" for key in (0, 3, 5, 8, 9)] == [one.sender for one in mta.received]


def test_a_large_letter_that_nobody_wants_is_not_sent(mta: Mta, connect: Connect, way: tuple[set[str], int]) -> None:
    mta.extensions -= way[0]
    mta.on_rcpt = {BOB: "550 5.1.1 nobody"}.get
    came, _ = carry(connect(mta.port), [parcel(0), parcel(1, BOB, content=b"x" * 3_000_000), parcel(2)], window=way[1])
    assert [(0, [Sent]), (1, [Failed]), (2, [Sent])] == came
    assert not any("1048576" in command for command in mta.commands)


@pytest.mark.parametrize(("reply", "kind"), [(b"452 4.3.1 full\r\n", Deferred), (b"552 5.3.4 big\r\n", Failed)])
def test_a_chunk_refused_ends_the_letter(mta: Mta, connect: Connect, reply: bytes, kind: type[Outcome]) -> None:
    mta.answers["BDAT"] = lambda seen: Answer(octets=reply) if seen.nth == 4 else None
    came, error = carry(connect(mta.port), [parcel(0), parcel(1, content=b"x" * 5_000_000), parcel(2)])
    assert ([(0, [Sent]), (1, [kind]), (2, [Sent])], "") == (came, error)


# --- relays that offer what they do not know --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
def test_a_relay_that_does_not_know_bdat_gets_data(mta: Mta, connect: Connect, code: int) -> None:
    mta.answers["BDAT"] = Answer(octets=b"%d 5.5.1 what?\r\n" % code)
    relay = connect(mta.port)
    assert (sent(*range(5)), "") == carry(relay, [parcel(key) for key in range(5)])
    assert (frozenset({"CHUNKING"}), 1) == (
        relay.distrusted,
        sum(command.startswith("BDAT") for command in mta.commands),
    )
    assert (sent(5), "") == carry(relay, [parcel(5)])


def test_a_relay_that_takes_chunks_for_commands_gets_one_field_of_one_letter(connect: Connect) -> None:
    with Mta() as server:
        server.knows_bdat = False
        relay = connect(server.port)
        came, error = carry(relay, [parcel(key) for key in range(5)])
        assert ([], True) == (came, error in {"RelayRefused", "ProtocolViolation"})
        assert not any("eve" in command for command in server.commands)
        again = connect(server.port, without=relay.distrusted)
        assert (sent(*range(5)), "") == carry(again, [parcel(key) for key in range(5)])
    assert 5 == len(server.received)


def test_bdat_that_was_understood_once_is_not_doubted_any_more(mta: Mta, connect: Connect) -> None:
    mta.answers["BDAT"] = lambda seen: Answer(octets=b"501 5.6.0 bad content\r\n") if seen.nth == 4 else None
    relay = connect(mta.port)
    assert ([(0, [Sent]), (1, [Sent]), (2, [Failed])], "") == carry(relay, [parcel(key) for key in range(3)])
    assert frozenset() == relay.distrusted


def test_what_can_not_be_shown_to_a_relay_as_a_command_goes_by_data(mta: Mta, connect: Connect) -> None:
    parcels = [parcel(0, content=b"QUIT\r\nx\r\n"), parcel(1, content=b"One: line\r\n"), parcel(2), parcel(3)]
    assert (sent(0, 1, 2, 3), "") == carry(connect(mta.port), parcels)
    assert [1, 2] == [mta.commands.index("DATA") and mta.commands.count("DATA") // 2, mta.commands.count("DATA")]
    assert b"QUIT\r\nx\r\n" == mta.received[0].content


# --- sessions that end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET, Then.STALL])
@pytest.mark.parametrize("without", [(), ("CHUNKING",)], ids=["chunks", "data"])
def test_a_cut_leaves_in_doubt_what_has_left_and_no_more(
    mta: Mta, connect: Connect, then: Then, without: tuple[str, ...]
) -> None:
    """The fourth letter is taken, its reply never said."""
    ended: list[int] = []
    verb = "." if without else "BDAT"

    def cut(seen: Seen) -> Answer | None:
        return Answer(keep=0, then=then) if seen.nth == 4 + (verb == "BDAT") else None

    mta.answers[verb] = cut
    relay = connect(mta.port, timeout_seconds=0.2 if then is Then.STALL else 5.0, without=without)
    came, error = carry(relay, [parcel(key) for key in range(20)], before_end=ended.append)
    assert sent(0, 1, 2) == came[:3]
    assert [(key, [InDoubt]) for key in ended[3 : len(came)]] == came[3:] != [], "marked and not left is not in doubt"
    assert (error, relay.usable) == ("TimedOut" if then is Then.STALL else "ConnectionLost", False)
    if without:
        assert [0, 1, 2, 3] == ended, "by DATA only one letter can be in doubt"


def test_refused_recipients_keep_their_verdict_when_the_rest_is_in_doubt(mta: Mta, connect: Connect) -> None:
    mta.on_rcpt = {BOB: "550 5.1.1 nobody", CARL: "450 4.2.0 later"}.get
    mta.answers["BDAT"] = lambda seen: Answer(keep=0, then=Then.CLOSE) if seen.nth == 3 else None
    came, error = carry(connect(mta.port), [parcel(0), parcel(1, BOB, DORA, CARL), parcel(2, BOB)])
    assert ((0, [Sent]), (1, [Failed, InDoubt, Deferred])) == (came[0], came[1])
    assert "ConnectionLost" == error


@pytest.mark.parametrize("error", [errors.Busy("another's"), errors.DatabaseFull("full"), errors.OutOfState("a bug")])
def test_without_the_mark_a_letter_is_not_ended_and_the_others_have_their_verdict(
    mta: Mta, connect: Connect, way: tuple[set[str], int], error: errors.PostroomError
) -> None:
    def mark(key: int) -> None:
        if key == 3:
            raise error

    mta.extensions -= way[0]
    relay = connect(mta.port)
    came, name = carry(relay, [parcel(key) for key in range(9)], window=way[1], before_end=mark)
    assert (sent(0, 1, 2), type(error).__name__, False) == (came, name, relay.usable)
    assert 3 == len(mta.received)


def test_a_bug_in_the_mark_ends_the_session_at_once(mta: Mta, connect: Connect) -> None:
    def mark(key: int) -> None:
        raise KeyError(key)

    relay = connect(mta.port)
    with pytest.raises(KeyError):
        carry(relay, [parcel(0)], before_end=mark)
    assert (False, []) == (relay.usable, mta.received)


def test_an_error_of_the_callers_parcels_comes_behind_all_verdicts(mta: Mta, connect: Connect) -> None:
    def parcels() -> Iterator[Parcel]:
        yield from (parcel(key) for key in range(4))
        raise errors.DatabaseBusy("locked")

    assert (sent(0, 1, 2, 3)[: len(mta.received)], "DatabaseBusy") == carry(connect(mta.port), parcels())


@pytest.mark.parametrize("without", [(), ("CHUNKING",)], ids=["chunks", "data"])
def test_421_in_a_flight_leaves_nothing_in_doubt(mta: Mta, connect: Connect, without: tuple[str, ...]) -> None:
    """What is said behind it is not carried out."""
    go_away = Answer(octets=b"421 4.3.2 closing\r\n", then=Then.CLOSE)
    mta.answers["MAIL"] = lambda seen: go_away if seen.nth == 4 else None
    relay = connect(mta.port, without=without)
    assert (sent(0, 1, 2), "RelayRefused") == carry(relay, [parcel(key) for key in range(9)])
    mta.answers["MAIL"] = Answer()
    mta.answers["RCPT"] = lambda seen: go_away if seen.nth == 4 else None
    relay = connect(mta.port, without=without)
    assert ([*sent(0, 1, 2), (3, [Deferred])], "") == carry(relay, [parcel(key) for key in range(9)])
    assert (False, 6) == (relay.usable, len(mta.received))


@pytest.mark.parametrize("without", [(), ("CHUNKING",)], ids=["chunks", "data"])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
def test_a_wish_for_a_login_in_a_flight_is_no_verdict(
    mta: Mta, connect: Connect, without: tuple[str, ...], stage: str
) -> None:
    mta.answers[stage] = lambda seen: Answer(octets=b"530 5.7.0 log in\r\n") if seen.nth > 3 else None
    relay = connect(mta.port, without=without)
    assert (sent(0, 1, 2), "AuthFailed") == carry(relay, [parcel(key) for key in range(9)])
    assert (False, 3) == (relay.usable, len(mta.received))


@pytest.mark.parametrize("octets", [b"250 2.1", b"what?\r\n", b"250 x\r\n250 odd\r\n" * 20])
def test_out_of_step_between_two_letters_is_the_end(mta: Mta, connect: Connect, octets: bytes) -> None:
    mta.answers["MAIL"] = lambda seen: Answer(octets=octets, then=Then.CLOSE) if seen.nth == 4 else None
    relay = connect(mta.port, without=("CHUNKING",))
    came, error = carry(relay, [parcel(key) for key in range(9)])
    assert sent(0, 1, 2) == came[:3]
    assert all(kinds == [Deferred] for _, kinds in came[3:])
    assert (error in {"ConnectionLost", "ProtocolViolation"}, relay.usable, len(mta.received)) == (True, False, 3)


def test_a_caller_that_leaves_early_leaves_a_dead_line(mta: Mta, connect: Connect) -> None:
    mta.answers["BDAT"] = lambda seen: Answer(keep=0, then=Then.STALL) if seen.nth == 4 else None
    relay = connect(mta.port)
    carried = relay.carry((parcel(key) for key in range(9)), before_end=lambda _: None, window=lambda: 4)
    next(carried)
    next(carried)
    carried.close()
    assert not relay.usable


# --- limits, reports, LMTP, reuse -------------------------------------------------------------------------------------


def test_a_relay_that_limits_letters_gets_no_more(connect: Connect) -> None:
    with Mta(limits={"MAILMAX": 3, "RCPTMAX": 7, "RCPTDOMAINMAX": 2}) as server:
        relay = connect(server.port)
        parcels = iter([parcel(key) for key in range(9)])
        assert (sent(0, 1, 2), "") == carry(relay, parcels)
        assert (3, 7, False) == (relay.most_letters, relay.most_recipients, relay.usable)
        assert 3 == next(parcels).key, "not taken"
        relay.quit()
    assert "QUIT" in server.commands


def test_the_deadline_of_a_session_leaves_nothing_in_doubt(mta: Mta, connect: Connect) -> None:
    """Nothing is begun when less than a timeout is left."""
    relay = connect(mta.port, deadline=time.monotonic() + 5.3, timeout_seconds=5.0)
    assert relay.usable
    came, error = carry(relay, (parcel(key) for key in itertools.count()))
    assert (sent(*range(len(came))), "", False, len(mta.received)) == (came, error, relay.usable, len(came))
    relay.quit()
    assert "QUIT" in mta.commands


def test_without_limits_the_rfc_has_them(mta: Mta, connect: Connect) -> None:
    relay = connect(mta.port)
    assert (None, 100) == (relay.most_letters, relay.most_recipients)


NOTICES = [
    (Notice(envid="a+b=c d"), {"RET": "HDRS", "ENVID": "a+2Bb+3Dc+20d"}, "DELAY,FAILURE"),
    (
        Notice(envid="x", notify=frozenset({SUCCESS, FAILURE, DELAY}), full=True),
        {"RET": "FULL"},
        "DELAY,FAILURE,SUCCESS",
    ),
    (Notice(envid="x", notify=frozenset()), {"RET": "HDRS"}, "NEVER"),
]


@pytest.mark.parametrize(("notice", "of_mail", "notify"), NOTICES)
def test_reports_are_asked_for_where_they_can_be(
    mta: Mta, connect: Connect, notice: Notice, of_mail: dict[str, str], notify: str
) -> None:
    relay = connect(mta.port)
    to = ("b+ob@example.net", "jörg@example.net")
    assert ([(0, [Sent, Sent])], "") == carry(relay, [parcel(0, *to, notice=notice, smtputf8=True)])
    (letter,) = mta.received
    assert of_mail.items() <= letter.parameters.items()
    assert (
        {"NOTIFY": notify, "ORCPT": "rfc822;b+2Bob@example.net"},
        {"NOTIFY": notify, "ORCPT": "utf-8;jörg@example.net"},
    ) == letter.notices
    mta.extensions.discard("DSN")
    assert (sent(1), "") == carry(connect(mta.port), [parcel(1, notice=notice)])
    assert ({},) == mta.received[1].notices


@pytest.mark.parametrize("without", [(), ("CHUNKING",)], ids=["chunks", "data"])
def test_in_lmtp_each_recipient_has_its_own_final_reply(connect: Connect, without: tuple[str, ...]) -> None:
    with Mta(lmtp=True) as server:
        server.on_rcpt = {"no@example.net": "550 5.1.1 nobody"}.get
        server.on_final = {BOB: "552 5.2.2 full", CARL: "451 4.2.0 later"}.get
        relay = connect(server.port, protocol=LMTP, without=without)
        parcels = [parcel(0), parcel(1, BOB, "no@example.net", CARL, DORA), parcel(2, "no@example.net"), parcel(3)]
        expected = [(0, [Sent]), (1, [Failed, Failed, Deferred, Sent]), (2, [Failed]), (3, [Sent])]
        assert (expected, "") == carry(relay, parcels)
        relay.quit()
    assert "LHLO us.example" == server.commands[0]
    assert [] == server.violations


def test_a_cut_between_the_final_replies_of_lmtp_is_a_doubt_for_the_rest(connect: Connect) -> None:
    def play(line: Line) -> None:
        line.say(b"220 x\r\n")
        line.answer(b"250-x\r\n250 PIPELINING\r\n", *[b"250 x\r\n"] * 4, b"354 x\r\n")
        line.hear_until(b".\r\n")
        line.say(b"250 taken\r\n", b"452 full\r\n", b"25")

    with RawRelay(play) as raw:
        came, error = carry(connect(raw.port, protocol=LMTP), [parcel(0, BOB, CARL, DORA), parcel(1)])
    assert ([(0, [Sent, Deferred, InDoubt])], "ConnectionLost") == (came, error)


def test_lmtp_is_not_tried_with_helo(mta: Mta, connect: Connect) -> None:
    with pytest.raises(errors.RelayRefused, match="at LHLO: 502"):
        connect(mta.port, protocol=LMTP)
    assert ["LHLO us.example"] == mta.commands
