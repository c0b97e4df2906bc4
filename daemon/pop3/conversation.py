"""The session on its stream: commands out in flights, events in, each line put into the transcript. What a client is made of."""

import time
from collections import deque

from daemon import errors
from daemon.pop3 import replies
from daemon.pop3.commands import Command
from daemon.pop3.session import Body, Event, Lines, Reply, Session
from daemon.wire.stream import Stream


class Conversation:
    """Asks and hears; raises WireError kinds, ProtocolViolation with the server's name, and OutOfState for a bug of ours."""

    def __init__(self, stream: Stream) -> None:
        """Take over a connection on which nothing was read."""
        self._stream = stream
        self._session = Session()
        self._events: deque[Event] = deque()
        self._reply_due = time.monotonic() + stream.endpoint.timeout_seconds

    @property
    def peer(self) -> str:
        """`host:port`, as messages begin."""
        return str(self._stream.endpoint)

    def exchange(self, commands: list[Command]) -> list[tuple[Reply, list[bytes]]]:
        """Say commands at once; return their replies, each with the lines behind it."""
        if self._session.pending or self._events:
            raise errors.OutOfState(f"{commands[0].shown} while messages are still under way")
        self.say(commands)
        return [self.answer(command) for command in commands]

    def answer(self, command: Command) -> tuple[Reply, list[bytes]]:
        """Read one reply, with the lines behind it."""
        reply, whole = self.answer_whole(command)
        return reply, replies.split(whole)

    def answer_whole(self, command: Command) -> tuple[Reply, bytes]:
        """Read one reply, with the octets behind it; a long listing may need no cutting into lines."""
        reply = self.next_reply(command)
        following = self.next_event() if reply.ok and command.is_multi_line else None
        return reply, following.whole if isinstance(following, Lines) else b""

    def next_reply(self, command: Command) -> Reply:
        """Return the next event, which must be a status line."""
        event = self.next_event()
        if type(event) is not Reply:
            raise errors.OutOfState(f"{type(event).__name__} as the reply to {command.shown}")
        return event

    def say(self, commands: list[Command]) -> None:
        """Send commands in one flight."""
        session = self._session
        try:
            octets = b"".join([session.send(command) for command in commands])
        except errors.ProtocolViolation as error:
            raise self.named(error) from error
        self._reply_due = time.monotonic() + self._stream.endpoint.timeout_seconds
        self._stream.send(octets, [command.shown for command in commands])

    def next_event(self) -> Event:
        """Return the next event, and put its line into the transcript; mail is counted where it ends."""
        events = self._events
        while not events:
            session = self._session
            # A reply line is due as a whole; of a body, any octet is progress.
            until = None if session.is_in_body else self._reply_due
            try:
                session.ensure_sound()
                events.extend(session.receive(self._stream.receive(until)))
            except errors.ProtocolViolation as error:
                raise self.named(error) from error
            if events:
                self._reply_due = time.monotonic() + self._stream.endpoint.timeout_seconds
        event = events.popleft()
        if isinstance(event, Lines):
            lines = event.whole.count(b"\n")
            self._stream.heard(f"({lines} lines)", len(event.whole))
        elif not isinstance(event, Body):
            self._stream.heard(event.shown, event.octets)
            if (
                isinstance(event, Reply) and not event.ok
            ):  # it becomes an error, and some servers repeat what they were told
                return event._replace(text=self._stream.transcript.scrub(event.text))
        return event

    def named(self, error: errors.ProtocolViolation) -> errors.ProtocolViolation:
        """Return the violation with the server's name in front."""
        said = self._stream.transcript.scrub(str(error))
        return type(error)(f"{self.peer}: the server does not keep to POP3: {said}")
