"""The client's side of an SMTP or LMTP session, without I/O (RFC 5321; LMTP RFC 2033; pipelining RFC 2920; chunks RFC 3030).

Octets in, events out; commands in, octets out. What may be said when is one table, SENDING, and where a reply leads another,
REPLYING; nothing else moves the state. Whatever the server says: an event, ProtocolViolation or TooLong, nothing else.
OutOfState is a bug of the caller. A fault behind good replies is kept until those were taken: the next call raises it. Pure.
"""

import re
from collections import deque
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from daemon import errors
from daemon.smtp import command as commands
from daemon.smtp.command import Command
from daemon.smtp.features import Features
from daemon.smtp.replies import Reply
from daemon.wire.lines import LineReader

MAX_REPLY_LINE_OCTETS: Final = (
    4096  # RFC 5321 section 4.5.3.1.5 says 512; some relays put links with tokens into a reply
)
MAX_REPLY_OCTETS: Final = 64 * 1024  # of all lines of one reply; a server with more is broken or wants our memory
KNOWN_LINES: Final = 64  # read once and remembered: a relay says the same to every letter
SHOWN_CHARACTERS: Final = 80  # of an odd line, in the message about it

_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)


class State(StrEnum):
    """Where the session stands, seen from what was sent last."""

    GREETING = "greeting"
    GREETED = "greeted"
    READY = "ready"
    TLS = "tls"
    AUTHENTICATING = "authenticating"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    CHUNKS = "chunks"
    CLOSED = "closed"


# state -> command -> state, moved when the command is sent
SENDING: Final[dict[State, dict[type[Command], State]]] = {
    State.GREETING: {},
    State.GREETED: {
        commands.Ehlo: State.GREETED,
        commands.Helo: State.GREETED,
        commands.Lhlo: State.GREETED,
        commands.Quit: State.GREETED,
    },
    State.READY: {
        commands.Ehlo: State.READY,
        commands.Lhlo: State.READY,
        commands.StartTls: State.READY,
        commands.Auth: State.READY,
        commands.Mail: State.MAIL,
        commands.Rset: State.READY,
        commands.Noop: State.READY,
        commands.Quit: State.READY,
    },
    State.TLS: {},
    State.AUTHENTICATING: {commands.AuthLine: State.READY},
    State.MAIL: {
        commands.Rcpt: State.RCPT,
        commands.Rset: State.READY,
        commands.Noop: State.MAIL,
        commands.Quit: State.MAIL,
    },
    State.RCPT: {
        commands.Rcpt: State.RCPT,
        commands.Data: State.DATA,
        commands.Bdat: State.CHUNKS,
        commands.BdatLast: State.READY,
        commands.Rset: State.READY,
        commands.Noop: State.RCPT,
        commands.Quit: State.RCPT,
    },
    State.DATA: {},
    State.CONTENT: {commands.Content: State.CONTENT, commands.FinalDot: State.READY},
    State.CHUNKS: {
        commands.Bdat: State.CHUNKS,
        commands.BdatLast: State.READY,
        commands.Rset: State.READY,
        commands.Noop: State.CHUNKS,
        commands.Quit: State.CHUNKS,
    },
    State.CLOSED: {},
}

