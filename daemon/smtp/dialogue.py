"""Say and hear: the session's octets over the stream, each line once into the transcript.

What is said is queued, and leaves when the socket takes it; while it does not, the relay's replies are read, so that two who
both want to be heard first never wait for each other. Every wait ends: a whole reply is due within the endpoint's timeout,
however slowly its octets dribble. What goes wrong is raised with host:port in front; after that the connection is out of
step and must be lost. Replies are scrubbed of the login's secrets before anybody stores them, for the servers that echo what
they were told.
"""

import base64
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from daemon import errors
from daemon.smtp.command import Command
from daemon.smtp.session import Answer, Heard, Session, State
from daemon.wire.sasl import Credentials
from daemon.wire.secret import SHOWN
from daemon.wire.stream import SEND_OCTETS, Stream

FIRST_PULSE_SECONDS: Final = 0.05  # of silence, and whoever watches our progress is told
PULSES_SECONDS: Final = 1.0  # and then again and again
LAST_WORDS_SECONDS: Final = 2.0  # how long we look for the reason when the relay hangs up on us
SHORTEST_SCRUBBED: Final = 3  # characters of a secret; a shorter one would blot out whole replies


class Progress:
    """Whoever is told that octets moved, guarded: what it raises must not cost us the reply to a letter that has left."""

    def __init__(self, told: Callable[[], None] | None) -> None:
        """`told`: may raise, which ends the session."""
        self.told = told
        self.is_guarded = False

    def __call__(self) -> None:
        """Tell."""
        if self.told is None:
            return
        try:
            self.told()
        except errors.PostroomError:
            if not self.is_guarded:
                raise


