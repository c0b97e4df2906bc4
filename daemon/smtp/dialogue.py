"""Say and hear: the session's octets over the stream, each line once into the transcript.

Every wait ends: a whole reply is due within the endpoint's timeout, however slowly its octets dribble. What goes wrong is
raised with host:port in front; after that the connection is out of step and must be lost. Replies are scrubbed of the
login's secrets before anybody stores them, for the servers that echo what they were told.
"""

import base64
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from daemon import errors
from daemon.smtp.command import Command
from daemon.smtp.replies import Reply
from daemon.smtp.session import Answer, Heard, Session, State
from daemon.wire.sasl import Credentials
from daemon.wire.secret import SHOWN
from daemon.wire.stream import Stream

LAST_WORDS_SECONDS: Final = 2.0  # how long we look for the reason when the relay hangs up on the content
GLANCE_SECONDS: Final = 0.001  # a look, not a wait: before each final dot
SHORTEST_SCRUBBED: Final = 3  # characters of a secret; a shorter one would blot out whole replies


class Progress:
    """Whoever is told that octets moved, guarded: what it raises must not cost us the reply to a final dot."""

    def __init__(self, told: Callable[[], None] | None) -> None:
        """`told`: may raise, which ends the session."""
        self._told = told
        self.is_guarded = False

    def __call__(self) -> None:
        """Tell."""
        if self._told is None:
            return
        try:
            self._told()
        except errors.PostroomError:
            if not self.is_guarded:
                raise


class Dialogue:
    """A session and its stream. is_lost: nothing more can be said."""

    def __init__(self, stream: Stream, progress: Progress) -> None:
        """`progress`: the one that the stream calls, too."""
        self.stream = stream
        self.progress = progress
        self.session = Session()
        self.is_lost = False
        self._answers: deque[Answer] = deque()
        self._scrubbed: list[str] = []

    @property
    def peer(self) -> str:
        """`host:port`, as messages begin."""
        return str(self.stream.endpoint)

    def guard(self, credentials: Credentials) -> None:
        """Keep these out of the transcript and out of every reply."""
        self.stream.transcript.guard(credentials.secret, username=credentials.username)
        secret = credentials.secret.reveal().encode("utf-8", "replace")
        plain = b"\0%b\0%b" % (credentials.username.encode("utf-8", "replace"), secret)
        forms = [base64.b64encode(plain).decode(), base64.b64encode(secret).decode(), secret.decode()]
        self._scrubbed = [form for form in forms if len(form) >= SHORTEST_SCRUBBED]

    def say(self, *given: Command) -> None:
        """Send commands in one go."""
        self._ensure_open()
        try:
            octets = b"".join([self.session.send(command) for command in given])
        except errors.ProtocolViolation as error:
            raise self._named(error) from error
        self.stream.send(octets, [command.shown for command in given])

    def hear(self, *, patience: int = 1) -> Answer:
        """Wait for the next reply. patience: so many timeouts of silence are borne."""
        stream, session = self.stream, self.session
        until = time.monotonic() + patience * stream.endpoint.timeout_seconds
        while not self._answers:
            self._ensure_open()
            try:
                session.ensure_sound()
                self._take(stream.receive(until))
            except errors.TimedOut:
                now = time.monotonic()
                if now >= until or (stream.deadline is not None and now >= stream.deadline):
                    raise
                self.progress()  # we wait on purpose: leases and watchdogs are to know
            except errors.ProtocolViolation as error:
                raise self._named(error) from error
        return self._answers.popleft()

    def ask(self, command: Command) -> Answer:
        """Say one thing and wait for its reply."""
        self.say(command)
        return self.hear()

    def glance(self, wait_seconds: float = GLANCE_SECONDS) -> Reply | None:
        """Return a reply that nobody waits for yet, if one is there; ConnectionLost when the relay has left."""
        try:
            if not self._answers:
                self._take(self.stream.receive(time.monotonic() + wait_seconds))
        except errors.TimedOut:
            return None
        except errors.ProtocolViolation as error:
            raise self._named(error) from error
        return self._answers.popleft().reply if self._answers else None

    def last_words(self) -> Reply | None:
        """Return what the relay said before it hung up on us, if it did."""
        try:
            return self.glance(LAST_WORDS_SECONDS)
        except (errors.WireError, errors.Stopped):
            return None

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
        self.stream.close()

    def _ensure_open(self) -> None:
        if self.session.state is State.CLOSED:
            why = f": {self._answers[-1].reply}" if self._answers else ""
            raise errors.ConnectionLost(f"{self.peer}: the relay has ended the session{why}")

    def _take(self, octets: bytes) -> None:
        for event in self.session.receive(octets):
            if isinstance(event, Heard):
                self.stream.heard(event.shown, event.octets)
            else:
                self._answers.append(replace(event, reply=self._clean(event.reply)))

    def _clean(self, reply: Reply) -> Reply:
        text = reply.text
        for form in self._scrubbed:
            text = text.replace(form, SHOWN)
        return reply if text == reply.text else replace(reply, text=text)

    def _named(self, error: errors.ProtocolViolation) -> errors.ProtocolViolation:
        return type(error)(f"{self.peer}: {error}")
