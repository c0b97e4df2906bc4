"""Talk to a relay: connect, TLS, log in, and give it letters (RFC 5321, 6409; LMTP 2033; STARTTLS 3207; AUTH 4954).

    connect -> greeting -> EHLO (HELO), LHLO -> STARTTLS, EHLO -> AUTH -> letters (daemon/smtp/flight.py) -> QUIT

Raises RelayRefused (not now), AuthFailed and AuthUnavailable (the login; never a verdict on mail), TlsFailed kinds, and what
wire raises, always one line that begins with host:port. Never logs, never knows a row of the outbox.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import suppress
from typing import Final, Self

from daemon import errors
from daemon.mail import address
from daemon.mail.envelope import Parcel
from daemon.smtp import command as commands
from daemon.smtp.dialogue import Dialogue, Progress
from daemon.smtp.features import CHUNKING, MAILMAX, RCPTMAX, Features
from daemon.smtp.flight import Carried, Flight
from daemon.smtp.replies import Reply, Stage, is_transient
from daemon.smtp.session import Answer
from daemon.smtp.standing import Chunks, Standing
from daemon.wire import sasl
from daemon.wire.channel import channel_of
from daemon.wire.sasl import Credentials
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript

MAX_CHALLENGES: Final = 10  # of one login: no mechanism has more than three
LMTP: Final = "lmtp"
SMTP: Final = "smtp"
MOST_RECIPIENTS: Final = 100  # a letter, where the relay does not say (RFC 5321 section 4.5.3.1.8)
INITIAL_OCTETS: Final = 360  # before base64: what a command line of 512 octets holds (RFC 4954 section 4)


class Relay:
    """An open session with a relay; used by one thread, except for `abort`."""

    def __init__(
        self, stream: Stream, progress: Progress, *, lmtp: bool = False, without: Collection[str] = ()
    ) -> None:
        """Take over a connected stream on which nothing was said; `connect` is the way to make one."""
        self._stream = stream
        self._dialogue = Dialogue(stream, progress, lmtp=lmtp, without=without)
        self._standing = Standing()
        self.was_kept = False  # idle for a while, so that it may have been lost without a word

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: Credentials | None,
        *,
        auth: str = sasl.AUTO,
        helo_name: str,
        transcript: Transcript,
        protocol: str = SMTP,
        without: Collection[str] = (),
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: Callable[[Stream], None] | None = None,
    ) -> Self:
        """Connect, greet, encrypt, log in; whatever fails, the socket is closed.

        credentials: None for a relay that asks for no login.  helo_name: our domain.  deadline: a value of time.monotonic.
        protocol: SMTP or LMTP.  without: extensions not to be used whatever the relay says, CHUNKING for one.
        progress: called whenever octets moved; what it raises ends the session, but not while a final dot is unanswered.
        opened: given the stream before its first wait, so that another thread can abort a login too.
        """
        guarded = Progress(progress)
        stream = Stream.connect(endpoint, transcript=transcript, deadline=deadline, progress=guarded, opened=opened)
        relay = cls(stream, guarded, lmtp=protocol == LMTP, without=without)
        try:
            relay._begin(helo_name)
            if credentials is not None:
                relay._log_in(credentials, auth)
        except BaseException:
            relay.close()
            raise
        return relay

    # --- beginning --------------------------------------------------------------------------------------------------

    def _begin(self, helo_name: str) -> None:
        greeting = self._dialogue.hear().reply
        if not greeting.is_positive:
            raise self._refused("at its greeting", greeting)
        try:
            name = address.ascii_domain(helo_name)
        except errors.InputInvalid:
            name = "localhost"
        wants_tls = self._stream.endpoint.security is Security.STARTTLS
        self._greet(name)
        if wants_tls:
            self._start_tls()
            self._greet(name)

    def _greet(self, name: str) -> None:
        if self._dialogue.session.is_lmtp:
            reply = self._dialogue.ask(commands.Lhlo(name)).reply
            if not reply.is_positive:
                raise self._refused("at LHLO", reply)
            return
        reply = self._dialogue.ask(commands.Ehlo(name)).reply
        if reply.code >= 500:  # RFC 5321 section 3.2: then it may know HELO
            reply = self._dialogue.ask(commands.Helo(name)).reply
        if not reply.is_positive:
            raise self._refused("at EHLO", reply)

    def _start_tls(self) -> None:
        if not self.features.starttls:
            raise errors.TlsFailed(
                f"{self._peer}: it offers no STARTTLS; nothing was sent. If it has TLS from the start, set SECURITY to tls; "
                "if it offered STARTTLS before, somebody is in between"
            )
        reply = self._dialogue.ask(commands.StartTls()).reply
        if reply.code != 220:
            raise errors.TlsFailed(f"{self._peer}: it refused to begin TLS: {reply}; nothing was sent")
        self._dialogue.begin_tls()

    # --- the login --------------------------------------------------------------------------------------------------

    def _log_in(self, credentials: Credentials, auth: str) -> None:
        stream = self._stream
        mechanism = sasl.choose(
            self.features.mechanisms,
            auth,
            encrypted_or_loopback=stream.is_encrypted or stream.is_loopback,
            plaintext_wanted=stream.endpoint.security is Security.PLAINTEXT,
            channel=(channel := channel_of(stream)),
            has_secret=credentials.has_secret,
            peer=self._peer,
        )
        self._dialogue.guard(credentials)
        exchange = sasl.start(mechanism, credentials, channel)
        initial = unasked = exchange.initial()
        if sasl.MECHANISMS[mechanism].needs_prompt or len(initial or b"") > INITIAL_OCTETS:
            unasked = None
        answer = self._dialogue.ask(commands.Auth(mechanism, None if unasked is None else _base64(unasked) or "="))
        for challenges in range(MAX_CHALLENGES):
            if answer.reply.code // 100 != 3:
                break
            challenge = _challenge(answer)
            # Some relays pass over the initial response and ask for it with an empty challenge.
            is_repeated = not challenges and initial is not None and not challenge
            try:
                response = initial if is_repeated and initial is not None else exchange.respond(challenge)
            except (errors.ProtocolViolation, errors.AuthFailed) as error:
                raise type(error)(f"{self._peer}: AUTH {mechanism}: {error}") from error
            answer = self._dialogue.ask(commands.AuthLine(_base64(response)))
        objection = exchange.objection(accepted=answer.reply.is_positive)
        if answer.reply.is_positive:
            if objection is not None:
                raise errors.AuthFailed(f"{self._peer}: AUTH {mechanism}: {objection}")
            return
        if answer.reply.code // 100 == 3:
            raise errors.ProtocolViolation(f"{self._peer}: AUTH {mechanism} does not come to an end")
        if is_transient(answer.reply, Stage.MAIL) and not answer.reply.asks_for_login:
            raise self._refused("at the login, for now", answer.reply)
        raise errors.AuthFailed(
            f"{self._peer}: the login as {credentials.username} was refused: {answer.reply}; "
            f"{objection or sasl.advice(mechanism)}",
            is_certain=not sasl.MECHANISMS[
                mechanism
            ].is_token,  # a token expires by itself, and the next one may be good
        )

    # --- letters ----------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """`host:port`, as messages begin."""
        return self._peer

    @property
    def transcript(self) -> Transcript:
        """The redacted record of this session."""
        return self._stream.transcript

    @property
    def session_id(self) -> str:
        """As in the log."""
        return self._stream.transcript.session

    @property
    def features(self) -> Features:
        """What the relay offers."""
        return self._dialogue.session.features

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3`, or None without TLS."""
        return self._stream.tls_version

    @property
    def usable(self) -> bool:
        """Whether another letter can be sent on this connection; `quit` is for those, too, that can't."""
        is_full = self.most_letters is not None and self._standing.letters >= self.most_letters
        return self._is_open and not is_full and self._dialogue.has_time

    @property
    def most_letters(self) -> int | None:
        """How many letters this connection takes in all; None where the relay does not say (RFC 9422)."""
        return self.features.limit(MAILMAX)

    @property
    def most_recipients(self) -> int:
        """How many recipients a letter should have at most."""
        return self.features.limit(RCPTMAX) or MOST_RECIPIENTS

    @property
    def streams(self) -> bool:
        """Whether whole letters follow each other (BDAT), so that the more are given the more leave; by DATA one leaves a round trip."""
        return self.features.pipelining and self.features.chunking and self._standing.chunks is not Chunks.NOT

    @property
    def distrusted(self) -> frozenset[str]:
        """Extensions that the relay offers and does not know; `without` of the next `connect`."""
        return frozenset({CHUNKING} if self._standing.chunks is Chunks.NOT and self.features.chunking else ())

    def carry(
        self, parcels: Iterator[Parcel], *, before_end: Callable[[int], None], window: Callable[[], int]
    ) -> Generator[Carried]:
        """Carry letters; yield each in order with an outcome for every recipient, as soon as its last reply is in.

        parcels: taken as the window moves, some at once, and no longer when the relay wants no more letters, or when the deadline
        is nearer than a timeout: then `usable` is False, and a new connection is what helps.
        before_end: called with the letter's key before the octets that end it may leave; an error forbids that.
        window: how many letters may be taken and not yielded now; 0: one, and nothing is said before the reply to what was said last.

        What ends the session is raised after all that is known was yielded: what wire raises, RelayRefused, AuthFailed, and what
        `before_end` and `parcels` raise. Then, and after 421 to a letter, `usable` is False. Of letters that were not yielded
        nothing can have been accepted, whether `before_end` was called or not. InDoubt: the end has left, its reply was not seen.
        """
        self._ensure_usable()
        return Flight(self._dialogue, self._standing, parcels, before_end=before_end, window=window).run()

    def resume(self, *, deadline: float, progress: Callable[[], None]) -> bool:
        """Go on with a session that was idle, with a deadline and a progress of its own; False if the relay has left meanwhile."""
        self._stream.deadline = deadline
        self._dialogue.progress.told = progress
        self.was_kept = True
        if self.usable:
            try:
                self._dialogue.look()
                self._dialogue.ensure_sound()
            except (errors.WireError, errors.Stopped):
                self._dialogue.lose()
        return self.usable and not self._dialogue.answers

    # --- endings ----------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say good bye and close. All verdicts are known by now: how the relay takes it changes nothing."""
        if self._is_open:
            with suppress(errors.WireError, errors.Stopped):
                self._dialogue.ask(commands.Quit())
        self.close()

    def close(self) -> None:
        """Close the connection without a word; safe to call twice."""
        self._dialogue.lose()

    def abort(self) -> None:
        """End the session from another thread: what it waits for ends with Stopped."""
        self._stream.abort()

    # --- words ------------------------------------------------------------------------------------------------------

    @property
    def _is_open(self) -> bool:
        return not self._dialogue.is_lost and not self._dialogue.is_closed

    @property
    def _peer(self) -> str:
        return self._dialogue.peer

    def _ensure_usable(self) -> None:
        if not self._is_open:
            raise errors.ConnectionLost(f"{self._peer}: the connection was given up before")

    def _refused(self, moment: str, reply: Reply) -> errors.RelayRefused:
        return errors.RelayRefused(f"{self._peer}: refused {moment}: {reply}", code=reply.code)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _challenge(answer: Answer) -> bytes:
    """Return the challenge; LOGIN prompts that are not base64 are passed on as they stand, nobody reads them."""
    text = answer.lines[-1].strip()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
