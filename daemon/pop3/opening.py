"""From the greeting to an open maildrop: CAPA, STLS, what we would like, the login (RFC 1939, 2449, 2595, 5034, 6856).

A login never falls back to an open line; what was said before TLS is not trusted. With a memory of the last visit two round
trips are saved. Raises WireError and Pop3Error kinds.
"""

from collections.abc import Callable

from daemon import errors
from daemon.pop3 import login, replies
from daemon.pop3.commands import (
    Auth,
    AuthLine,
    Capa,
    Command,
    Lang,
    Pass,
    Stls,
    Utf8,
)
from daemon.pop3.conversation import Conversation
from daemon.pop3.memory import USER, Memory
from daemon.pop3.session import Challenge, Greeting, Reply
from daemon.wire import sasl
from daemon.wire.channel import channel_of
from daemon.wire.stream import Security, Stream


class Opening(Conversation):
    """A conversation that can log in."""

    def __init__(self, stream: Stream) -> None:
        """Take over a connection on which nothing was read; `connect` is the way in."""
        super().__init__(stream)
        self.capabilities = replies.Capabilities()
        self._login = ""  # how we logged in: USER, or a SASL mechanism
        self._language: str | None = None
        self._is_verified = True  # whether `capabilities` was said in this session
        self.greeting = ""

    def greet(self) -> None:
        """Hear the greeting; a server that refuses us at once is raised."""
        greeting = self.next_event()
        if not isinstance(greeting, Greeting):
            raise errors.OutOfState("a session began without a greeting")
        if not greeting.ok:
            refused = replies.refusal(self.peer, "at the greeting", greeting.text)
            if isinstance(refused, errors.CommandRefused):  # "too many connections" and the like: it passes
                raise errors.ServerTrouble(
                    f"{self.peer}: the server refused us at once: {greeting.text}", reply=refused.reply
                )
            raise refused
        self.greeting = greeting.text

    def secure(self) -> None:
        """Ask what the server can do, and turn TLS on where the endpoint says so."""
        self.ask_capabilities()
        if self._stream.endpoint.security is Security.STARTTLS:
            self._start_tls()
            self.ask_capabilities()  # what was said before is not trusted (RFC 2595 section 4)

    def log_in(self, credentials: sasl.Credentials | Callable[[], sasl.Credentials], auth: str) -> None:
        """Log in by what the server offers now."""
        who = self._guarded(credentials)
        self._agree()
        login.login(self, who, auth)
        self.ask_capabilities()

    def log_in_from(
        self, memory: Memory, credentials: sasl.Credentials | Callable[[], sasl.Credentials], auth: str
    ) -> None:
        """Log in as the last time, in one flight with CAPA; in the ordinary way where that can't be, or is not offered."""
        if self._stream.endpoint.security is Security.STARTTLS:
            self.ask_capabilities()
            self._start_tls()
        who = self._guarded(credentials)
        flight = memory.flight(who, auth, most_octets=login.AUTH_LINE_OCTETS)
        if not flight:
            self.ask_capabilities()
            self._agree()
            login.login(self, who, auth)
        elif not self._fly([*self._wishes(memory.capabilities), *flight]):
            login.login(self, who, auth)
            self.ask_capabilities()
            return
        # The second CAPA leaves with the listing; until its reply is here the remembered one stands.
        self.capabilities, self._is_verified = memory.capabilities, False

    def _fly(self, flight: list[Command]) -> bool:
        """Say CAPA and the login at once; False where the server does not offer that login any more, and nothing was lost."""
        *before, last = flight
        self.say([Capa(), *before, last])
        self.capabilities = self._read_capabilities()
        for command in before:
            reply = self.next_reply(command)
            if not isinstance(command, Utf8 | Lang):
                login.accept(self, reply)
        event = self.next_event()
        if isinstance(event, Challenge):  # it takes no initial response
            self.converse(AuthLine(None))
            return False
        if not isinstance(event, Reply):
            raise errors.OutOfState(f"{type(event).__name__} in an authentication")
        offered = self.capabilities.sasl
        if not event.ok and isinstance(last, Auth) and self.capabilities.answered and last.mechanism not in offered:
            return False
        login.accept(self, event)
        return True

    def _agree(self) -> None:
        """Say what we would like, where the server has it; a refusal costs nothing."""
        for command in self._wishes(self.capabilities):
            self.ask(command)

    def _wishes(self, offered: replies.Capabilities) -> list[Command]:
        """Choose: mail as it is (UTF8), and replies in the operator's language (RFC 6856)."""
        wishes: list[Command] = [Utf8()] if "UTF8" in offered.names else []
        if self._language is not None and "LANG" in offered.names:
            wishes.append(Lang(self._language))
        return wishes

    def _guarded(self, credentials: sasl.Credentials | Callable[[], sasl.Credentials]) -> sasl.Credentials:
        who = credentials() if callable(credentials) else credentials
        self._stream.transcript.guard(who.secret, username=who.username)
        return who

    def _start_tls(self) -> None:
        if self.capabilities.answered and not self.capabilities.stls:
            raise errors.TlsFailed(
                f"{self.peer}: the server does not offer STLS, or somebody in between removed it; set SECURITY to tls (port 995)"
            )
        reply = self.ask(Stls())
        if not reply.ok:
            raise errors.TlsFailed(
                f"{self.peer}: the server refused STLS ({reply.text}); set SECURITY to tls (port 995)"
            )
        if self._session.buffered:
            raise errors.PlaintextInjected(
                f"{self.peer}: {self._session.buffered} octets came in behind the reply to STLS: "
                "somebody writes into the line; nothing was sent"
            )
        self._stream.start_tls()

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3`, or None without TLS."""
        return self._stream.tls_version

    @property
    def is_private(self) -> bool:
        """Whether nobody can read the line."""
        return self._stream.is_encrypted or self._stream.is_loopback

    @property
    def is_plaintext_wanted(self) -> bool:
        """Whether the operator asked for an open line."""
        return self._stream.endpoint.security is Security.PLAINTEXT

    @property
    def channel(self) -> sasl.Channel:
        """What a login may know of the connection."""
        return channel_of(self._stream)

    @property
    def memory(self) -> Memory | None:
        """What to remember for the next visit; None while nothing is worth it."""
        return Memory.of(self._login, self.capabilities) if self._is_verified and self._login else None

    def say(self, commands: list[Command]) -> None:
        """Send commands in one flight; how we log in is noted, to be remembered."""
        for command in commands:
            if isinstance(command, Auth):
                self._login = command.mechanism
            elif isinstance(command, Pass):
                self._login = USER
        super().say(commands)

    # --- one command, one reply -------------------------------------------------------------------------------------

    def ask(self, command: Command) -> Reply:
        """Say a command that has a one-line reply, and return that."""
        return self.exchange([command])[0][0]

    def converse(self, command: Command) -> Reply | Challenge:
        """Say a line of an authentication; return what comes."""
        self.say([command])
        event = self.next_event()
        if not isinstance(event, Reply | Challenge):
            raise errors.OutOfState(f"{type(event).__name__} in an authentication")
        return event

    def ask_capabilities(self) -> replies.Capabilities:
        """CAPA: what the server can do in this state."""
        self.say([Capa()])
        self.capabilities = self._read_capabilities()
        self._is_verified = True
        return self.capabilities

    def _read_capabilities(self) -> replies.Capabilities:
        reply, lines = self.answer(Capa())
        return replies.capabilities(lines) if reply.ok else replies.Capabilities()

    # --- endings ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket without a word; what DELE marked stays. Safe to call twice."""
        self._stream.close()

    def abort(self) -> None:
        """End the session from another thread: whatever it waits for ends with Stopped."""
        self._stream.abort()