class Dialogue:
    """A session and its stream. is_lost: nothing more can be said.

    answers: replies that came and were not taken.  queued, left: octets since the beginning that were said, and of these
    that the socket took.
    """

    def __init__(
        self, stream: Stream, progress: Progress, *, lmtp: bool = False, without: Collection[str] = ()
    ) -> None:
        """`progress`: the one that the stream calls, too.  lmtp, without: see Session."""
        self.stream = stream
        self.progress = progress
        self.session = Session(lmtp=lmtp, without=without)
        self.is_lost = False
        self.answers: deque[Answer] = deque()
        self.queued = self.left = 0
        self._out = bytearray()
        self.looked_at = 0.0  # a value of time.monotonic
        self._moved_at = 0.0  # when the last whole reply came, or the last octets left
        self._scrubbed: list[str] = []

    @property
    def peer(self) -> str:
        """`host:port`, as messages begin."""
        return str(self.stream.endpoint)

    @property
    def is_closed(self) -> bool:
        """Whether the relay has ended the session, by 421 or otherwise."""
        return self.session.state is State.CLOSED

    @property
    def has_time(self) -> bool:
        """Whether a letter begun now is likely to be answered before the session's deadline, and so not left in doubt by it."""
        deadline = self.stream.deadline
        return deadline is None or time.monotonic() < deadline - self.stream.endpoint.timeout_seconds

    @property
    def unsent(self) -> int:
        """How many octets are queued."""
        return len(self._out)

    def guard(self, credentials: Credentials) -> None:
        """Keep these out of the transcript and out of every reply."""
        self.stream.transcript.guard(credentials.secret, username=credentials.username)
        secret = credentials.secret.reveal().encode("utf-8", "replace")
        plain = b"\0%b\0%b" % (credentials.username.encode("utf-8", "replace"), secret)
        forms = [base64.b64encode(plain).decode(), base64.b64encode(secret).decode(), secret.decode()]
        self._scrubbed = [form for form in forms if len(form) >= SHORTEST_SCRUBBED]

    # --- saying and hearing -----------------------------------------------------------------------------------------

    def say(self, *given: Command) -> int:
        """Queue commands, which `push` and `turn` let leave; return how many replies are to come."""
        send, said = self.session.send, self.stream.transcript.said
        replies = 0
        try:
            for command in given:
                octets = send(command)
                said(command.shown, len(octets))
                self._out += octets
                self.queued += len(octets)
                replies += command.has_reply
        except errors.ProtocolViolation as error:
            raise self._named(error) from error
        return replies

    def push(self) -> None:
        """Let the socket take what it takes at once, unless the relay has ended the session."""
        out = self._out
        while out and not self.is_closed:
            sent = self.stream.offer(bytes(memoryview(out)[:SEND_OCTETS]))
            if not sent:
                break
            del out[:sent]
            self.left += sent
            self._moved_at = time.monotonic()

    def look(self) -> None:
        """Take in what has come, without waiting."""
        if self.is_closed:
            return
        self.looked_at = time.monotonic()
        octets = self.stream.look()
        if octets:
            try:
                self._take(octets)
            except errors.ProtocolViolation as error:
                raise self._named(error) from error

    def ensure_sound(self) -> None:
        """Raise the fault that stood behind the last good reply, if there was one."""
        try:
            self.session.ensure_sound()
        except errors.ProtocolViolation as error:
            raise self._named(error) from error

    def turn(self, *, patience: int = 1) -> None:
        """Wait until a reply comes, or octets leave where some are queued.

        patience: so many timeouts are borne; TimedOut then.  ConnectionLost when the relay has left or ended the session.
        """
        stream, timeout = self.stream, self.stream.endpoint.timeout_seconds
        until = self._moved_at + patience * timeout
        pulse = min(FIRST_PULSE_SECONDS, timeout)
        while not self.answers:
            self._ensure_open()
            self.ensure_sound()
            left = self.left
            now = time.monotonic()
            if stream.wait(min(until, now + pulse), for_room=bool(self._out)):
                self.look()
                if not self.answers:
                    self.push()
                    if self.left > left:
                        return
            elif time.monotonic() >= until:
                raise stream.timed_out()
            else:
                self.progress()  # we wait on purpose: leases, watchdogs and unwritten verdicts are to know
                pulse = min(PULSES_SECONDS, timeout)
        self._moved_at = time.monotonic()

    def hear(self, *, patience: int = 1) -> Answer:
        """Wait for the next reply, sending what is queued."""
        self.resume()
        self.push()
        while not self.answers:
            self.turn(patience=patience)
        return self.answers.popleft()

    def resume(self) -> None:
        """Begin to count the peer's silence: we were elsewhere."""
        self._moved_at = time.monotonic()

    def ask(self, command: Command) -> Answer:
        """Say one thing and wait for its reply."""
        self._ensure_open()
        self.say(command)
        return self.hear()

    def last_words(self) -> None:
        """Take in what the relay said before it hung up on us."""
        until = time.monotonic() + LAST_WORDS_SECONDS
        try:
            while not self.is_closed and self.stream.wait(until):
                self.look()
        except (errors.WireError, errors.Stopped):
            return

    def begin_tls(self) -> None:
        """Shake hands, after the 220 to STARTTLS."""
        try:
            self.session.begin_tls()
        except errors.PlaintextInjected as error:
            raise errors.PlaintextInjected(f"{self.peer}: {error}") from error
        self.stream.start_tls()

    def lose(self) -> None:
        """Drop the connection, without a word."""
        self.is_lost = True
        self._out.clear()
        self.stream.close()

    # --- what comes -------------------------------------------------------------------------------------------------

    def _take(self, octets: bytes) -> None:
        heard = self.stream.transcript.heard
        for event in self.session.receive(octets):
            if isinstance(event, Heard):
                heard(event.shown, event.octets)
            else:
                self.answers.append(self._clean(event) if self._scrubbed else event)

    def _clean(self, answer: Answer) -> Answer:
        text = answer.reply.text
        for form in self._scrubbed:
            text = text.replace(form, SHOWN)
        return answer if text == answer.reply.text else answer._replace(reply=replace(answer.reply, text=text))

    def _ensure_open(self) -> None:
        if self.is_closed:
            why = f": {self.answers[-1].reply}" if self.answers else ""
            raise errors.ConnectionLost(f"{self.peer}: the relay has ended the session{why}")

    def _named(self, error: errors.ProtocolViolation) -> errors.ProtocolViolation:
        return type(error)(f"{self.peer}: {error}")
