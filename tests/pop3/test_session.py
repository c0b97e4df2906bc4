"""Whatever the server says: events, ProtocolViolation or TooLong, the same ones however the octets are cut."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.pop3.commands import (
    Auth,
    AuthLine,
    Capa,
    Command,
    Dele,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)  # fmt: skip
from daemon.pop3.session import TRANSITIONS, Body, Challenge, Event, Greeting, Lines, Reply, Session, State
from daemon.wire.secret import Secret
from tests.secrets_used import PASSWORD

ALL: list[Command] = [
    Capa(), Stls(), User("anna"), Pass(Secret(PASSWORD)), Auth("PLAIN", b"x"), AuthLine(b"x"),
    Stat(), List(), Uidl(), Top(1, 0), Retr(1), Dele(1), Rset(), Noop(), Quit(),
]  # fmt: skip


def logged_in(**caps: int) -> Session:
    session = Session(**caps)
    session.receive(b"+OK ready\r\n")
    session.send(User("anna"))
    session.send(Pass(Secret(PASSWORD)))
    session.receive(b"+OK\r\n+OK\r\n")
    return session


def told(session: Session, pieces: Iterable[bytes]) -> tuple[list[object], str | None]:
    """Feed pieces; return the events with bodies joined, and the failure's text."""
    events: list[Event] = []
    failure: str | None = None
    try:
        for piece in pieces:
            events += session.receive(piece)
        session.ensure_sound()
    except (errors.ProtocolViolation, errors.TooLong) as error:
        failure = f"{type(error).__name__}: {error}"
    flat: list[object] = []
    body = b""
    for event in events:
        if isinstance(event, Body):
            body += event.octets
            if event.last:
                flat.append((event.command, body))
                body = b""
        else:
            flat.append(event)
    return [*flat, body], failure


