"""The window of messages that are asked for and not here yet, and the message that is arriving. No I/O.

Commands go out many at once, and again when half of them is answered, so that the line never idles; the window is bounded in
messages and in octets, as LIST said them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from daemon.mail.maildrop import Entry
from daemon.pop3.commands import Command
from daemon.wire.spool import Spool

WINDOW_MESSAGES: Final = 512  # commands under way: 6 KiB of them fit any socket buffer, so that neither side can block
WINDOW_OCTETS: Final = 8 * 1024 * 1024  # octets asked for and not here yet: what a stop or a cut wastes at most
STATUS_LINES: Final = (b"+OK", b"-ERR")  # no header section begins so


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server would not give, or delete, this one message. reply: its words. code: response code, upper case."""

    reply: str
    code: str | None = None


class Asked(NamedTuple):
    """A message to ask for. octets: what it counts in the window."""

    entry: Entry
    command: Command
    octets: int


class Window:
    """What is under way, in order."""

    def __init__(self, asked: Iterator[Asked], *, most_messages: int, most_octets: int | None = None) -> None:
        """`asked`: taken from as the window moves, one ahead.  most_messages: 1 without pipelining."""
        self._asked = asked
        self._most_messages = most_messages
        self._most_octets = most_octets or WINDOW_OCTETS
        self._waiting: deque[Asked] = deque()
        self._octets = 0
        self._ahead = next(asked, None)

    def due(self) -> list[Command]:
        """Return the commands to send now; none while more than half of the window is under way."""
        waiting = self._waiting
        if len(waiting) > self._most_messages // 2 or self._octets > self._most_octets // 2:
            return []
        commands: list[Command] = []
        while self._ahead is not None and len(waiting) < self._most_messages:
            if waiting and self._octets + self._ahead.octets > self._most_octets:
                break
            waiting.append(self._ahead)
            self._octets += self._ahead.octets
            commands.append(self._ahead.command)
            self._ahead = next(self._asked, None)
        return commands

    def answered(self) -> Entry:
        """Take the message out whose answer is complete: the oldest."""
        one = self._waiting.popleft()
        self._octets -= one.octets
        return one.entry

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way; after `due` it means that nothing is left."""
        return not self._waiting


class Arriving:
    """The message whose octets are coming in."""

    def __init__(self, max_octets: int | None) -> None:
        """`max_octets`: of one message; a larger one is read on and let go, for its end must be found."""
        self._max_octets = max_octets
        self._spool: Spool | None = None
        self._begins_as_reply = False
        self.octets = 0

    def add(self, octets: bytes) -> None:
        """Take in the next octets."""
        is_first = self.octets == 0 and self._spool is None
        if is_first:
            self._begins_as_reply = octets.startswith(STATUS_LINES)
        self.octets += len(octets)
        if self._max_octets is not None and self.octets > self._max_octets:
            self.close()
        elif is_first:
            self._spool = Spool(octets)
        elif self._spool is not None:
            self._spool.append(octets)

    def finish(self, entry: Entry) -> Spool | Refused:
        """Hand out the message, and begin anew."""
        spool, octets = self._spool, self.octets
        self._spool, self.octets = None, 0
        if spool is not None and self._is_out_of_step(octets, entry):
            spool.close()
            return Refused(
                reply=f"begins with a status line, and has {octets} octets, not the {entry.octets} that LIST said"
            )
        if spool is not None:
            return spool
        listed = "" if entry.octets is None else f", not the {entry.octets} that LIST said"
        return Refused(reply=f"larger than {self._max_octets} octets: it has {octets}{listed}")

    def _is_out_of_step(self, octets: int, entry: Entry) -> bool:
        """Tell whether a reply too many was taken for this one's, so that its own status line stands in the message."""
        return self._begins_as_reply and entry.octets is not None and octets != entry.octets

    def close(self) -> None:
        """Let go of what is here of a message."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None
