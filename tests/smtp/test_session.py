"""The SMTP session without I/O: what may be said when, and what is made of anything that is heard."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.smtp import command as commands
from daemon.smtp.command import Command
from daemon.smtp.features import Features
from daemon.smtp.replies import Reply
from daemon.smtp.session import MAX_REPLY_LINE_OCTETS, REPLYING, SENDING, Answer, Event, Heard, Session, State
from tests.secrets_used import TOKEN

GREETED = b"220 relay.example ESMTP\r\n"
EHLO = (
    b"250-relay.example greets you\r\n250-PIPELINING\r\n250-size 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
    b"250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN login\r\n250-AUTH=CRAM-MD5\r\n250-STARTTLS\r\n250 X-ODD one two\r\n"
)
ENVELOPE = (commands.Mail("a@b"), commands.Rcpt("c@d"), commands.Rcpt("e@f"), commands.Data())


def ready(ehlo: bytes = EHLO) -> Session:
    session = Session()
    session.receive(GREETED)
    session.send(commands.Ehlo("us.example"))
    session.receive(ehlo)
    assert State.READY == session.state
    return session


def in_state(state: State) -> Session:
    """A session that came to a state on the proper way."""
    if state in (State.GREETING, State.GREETED, State.CLOSED):
        session = Session()
        session.receive({State.GREETING: b"", State.GREETED: GREETED, State.CLOSED: b"554 no\r\n"}[state])
        return session
    session = ready()
    ways: dict[State, list[tuple[Command, bytes]]] = {
        State.READY: [],
        State.TLS: [(commands.StartTls(), b"220 go\r\n")],
        State.AUTHENTICATING: [(commands.Auth("LOGIN"), b"334 x\r\n")],
        State.MAIL: [(ENVELOPE[0], b"250 ok\r\n")],
        State.RCPT: [(ENVELOPE[0], b"250 ok\r\n"), (ENVELOPE[1], b"250 ok\r\n")],
        State.DATA: [(ENVELOPE[0], b"250 ok\r\n"), (ENVELOPE[1], b"250 ok\r\n"), (ENVELOPE[3], b"")],
        State.CONTENT: [(ENVELOPE[0], b"250 ok\r\n"), (ENVELOPE[1], b"250 ok\r\n"), (ENVELOPE[3], b"354 go\r\n")],
        State.CHUNKS: [
            (ENVELOPE[0], b"250 ok\r\n"),
            (ENVELOPE[1], b"250 ok\r\n"),
            (commands.Bdat(b"x"), b"250 ok\r\n"),
        ],
    }
    for command, reply in ways[state]:
        session.send(command)
        session.receive(reply)
    assert state == session.state
    return session


def answers(events: Iterable[Event]) -> list[Answer]:
    return [event for event in events if isinstance(event, Answer)]


# --- the tables -------------------------------------------------------------------------------------------------------

SAMPLES: list[Command] = [
    commands.Ehlo("us"),
    commands.Helo("us"),
    commands.Lhlo("us"),
    commands.StartTls(),
    commands.Auth("PLAIN", "AGE="),
    commands.AuthLine("AGE="),
    *ENVELOPE[:2],
    commands.Data(),
    commands.Content(b"x\r\n"),
    commands.FinalDot(),
    commands.Bdat(b"x\r\n"),
    commands.BdatLast(b"x\r\n"),
    commands.Rset(),
    commands.Noop(),
    commands.Quit(),
]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", SAMPLES, ids=[type(one).__name__ for one in SAMPLES])
def test_only_what_the_table_allows_can_be_said(state: State, command: Command) -> None:
    session = in_state(state)
    if type(command) in SENDING[state]:
        assert command.wire == session.send(command)
        assert SENDING[state][type(command)] == session.state
    else:
        with pytest.raises(errors.OutOfState):
            session.send(command)
        assert state == session.state, "a refused command moves nothing"


def test_every_command_has_its_places_and_its_replies() -> None:
    assert {type(one) for one in SAMPLES} == set(REPLYING)
    assert set(REPLYING) == {command for allowed in SENDING.values() for command in allowed}
    assert set(State) == set(SENDING)


@pytest.mark.parametrize("first_digit", [2, 3, 4, 5])
@pytest.mark.parametrize("command", SAMPLES, ids=[type(one).__name__ for one in SAMPLES])
def test_replies_lead_where_the_table_says(command: Command, first_digit: int) -> None:
    before = next(state for state, allowed in SENDING.items() if type(command) in allowed)
    session = in_state(before)
    session.send(command)
    reply = b"%d50 text\r\n" % first_digit
    table = REPLYING[type(command)]
    if first_digit in table:
        (answer,) = answers(session.receive(reply))
        assert Reply(code=first_digit * 100 + 50, enhanced=None, text="text") == answer.reply
        assert (table[first_digit] or SENDING[before][type(command)]) == session.state
    else:
        events = session.receive(reply)
        assert [Heard(reply.decode().strip(), len(reply) - 2)] == events, "it is heard, then refused"
        with pytest.raises(errors.ProtocolViolation):
            session.receive(b"")
        with pytest.raises(errors.ProtocolViolation):
            session.send(commands.Quit())


@pytest.mark.parametrize("command", SAMPLES, ids=[type(one).__name__ for one in SAMPLES])
def test_421_ends_the_session_wherever_it_stands(command: Command) -> None:
    session = in_state(next(state for state, allowed in SENDING.items() if type(command) in allowed))
    session.send(command)
    (answer,) = answers(session.receive(b"421 4.3.2 closing\r\n"))
    assert (421, State.CLOSED) == (answer.reply.code, session.state)
    with pytest.raises(errors.OutOfState):
        session.send(commands.Quit())


# --- saying -----------------------------------------------------------------------------------------------------------

LINES = [
    (commands.Ehlo("us.example"), b"EHLO us.example\r\n"),
    (commands.Helo("us.example"), b"HELO us.example\r\n"),
    (commands.StartTls(), b"STARTTLS\r\n"),
    (commands.Auth("LOGIN"), b"AUTH LOGIN\r\n"),
    (commands.Auth("PLAIN", "="), b"AUTH PLAIN =\r\n"),
    (commands.Mail(""), b"MAIL FROM:<>\r\n"),
    (commands.Mail("a@b", octets=12), b"MAIL FROM:<a@b> SIZE=12\r\n"),
    (
        commands.Mail("ä@b", octets=0, eight_bit=True, smtputf8=True),
        "MAIL FROM:<ä@b> SIZE=0 BODY=8BITMIME SMTPUTF8\r\n".encode(),
    ),
    (commands.Rcpt('"a b"@c'), b'RCPT TO:<"a b"@c>\r\n'),
    (commands.Data(), b"DATA\r\n"),
    (commands.FinalDot(), b".\r\n"),
    (commands.Rset(), b"RSET\r\n"),
    (commands.Noop(), b"NOOP\r\n"),
    (commands.Quit(), b"QUIT\r\n"),
]


@pytest.mark.parametrize(("command", "expected"), LINES, ids=[case[0].shown for case in LINES])
def test_commands_on_the_wire(command: Command, expected: bytes) -> None:
    assert expected == command.wire


@pytest.mark.parametrize("text", ["a@b\r\nRSET", "a@b\n", "a\0@b", "\ud800@b", "a@b\x7f"])
@pytest.mark.parametrize("make", [commands.Mail, commands.Rcpt, commands.Ehlo, commands.AuthLine])
def test_no_command_can_hold_another(make: type[commands.Rcpt], text: str) -> None:
    with pytest.raises(errors.OutOfState):
        _ = make(text).wire


@pytest.mark.parametrize("command", [commands.Auth("PLAIN", TOKEN), commands.AuthLine(TOKEN)])
def test_logins_are_not_shown(command: Command) -> None:
    assert TOKEN in command.wire.decode()
    assert TOKEN not in command.shown + repr(command)
    assert command.shown.endswith("***")


def test_content_is_counted_not_shown() -> None:
    assert "(7 octets of content)" == commands.Content(b"secret!").shown


def test_groups_need_pipelining() -> None:
    session = ready(b"250 relay.example\r\n")
    session.send(ENVELOPE[0])
    with pytest.raises(errors.OutOfState):
        session.send(ENVELOPE[1])


def test_nothing_follows_a_command_that_ends_its_group() -> None:
    session = ready()
    for command in ENVELOPE:
        session.send(command)
    session = ready()
    session.send(commands.Noop())
    with pytest.raises(errors.OutOfState):
        session.send(ENVELOPE[0])


# --- hearing ----------------------------------------------------------------------------------------------------------


def test_features_are_read_from_ehlo() -> None:
    features = ready().features
    assert {
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "AUTH",
        "STARTTLS",
        "X-ODD",
    } == features.names
    assert {"PLAIN", "LOGIN", "CRAM-MD5"} == features.mechanisms
    assert 1000 == features.max_octets
    assert (True,) * 5 == (
        features.pipelining,
        features.eight_bit,
        features.smtputf8,
        features.starttls,
        features.has_size,
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["x"], None),
        (["x", "SIZE"], None),
        (["x", "SIZE 0"], None),
        (["x", "SIZE 12"], 12),
        (["x", "SIZE many"], None),
        (["x", "SIZE " + "9" * 21], None),
        (["x", "SIZE ١٢"], None),
        (["SIZE 12"], None),
        (["x", "", "  ", "-", "SIZE 7 8"], 7),
    ],
)
def test_an_odd_size_is_no_limit(lines: list[str], expected: int | None) -> None:
    assert expected == Features.of(lines).max_octets


def test_helo_has_no_features() -> None:
    session = Session()
    session.receive(GREETED)
    session.send(commands.Ehlo("us"))
    session.receive(b"502 what?\r\n")
    assert State.GREETED == session.state
    session.send(commands.Helo("us"))
    session.receive(b"250 relay.example\r\n250 PIPELINING\r\n"[:19])
    assert (State.READY, frozenset()) == (session.state, session.features.names)


DIALOGUE = (
    b"250 2.1.0 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n250 2.1.5 ok\n354\r\n",
    [
        Reply(code=250, enhanced="2.1.0", text="ok"),
        Reply(code=550, enhanced="5.1.1", text="no such user"),
        Reply(code=250, enhanced="2.1.5", text="ok"),
        Reply(code=354, enhanced=None, text=""),
    ],
)


def pipelined() -> Session:
    session = ready()
    for command in ENVELOPE:
        session.send(command)
    return session


def heard_in_pieces(session: Session, pieces: Iterable[bytes]) -> tuple[list[Event], str]:
    """All events, and the fault at the end if there was one."""
    events: list[Event] = []
    try:
        for piece in [*pieces, b""]:
            events += session.receive(piece)
    except errors.ProtocolViolation as fault:
        return events, f"{type(fault).__name__}: {fault}"
    return events, ""


def test_replies_come_whole() -> None:
    events = pipelined().receive(DIALOGUE[0])
    assert DIALOGUE[1] == [one.reply for one in answers(events)]
    assert list(ENVELOPE) == [one.command for one in answers(events)]
    shown = ["250 2.1.0 ok", "550-5.1.1 no", "550 5.1.1 such user", "250 2.1.5 ok", "354"]
    assert shown == [event.shown for event in events if isinstance(event, Heard)]


@pytest.mark.parametrize(
    "behind", [b"", b"421 closing\r\n", b"nonsense\r\n", b"451 early refusal\r\n", b"250 unasked\r\n"]
)
def test_replies_octet_by_octet_are_the_same(behind: bytes) -> None:
    wire = DIALOGUE[0] + behind
    whole = heard_in_pieces(pipelined(), [wire])
    assert whole == heard_in_pieces(pipelined(), [bytes([one]) for one in wire])


@settings(max_examples=60)
@given(st.data())
def test_replies_cut_at_random_are_the_same(data: st.DataObject) -> None:
    wire = DIALOGUE[0] + data.draw(st.sampled_from([b"", b"what\r\n", b"250 x\r\n", b"552 big\r\n", b"421 x\r\n250"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert heard_in_pieces(pipelined(), [wire]) == heard_in_pieces(pipelined(), pieces)


@settings(max_examples=60)
@given(
    st.sampled_from([one for one in State if one is not State.CLOSED]),
    st.binary(max_size=200) | st.text("2345 0-.\r\n").map(str.encode),
)
def test_whatever_is_heard_is_an_event_or_a_violation(state: State, octets: bytes) -> None:
    events, fault = heard_in_pieces(in_state(state), [octets])
    assert fault.isprintable()
    for event in events:
        shown = event.shown if isinstance(event, Heard) else str(event.reply)
        assert shown.isprintable()


BROKEN = [
    ("no code", b"hello\r\n", "this is no SMTP reply: 'hello'"),
    ("HTTP", b"HTTP/1.1 400 Bad Request\r\n", "this is no SMTP reply"),
    ("POP3", b"+OK ready\r\n", "this is no SMTP reply"),
    ("1xx", b"150 wait\r\n", "this is no SMTP reply"),
    ("6xx", b"600 what\r\n", "this is no SMTP reply"),
    ("two digits", b"25 ok\r\n", "this is no SMTP reply"),
    ("four digits", b"2500 ok\r\n", "this is no SMTP reply"),
    ("odd separator", b"250+ok\r\n", "this is no SMTP reply"),
    ("other digits", "٢٥٠ ok\r\n".encode(), "this is no SMTP reply"),
    ("empty", b"\r\n", "this is no SMTP reply"),
    ("two codes", b"250-ok\r\n550 no\r\n", "one reply with two codes"),
    ("354 to MAIL", b"354 go\r\n", "the reply to MAIL FROM:<a@b> makes no sense"),
    ("a line too long", b"250 " + b"x" * 5000, "longer than 4096"),
    ("an endless line", b"250 " + b"x" * 5000 + b"\r\n", "longer than 4096"),
    ("an endless reply", b"250-" + b"x" * 4000 + b"\r\n" + (b"250-" + b"x" * 4000 + b"\r\n") * 20, "a reply is longer"),
    ("short lines without end", b"250-\r\n" * 20_000, "a reply is longer"),
]


@pytest.mark.parametrize(("octets", "reason"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_reply_is_a_violation_of_one_line(octets: bytes, reason: str) -> None:
    session = ready()
    session.send(ENVELOPE[0])
    _, fault = heard_in_pieces(session, [octets])
    assert reason in fault
    assert len(fault) < 250
    with pytest.raises(errors.ProtocolViolation):
        session.ensure_sound()


def test_a_good_reply_is_taken_before_the_fault_behind_it() -> None:
    """The verdict on a letter must not be lost for what comes after it."""
    session = in_state(State.CONTENT)
    session.send(commands.FinalDot())
    (answer,) = answers(session.receive(b"250 2.0.0 taken\r\nnonsense\r\n"))
    assert 250 == answer.reply.code
    with pytest.raises(errors.ProtocolViolation, match="nonsense"):
        session.send(ENVELOPE[0])


def test_text_in_replies_is_made_readable() -> None:
    session = ready()
    session.send(ENVELOPE[0])
    (answer,) = answers(session.receive(b"550 5.7.1 Gr\xc3\xbc\xc3\x9fe \xff\x1b[31m\tx\0\r\n"))
    assert r"Grüße \xff\x1b[31m x\x00" == answer.reply.text


def test_a_long_line_within_the_cap_is_fine() -> None:
    session = ready()
    session.send(ENVELOPE[0])
    line = b"250 " + b"x" * (MAX_REPLY_LINE_OCTETS - 4) + b"\r\n"
    assert 1 == len(answers(session.receive(line)))


# --- letters behind each other ----------------------------------------------------------------------------------------

FLIGHTS: dict[str, tuple[bool, list[Command], bytes, list[tuple[str, int]]]] = {
    "a dot and the next envelope": (
        False,
        [commands.FinalDot(), commands.Mail("a@b"), commands.Rcpt("c@d"), commands.Data()],
        b"250 taken\r\n250-ok\r\n250 ok\r\n550 no\r\n554 nobody\r\n",
        [("FinalDot", 250), ("Mail", 250), ("Rcpt", 550), ("Data", 554)],
    ),
    "chunks": (
        False,
        [commands.FinalDot(), *([*ENVELOPE[:2], commands.Bdat(b"x"), commands.BdatLast(b"y"), commands.Rset()] * 2)],
        b"451 no\r\n" + b"250 ok\r\n250 ok\r\n250 ok\r\n250-taken\r\n250 now\r\n250 reset\r\n" * 2,
        [
            ("FinalDot", 451),
            *[(name, 250) for _ in range(2) for name in ("Mail", "Rcpt", "Bdat", "BdatLast", "Rset")],
        ],
    ),
    "LMTP": (
        True,
        [commands.FinalDot(), *ENVELOPE[:3], commands.BdatLast(b"y"), *ENVELOPE[:2], commands.BdatLast(b"z")],
        b"250 taken\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 one\r\n452 two\r\n250 ok\r\n550 no\r\n503 nobody\r\n",
        [
            *[("FinalDot", 250), ("Mail", 250), ("Rcpt", 250), ("Rcpt", 250), ("BdatLast", 250), ("BdatLast", 452)],
            *[("Mail", 250), ("Rcpt", 550), ("BdatLast", 503)],
        ],
    ),
}


def flight(lmtp: bool, given: list[Command]) -> Session:  # noqa: FBT001 -- a column of the table
    session = Session(lmtp=lmtp)
    session.receive(GREETED)
    session.send(commands.Lhlo("us") if lmtp else commands.Ehlo("us"))
    session.receive(EHLO)
    for command, reply in [(ENVELOPE[0], b"250 ok\r\n"), (ENVELOPE[1], b"250 ok\r\n"), (ENVELOPE[3], b"354 go\r\n")]:
        session.send(command)
        session.receive(reply)
    for command in given:
        session.send(command)
    return session


@settings(max_examples=30)
@given(st.data())
@pytest.mark.parametrize("name", FLIGHTS)
def test_replies_find_their_commands_however_they_are_cut(name: str, data: st.DataObject) -> None:
    lmtp, said, wire, expected = FLIGHTS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    session = flight(lmtp, said)
    events, fault = heard_in_pieces(session, pieces)
    assert ("", False) == (fault, session.awaits_reply)
    assert expected == [(type(one.command).__name__, one.reply.code) for one in answers(events)]


def test_chunks_are_counted_and_never_shown() -> None:
    for command, line in (
        (commands.Bdat(b".secret\r\n"), b"BDAT 9"),
        (commands.BdatLast(b".secret\r\n"), b"BDAT 9 LAST"),
    ):
        assert line + b"\r\n.secret\r\n" == command.wire
        assert line.decode() == command.shown
        assert "secret" not in repr(command)


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_after_starttls_all_that_was_learned_is_forgotten() -> None:
    session = in_state(State.TLS)
    session.begin_tls()
    assert (State.GREETED, frozenset()) == (session.state, session.features.names)


@pytest.mark.parametrize("injected", [b"2", b"250 hello\r\n", b"\r\n"])
def test_octets_behind_the_220_are_an_attack(injected: bytes) -> None:
    session = ready()
    session.send(commands.StartTls())
    session.receive(b"220 go\r\n" + injected)
    with pytest.raises(errors.PlaintextInjected):
        session.begin_tls()


def test_tls_begins_only_after_the_220() -> None:
    session = ready()
    with pytest.raises(errors.OutOfState):
        session.begin_tls()
