"""Talk to a relay: connect, TLS, log in, and give it letters (RFC 5321, RFC 6409; STARTTLS RFC 3207; AUTH RFC 4954).

    connect -> greeting -> EHLO (HELO) -> STARTTLS, EHLO -> AUTH -> a transaction for each letter -> QUIT

Raises RelayRefused (not now), AuthFailed and AuthUnavailable (the login; never a verdict on mail), TlsFailed kinds, and what
wire raises, always one line that begins with host:port. Never logs, never knows a row of the outbox.
"""

import base64
import binascii
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from daemon import errors
from daemon.mail import address
from daemon.mail.envelope import Envelope
from daemon.smtp import command as commands
from daemon.smtp.dialogue import Dialogue, Progress
from daemon.smtp.features import Features
from daemon.smtp.replies import Outcome, Reply, Stage, is_transient
from daemon.smtp.session import Answer, State
from daemon.smtp.transaction import Transaction
from daemon.wire import sasl
from daemon.wire.channel import channel_of
from daemon.wire.sasl import Credentials
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript

MAX_CHALLENGES: Final = 10  # of one login: no mechanism has more than three
INITIAL_OCTETS: Final = 360  # before base64: what a command line of 512 octets holds (RFC 4954 section 4)


class Relay:
    """An open session with a relay; used by one thread, except for `abort`."""

    def __init__(self, stream: Stream, progress: Progress) -> None:
        """Take over a connected stream on which nothing was said; `connect` is the way to make one."""
        self._stream = stream
        self._dialogue = Dialogue(stream, progress)

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: Credentials | None,
        *,
        auth: str = sasl.AUTO,
        helo_name: str,
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: Callable[[Stream], None] | None = None,
    ) -> Self:
        """Connect, greet, encrypt, log in; whatever fails, the socket is closed.

        credentials: None for a relay that asks for no login.  helo_name: our domain.  deadline: a value of time.monotonic.
        progress: called whenever octets moved; what it raises ends the session, but not while a final dot is unanswered.
        opened: given the stream before its first wait, so that another thread can abort a login too.
        """
        guarded = Progress(progress)
        stream = Stream.connect(endpoint, transcript=transcript, deadline=deadline, progress=guarded, opened=opened)
        relay = cls(stream, guarded)
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
    def features(self) -> Features:
        """What the relay offers."""
        return self._dialogue.session.features

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3`, or None without TLS."""
        return self._stream.tls_version

    @property
    def usable(self) -> bool:
        """Whether another letter can be sent on this connection."""
        return not self._dialogue.is_lost and self._dialogue.session.state is not State.CLOSED

    def send(
        self,
        envelope: Envelope,
        content: bytes,
        *,
        smtputf8: bool = False,
        eightbit: bool = False,
        before_final_dot: Callable[[], None],
    ) -> dict[str, Outcome]:
        """Carry one letter; return an outcome for every recipient, as the envelope names it.

        content: not dot-stuffed.  before_final_dot: called once, when all but the dot is sent and somebody was accepted; what
        it raises drops the connection without the dot, and comes through.
        Raises only while nothing can have been accepted (see daemon/smtp/transaction.py); then `usable` is False.
        """
        self._ensure_usable()
        return Transaction(
            self._dialogue,
            envelope,
            content,
            smtputf8=smtputf8,
            eight_bit=eightbit,
            before_final_dot=before_final_dot,
        ).run()

    def reset(self) -> None:
        """Make the relay forget a letter that was begun."""
        self._ask_plainly(commands.Rset())

    def noop(self) -> None:
        """Ask whether the relay is still there."""
        self._ask_plainly(commands.Noop())

    def _ask_plainly(self, one: commands.Command) -> None:
        self._ensure_usable()
        try:
            reply = self._dialogue.ask(one).reply
        except BaseException:
            self._dialogue.lose()
            raise
        if not reply.is_positive:
            self._dialogue.lose()
            raise self._refused(f"at {one.shown}", reply)

    # --- endings ----------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say good bye and close. All verdicts are known by now: how the relay takes it changes nothing."""
        if self.usable:
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
    def _peer(self) -> str:
        return self._dialogue.peer

    def _ensure_usable(self) -> None:
        if not self.usable:
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