# command -> first digit of the reply -> state, None: it stays. A digit that is not here is a violation. 421 closes always.
REPLYING: Final[dict[type[Command], dict[int, State | None]]] = {
    commands.Ehlo: {2: State.READY, 4: None, 5: None},
    commands.Helo: {2: State.READY, 4: None, 5: None},
    commands.Lhlo: {2: State.READY, 4: None, 5: None},
    commands.StartTls: {2: State.TLS, 4: None, 5: None},
    commands.Auth: {2: None, 3: State.AUTHENTICATING, 4: None, 5: None},
    commands.AuthLine: {2: None, 3: State.AUTHENTICATING, 4: None, 5: None},
    commands.Mail: {2: None, 4: None, 5: None},
    commands.Rcpt: {2: None, 4: None, 5: None},
    commands.Data: {3: State.CONTENT, 4: State.RCPT, 5: State.RCPT},
    commands.Content: {4: State.CLOSED, 5: State.CLOSED},  # refused before its end: what follows is out of step
    commands.FinalDot: {2: None, 4: None, 5: None},
    commands.Bdat: {2: None, 4: None, 5: None},
    commands.BdatLast: {2: None, 4: None, 5: None},
    commands.Rset: {2: None, 4: State.CLOSED, 5: State.CLOSED},  # who can't forget a letter must not get another
    commands.Noop: {2: None, 4: None, 5: None},
    commands.Quit: {2: State.CLOSED, 4: State.CLOSED, 5: State.CLOSED},
}
GREETING: Final[dict[int, State | None]] = {2: State.GREETED, 4: State.CLOSED, 5: State.CLOSED}
_SPEECHLESS: Final = frozenset({State.TLS, State.CLOSED})  # no line is expected then
_HELLOS: Final = (commands.Ehlo, commands.Lhlo, commands.Helo)
_ENDS: Final = (commands.FinalDot, commands.BdatLast)


class Heard(NamedTuple):
    """A line came. shown: for the transcript."""

    shown: str
    octets: int


class Answer(NamedTuple):
    """A reply is complete. command: what it answers; None for the greeting, and for a 421 that nothing asked for.

    lines: its texts, without the reply code.
    """

    command: Command | None
    reply: Reply
    lines: tuple[str, ...]


Event = Heard | Answer


