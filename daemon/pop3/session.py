"""The POP3 session without I/O: what may be said when, and what the octets that come back are (RFC 1939, 2449, 5034).

`send` turns a command into octets, if the state allows it; `receive` turns octets, cut anywhere, into events, each with the
command it answers: replies come in the order of the commands (pipelining, RFC 2449 section 6.6). The state changes at a +OK,
by one table; -ERR moves nothing; QUIT ends the session either way.

Raises OutOfState for a bug of ours, ProtocolViolation and TooLong for theirs, nothing else whatever the octets. A violation
behind good replies is raised at the next call, so that none of these is lost. No socket, no clock, no trace.
"""

import base64
import binascii
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from daemon.errors import OutOfState, PostroomError, ProtocolViolation, TooLong
from daemon.pop3 import replies
from daemon.pop3.commands import (
    Apop,
    Auth,
    AuthLine,
    Capa,
    Command,
    Dele,
    Lang,
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
    Utf8,
)
from daemon.wire.lines import BodyReader, LineReader

MAX_LINE_OCTETS: Final = 8192  # of a status line: RFC 2449 section 4 says 512; long reasons and challenges exist
MAX_LISTING_OCTETS: Final = (
    64 * 1024 * 1024
)  # of a reply to CAPA, LIST, UIDL: a million messages with UIDLs of 50 octets
MAX_MESSAGE_OCTETS: Final = 2 * 1024**3  # of a message: what SQLite and PostgreSQL could still take whole


class State(Enum):
    """Where the session is (RFC 1939 section 3)."""

    GREETING = "greeting"
    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"


# State -> what may be said in it -> the state after its +OK. QUIT is different: its state begins when it is said.
TRANSITIONS: Final[Mapping[State, Mapping[type[Command], State]]] = {
    State.GREETING: {},
    State.AUTHORIZATION: {
        Capa: State.AUTHORIZATION,
        Stls: State.AUTHORIZATION,
        Utf8: State.AUTHORIZATION,
        Lang: State.AUTHORIZATION,
        User: State.AUTHORIZATION,
        Pass: State.TRANSACTION,
        Apop: State.TRANSACTION,
        Auth: State.TRANSACTION,
        AuthLine: State.TRANSACTION,
        Quit: State.CLOSED,
    },
    State.TRANSACTION: {
        Capa: State.TRANSACTION,
        Stat: State.TRANSACTION,
        List: State.TRANSACTION,
        Uidl: State.TRANSACTION,
        Top: State.TRANSACTION,
        Retr: State.TRANSACTION,
        Dele: State.TRANSACTION,
        Rset: State.TRANSACTION,
        Noop: State.TRANSACTION,
        Quit: State.UPDATE,
    },
    State.UPDATE: {},
    State.CLOSED: {},
}


class Greeting(NamedTuple):
    """The server's first line."""

    ok: bool
    text: str
    shown: str
    octets: int


class Reply(NamedTuple):
    """A status line. code: response code, upper case. text: behind +OK or -ERR. octets: of the line."""

    command: Command
    ok: bool
    code: str | None
    text: str
    shown: str
    octets: int


class Challenge(NamedTuple):
    """The server wants a line of an authentication; `challenge` is decoded."""

    command: Command
    challenge: bytes
    shown: str
    octets: int


class Body(NamedTuple):
    """Octets of a message, un-stuffed; `last` on the final piece, which may be empty."""

    command: Command
    octets: bytes
    last: bool


class Lines(NamedTuple):
    """The whole of a multi-line reply that is not mail, with its line ends."""

    command: Command
    whole: bytes

    @property
    def lines(self) -> list[bytes]:
        """What it says, line by line."""
        return replies.split(self.whole)


Event = Greeting | Reply | Challenge | Body | Lines