def octet_by_octet(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


def test_a_session_from_greeting_to_quit() -> None:
    session = Session()
    assert [Greeting(True, "[X] ready", "+OK [X] ready", 13)] == session.receive(b"+OK [X] ready\r\n")
    assert b"USER anna\r\n" == session.send(User("anna"))
    assert f"PASS {PASSWORD}\r\n".encode() == session.send(Pass(Secret(PASSWORD)))
    passed = [session.state]
    session.receive(b"+OK\r\n+OK in\r\n")
    passed.append(session.state)
    session.send(Quit())
    passed.append(session.state)
    session.receive(b"+OK bye\r\n")
    passed.append(session.state)
    assert [State.AUTHORIZATION, State.TRANSACTION, State.UPDATE, State.CLOSED] == passed


def test_pipelined_replies_find_their_commands() -> None:
    session = logged_in()
    commands: list[Command] = [Retr(1), Retr(2), Top(3, 0), Dele(4), Uidl(), Noop()]
    for command in commands:
        session.send(command)
    wire = (
        b"+OK 5\r\na\r\n..b\r\n.\r\n" b"-ERR [SYS/TEMP] no\r\n" b"+OK\r\n.\r\n" b"+OK gone\r\n" b"+OK\r\n1 a\r\n2 b\r\n.\r\n" b"-ERR\r\n"
    )  # fmt: skip
    expected = [
        Reply(commands[0], True, None, "5", "+OK 5", 5), (commands[0], b"a\r\n.b\r\n"),
        Reply(commands[1], False, "SYS/TEMP", "[SYS/TEMP] no", "-ERR [SYS/TEMP] no", 18),
        Reply(commands[2], True, None, "", "+OK", 3), (commands[2], b""),
        Reply(commands[3], True, None, "gone", "+OK gone", 8),
        Reply(commands[4], True, None, "", "+OK", 3), Lines(commands[4], b"1 a\r\n2 b\r\n"),
        Reply(commands[5], False, None, "", "-ERR", 4), b"",
    ]  # fmt: skip
    assert (expected, None) == told(session, [wire])
    for pieces in (octet_by_octet(wire), [wire[:20], wire[20:21], wire[21:]]):
        again = logged_in()
        for command in commands:
            again.send(command)
        assert (expected, None) == told(again, pieces)


SAID = st.sampled_from(
    [
        b"+OK",
        b"-ERR",
        b"+ ",
        b"\r\n",
        b"\n",
        b".",
        b"\r\n.\r\n",
        b"1 2",
        b" ",
        b"a",
        b"\x00\xff",
        b"[SYS/TEMP]",
        b"=",
        b"+ok x\r\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    said=st.lists(SAID | st.binary(max_size=4), max_size=30).map(b"".join),
    commands=st.lists(st.sampled_from([Capa(), Retr(1), Dele(1), List(), Top(1, 2), Stat()]), max_size=5),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_whatever_the_server_says_and_however_it_is_cut(said: bytes, commands: list[Command], cuts: list[int]) -> None:
    places = [0, *sorted(one % (len(said) + 1) for one in cuts), len(said)]
    outcomes = []
    for pieces in ([said], octet_by_octet(said), [said[a:b] for a, b in itertools.pairwise(places)]):
        session = logged_in()
        for command in commands:
            session.send(command)
        outcomes.append(told(session, pieces))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("command", ALL, ids=lambda command: command.verb)
def test_only_the_table_says_what_may_be_said(state: State, command: Command) -> None:
    session = Session()
    session.state = state
    if type(command) in TRANSITIONS[state]:
        assert session.send(command).endswith(b"\r\n")
    else:
        with pytest.raises(errors.OutOfState, match="in state"):
            session.send(command)


@pytest.mark.parametrize("command", [Stls(), Pass(Secret(PASSWORD)), Auth("PLAIN")], ids=lambda command: command.verb)
def test_nothing_is_said_behind_a_command_whose_reply_changes_all(command: Command) -> None:
    session = Session()
    session.receive(b"+OK\r\n")
    session.send(command)
    with pytest.raises(errors.OutOfState, match="before its reply"):
        session.send(Capa())


def test_an_err_moves_nothing() -> None:
    session = Session()
    session.receive(b"+OK\r\n")
    session.send(User("anna"))
    session.send(Pass(Secret(PASSWORD)))
    session.receive(b"+OK\r\n-ERR [AUTH] no\r\n")
    assert State.AUTHORIZATION is session.state


def test_what_waits_behind_the_reply_to_stls_is_seen() -> None:
    session = Session()
    session.receive(b"+OK\r\n")
    session.send(Stls())
    assert 1 == len(session.receive(b"+OK\r\n+OK injected\r\n"))
    assert 14 == session.buffered


def test_a_server_that_speaks_unasked_is_not_taken_for_a_reply() -> None:
    session = logged_in()
    session.receive(b"+OK surprise\r\n")
    with pytest.raises(errors.ProtocolViolation, match="without being asked"):
        session.send(Dele(1))


def test_good_replies_before_a_violation_are_not_lost() -> None:
    session = logged_in()
    session.send(Dele(1))
    session.send(Dele(2))
    assert 1 == len(session.receive(b"+OK\r\nwhat?\r\n"))
    with pytest.raises(errors.ProtocolViolation, match="what"):
        session.ensure_sound()
    with pytest.raises(errors.ProtocolViolation):
        session.receive(b"")


def test_a_challenge_is_decoded() -> None:
    session = Session()
    session.receive(b"+OK\r\n")
    session.send(Auth("LOGIN"))
    assert [Challenge(Auth("LOGIN"), b"Username:", "+ ***", 14)] == session.receive(b"+ VXNlcm5hbWU6\r\n")[:1]
    session.send(AuthLine(b"anna"))
    with pytest.raises(errors.ProtocolViolation, match="base64"):
        session.receive(b"+ !!!\r\n")


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (Noop(), b"x" * 9000),
        (Noop(), b"+OK " + b"x" * 9000 + b"\r\n"),
        (List(), b"+OK\r\n" + b"1 1\r\n" * 300),
        (List(), b"+OK\r\n" + b"x" * 1100),
        (Retr(1), b"+OK\r\n" + b"x" * 1100),
    ],
)
def test_what_never_ends_is_cut_off(command: Command, wire: bytes) -> None:
    session = logged_in(max_message_octets=1000, max_listing_octets=1000)
    session.send(command)
    _events, failure = told(session, octet_by_octet(wire))
    assert failure is not None
    assert failure.startswith("TooLong")


def test_no_command_shows_a_secret() -> None:
    for command in (Pass(Secret(PASSWORD)), Auth("PLAIN", PASSWORD.encode()), AuthLine(PASSWORD.encode())):
        assert PASSWORD[:6] not in command.shown + repr(command)
        assert "***" in command.shown


@pytest.mark.parametrize("bad", ["a\r\nDELE 1", "a\nb", "a\0b", "\udcff"])
def test_an_argument_is_no_second_command(bad: str) -> None:
    for command in (User(bad), Pass(Secret(bad)), Auth(bad)):
        session = Session()
        session.state = State.AUTHORIZATION
        with pytest.raises(errors.InputInvalid):
            session.send(command)
        assert 0 == session.pending


def test_a_long_listing_is_read_in_bounded_time() -> None:
    session = logged_in()
    session.send(Uidl())
    wire = b"+OK\r\n" + b"".join(b"%d %032x\r\n" % (n, n) for n in range(50_000)) + b".\r\n"
    events = [event for start in range(0, len(wire), 4096) for event in session.receive(wire[start : start + 4096])]
    assert isinstance(events[-1], Lines)
    assert 50_000 == len(events[-1].lines)