class Session:
    """One connection's state. `features` are those of the last EHLO."""

    def __init__(self, *, lmtp: bool = False, without: Collection[str] = ()) -> None:
        """Wait for the greeting.

        lmtp: each accepted recipient has a final reply of its own (RFC 2033 section 4.2).  without: extensions not to be used.
        """
        self.state = State.GREETING
        self.is_lmtp = lmtp
        self._without = without
        self._accepted = 0  # recipients of the letter whose replies are coming
        self._finals_left = 0
        self.features = Features()
        self._reader = LineReader(MAX_REPLY_LINE_OCTETS)
        self._pending: deque[Command] = deque()
        self._code = 0
        self._lines: list[str] = []
        self._reply_octets = 0
        self._fault: errors.ProtocolViolation | None = None

    @property
    def awaits_reply(self) -> bool:
        """Whether the server has something to say."""
        return bool(self._pending) or self.state is State.GREETING

    @property
    def buffered(self) -> int:
        """How many octets came that were not read."""
        return self._reader.buffered

    def ensure_sound(self) -> None:
        """Raise the fault that was found behind the last good reply, if there was one."""
        if self._fault is not None:
            raise self._fault

    # --- saying -----------------------------------------------------------------------------------------------------

    def send(self, command: Command) -> bytes:
        """Return the command's octets and count on its reply; OutOfState where it has no place."""
        if self._fault is not None:
            raise self._fault
        next_state = SENDING[self.state].get(type(command))
        if next_state is None:
            raise errors.OutOfState(f"{command.shown} in state {self.state}")
        if self._pending and (self._pending[-1].ends_group or not self.features.pipelining):
            raise errors.OutOfState(f"{command.shown} before the reply to {self._pending[-1].shown}")
        octets = command.wire
        if command.has_reply:
            self._pending.append(command)
        self.state = next_state
        return octets

    def begin_tls(self) -> None:
        """Forget what was learned in the clear, before the handshake (RFC 3207 section 4.2).

        Raises PlaintextInjected when octets were waiting behind the 220: they did not come through TLS.
        """
        if self.state is not State.TLS:
            raise errors.OutOfState(f"TLS in state {self.state}")
        if self.buffered:
            raise errors.PlaintextInjected(f"{self.buffered} octets came behind the reply to STARTTLS, before TLS")
        self.features = Features()
        self.state = State.GREETED

    # --- hearing ----------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Event]:
        """Read what came, cut anywhere. A fault behind the first event is raised by the next call."""
        self.ensure_sound()
        self._reader.feed(octets)
        events: list[Event] = []
        next_line = self._reader.next_line
        try:
            while self.state not in _SPEECHLESS and (line := next_line()) is not None:
                read = _read(line)
                events.append(Heard(read.shown, len(line)))
                answer = self._line(read, len(line))
                if answer is not None:
                    events.append(answer)
        except errors.ProtocolViolation as fault:
            self._fault = fault
            if not events:
                raise
        return events

    def _line(self, read: "_Read", octets: int) -> Answer | None:
        if read.reply is None:
            raise errors.ProtocolViolation(f"this is no SMTP reply: {read.shown[:SHOWN_CHARACTERS]!r}")
        if read.is_last and not self._lines:
            return self._answer(read.reply, (read.text,))
        code = read.reply.code
        if self._lines and code != self._code:
            raise errors.ProtocolViolation(f"one reply with two codes, {self._code} and {code}")
        self._code = code
        self._reply_octets += octets
        if self._reply_octets > MAX_REPLY_OCTETS:
            raise errors.TooLong(f"a reply is longer than {MAX_REPLY_OCTETS} octets")
        self._lines.append(read.text)
        if not read.is_last:
            return None
        lines, self._lines, self._reply_octets = tuple(self._lines), [], 0
        return self._answer(Reply.of(code, lines), lines)

    def _answer(self, reply: Reply, lines: tuple[str, ...]) -> Answer:
        command, table = self._answered(reply)
        first = reply.code // 100
        if reply.ends_session:
            next_state: State | None = State.CLOSED
        elif first in table:
            next_state = table[first]
        else:
            asked = "the greeting" if command is None else f"the reply to {command.shown}"
            raise errors.ProtocolViolation(f"{asked} makes no sense: {str(reply)[:SHOWN_CHARACTERS]!r}")
        if next_state is not None:
            self.state = next_state
        kind = type(command)
        if first == 2:
            if kind is commands.Rcpt:
                self._accepted += 1
            elif kind in _HELLOS:
                self.features = Features.of(() if kind is commands.Helo else lines).without(self._without)
        return Answer(command, reply, lines)

    def _answered(self, reply: Reply) -> tuple[Command | None, dict[int, State | None]]:
        """Return what the reply is for, and where it may lead."""
        if self.state is State.GREETING:
            return None, GREETING
        if self._pending:
            command = self._pending[0]
            if not (self.is_lmtp and isinstance(command, _ENDS) and self._has_more_finals()):
                self._pending.popleft()
            if isinstance(command, commands.Mail):
                self._accepted = 0
            return command, REPLYING[type(command)]
        if self.state is State.CONTENT:
            return commands.Content(b""), REPLYING[commands.Content]
        if reply.ends_session:
            return None, {}
        raise errors.ProtocolViolation(f"a reply that nothing asked for: {str(reply)[:SHOWN_CHARACTERS]!r}")

    def _has_more_finals(self) -> bool:
        """Count a final reply of LMTP; tell whether more of the same letter follow. There is one also where nobody was accepted."""
        self._finals_left = (self._finals_left or max(1, self._accepted)) - 1
        return self._finals_left > 0


class _Read(NamedTuple):
    """A line, read. text: without the code.  reply: what it is if it is all of one; None for what is no reply."""

    shown: str
    text: str
    is_last: bool
    reply: Reply | None


@lru_cache(KNOWN_LINES)
def _read(line: bytes) -> _Read:
    shown, found = _readable(line), _LINE.fullmatch(line)
    if found is None:
        return _Read(shown, shown, is_last=True, reply=None)
    text = _readable(found[3] or b"")
    return _Read(shown, text, is_last=found[2] != b"-", reply=Reply.of(int(found[1]), [text]))


def _readable(octets: bytes) -> str:
    """Text for people and for columns: no controls, no half characters."""
    text = octets.decode("utf-8", "backslashreplace").replace("\t", " ")
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