class Session:
    """One POP3 session, from the greeting to the reply to QUIT."""

    def __init__(self, *, max_message_octets: int | None = None, max_listing_octets: int | None = None) -> None:
        """Caps on what one reply may bring, beyond which it is TooLong; the module's where not given."""
        self.state = State.GREETING
        self._max_message_octets = max_message_octets or MAX_MESSAGE_OCTETS
        self._max_listing_octets = max_listing_octets or MAX_LISTING_OCTETS
        self._lines = LineReader(MAX_LINE_OCTETS)
        self._pending: deque[Command] = deque()
        self._body: BodyReader | None = None
        self._body_octets = 0
        self._collected: list[bytes] = []
        self._failure: PostroomError | None = None

    @property
    def buffered(self) -> int:
        """Octets received and not understood yet; behind +OK to STLS there must be none (RFC 2595, CVE-2011-0411)."""
        return self._lines.buffered

    @property
    def pending(self) -> int:
        """Commands that are not answered, or not wholly."""
        return len(self._pending)

    @property
    def is_in_body(self) -> bool:
        """Whether a multi-line reply has begun and not ended."""
        return self._body is not None

    def ensure_sound(self) -> None:
        """Raise what was found behind the events of the last `receive`."""
        if self._failure is not None:
            raise self._failure

    # --- we say -----------------------------------------------------------------------------------------------------

    def send(self, command: Command) -> bytes:
        """Return the command's octets and expect its reply."""
        self.ensure_sound()
        after = TRANSITIONS[self.state].get(type(command))
        if after is None:
            raise OutOfState(f"{command.shown} in state {self.state.value}")
        if self._pending and (self._pending[-1].ends_pipeline or type(command) is AuthLine):
            raise OutOfState(f"{command.shown} behind {self._pending[-1].shown}, before its reply")
        if not self._pending and self._lines.buffered:
            raise ProtocolViolation("the server spoke without being asked")
        wire = command.wire
        self._pending.append(command)
        if type(command) is Quit:
            self.state = after
        return wire

    # --- they say ---------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Event]:
        """Return what these octets complete, in order."""
        self.ensure_sound()
        events: list[Event] = []
        try:
            self._read(octets, events)
        except ProtocolViolation as error:
            self._failure = error
            self.state = State.CLOSED
            if not events:
                raise
        return events

    def _read(self, octets: bytes, events: list[Event]) -> None:
        lines, pending = self._lines, self._pending
        lines.feed(octets)
        while True:
            if self._body is not None:
                self._read_body(self._body, events)
                if self._body is not None:
                    return
            if not pending and self.state is not State.GREETING:
                return
            line = lines.next_line()
            if line is None:
                return
            if self.state is State.GREETING:
                ok, text = _status(line)
                self.state = State.AUTHORIZATION if ok else State.CLOSED
                events.append(Greeting(ok, text, _shown(line), len(line)))
            else:
                events.append(self._reply(pending[0], line))

    def _reply(self, command: Command, line: bytes) -> Event:
        if line[:1] == b"+" and line[:3] != b"+OK" and isinstance(command, Auth | AuthLine):
            self._pending.popleft()
            return Challenge(command, _challenge(line), "+ ***", len(line))
        ok, text = _status(line)
        if ok and command.is_multi_line:
            self._body = BodyReader(lenient=self._lines.ended_bare)
            self._body_octets = 0
        else:
            self._pending.popleft()
        if type(command) is Quit:
            self.state = State.CLOSED
        elif ok:
            # Behind a QUIT in the same flight the state has moved on already.
            self.state = TRANSITIONS[self.state].get(type(command), self.state)
        return Reply(command, ok, replies.code(text), text, _shown(line), len(line))

    def _read_body(self, body: BodyReader, events: list[Event]) -> None:
        command = self._pending[0]
        piece = self._lines.take_body(body)
        self._body_octets += len(piece)
        cap = self._max_message_octets if command.is_mail else self._max_listing_octets
        if self._body_octets > cap:
            raise TooLong(f"the reply to {command.shown} is longer than {cap} octets")
        if body.done:
            self._pending.popleft()
            self._body = None
        if command.is_mail:
            if piece or body.done:
                events.append(Body(command, piece, body.done))
            return
        self._collected.append(piece)
        if body.done:
            whole, self._collected = b"".join(self._collected), []
            events.append(Lines(command, whole))


def _status(line: bytes) -> tuple[bool, str]:
    """Return whether a status line is positive, and its text; case and a missing space are forgiven."""
    start = line[:4].upper()
    if start[:3] == b"+OK":
        return True, line[3:].strip().decode("utf-8", "backslashreplace")
    if start == b"-ERR":
        return False, line[4:].strip().decode("utf-8", "backslashreplace")
    raise ProtocolViolation(f"neither +OK nor -ERR: {_shown(line)[:80]!r}")


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


def _challenge(line: bytes) -> bytes:
    try:
        return base64.b64decode(line[1:].strip(), validate=True)
    except binascii.Error as error:
        raise ProtocolViolation("a challenge that is not base64") from error
