"""The POP3 client: a session over a stream, from the greeting to QUIT (RFC 1939, 2449, 2595, 5034).

One call, one purpose; commands go out in windows where the server says PIPELINING, one by one where it does not. A server
without TLS, CAPA, UIDL, TOP or pipelining is worked with as far as it goes; a login never falls back to an open line.

Raises WireError and Pop3Error kinds, each one line that begins with host:port; after a WireError or Stopped the session is
over, and `close` is all that is left. -ERR about one message is a value (Refused), since the session goes on. OutOfState when
a caller leaves `retrieve` midway and goes on. Never deletes anything that it was not told to, never logs.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

from daemon import errors
from daemon.mail.maildrop import Entry, Listing
from daemon.pop3 import login, replies
from daemon.pop3.commands import (
    Auth,
    AuthLine,
    Capa,
    Command,
    Dele,
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
)
from daemon.pop3.conversation import Conversation
from daemon.pop3.memory import USER, Memory
from daemon.pop3.session import Body, Challenge, Greeting, Reply
from daemon.pop3.window import WINDOW_MESSAGES, Arriving, Asked, Refused, Window
from daemon.wire import sasl
from daemon.wire.channel import channel_of
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript

__all__ = ["Client", "Refused"]

UNKNOWN_OCTETS: Final = 64 * 1024  # what a message counts in the window when LIST did not tell
LINE_OCTETS: Final = 80  # what a line counts in the window, for TOP


class Client(Conversation):
    """A maildrop that is open: logged in, in the TRANSACTION state."""

    def __init__(self, stream: Stream) -> None:
        """Take over a connection on which nothing was read; `connect` is the way in."""
        super().__init__(stream)
        self.capabilities = replies.Capabilities()
        self._login = ""  # how we logged in: USER, or a SASL mechanism
        self._is_verified = True  # whether `capabilities` was said in this session
        self.greeting = ""

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: sasl.Credentials | Callable[[], sasl.Credentials],
        *,
        auth: str = "auto",
        memory: Memory | None = None,
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: Callable[[Stream], None] | None = None,
    ) -> Self:
        """Connect, secure the line as the endpoint says, log in; whatever fails, the socket is closed.

        credentials: given, or asked for when the line is secure.  auth: `auto`, `user` (USER and PASS), or a SASL mechanism.
        memory: of the last visit; saves two round trips.
        deadline: a value of time.monotonic that the session does not outlive.  progress: called whenever octets moved.
        opened: given the stream before its first wait, so that another thread can abort a login too.
        """
        stream = Stream.connect(endpoint, transcript=transcript, deadline=deadline, progress=progress, opened=opened)
        client = cls(stream)
        try:
            client._greet()
            is_private = client.is_private or endpoint.security is Security.STARTTLS
            if memory is None or not (is_private or client.is_plaintext_wanted):
                client._secure()
                client._log_in(credentials, auth)
            else:
                client._log_in_from(memory, credentials, auth)
        except BaseException as error:
            transcript.noted(f"gave up: {error}")
            client.close()
            raise
        return client

    def _greet(self) -> None:
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

    def _secure(self) -> None:
        """Ask what the server can do, and turn TLS on where the endpoint says so."""
        self.ask_capabilities()
        if self._stream.endpoint.security is Security.STARTTLS:
            self._start_tls()
            self.ask_capabilities()  # what was said before is not trusted (RFC 2595 section 4)

    def _log_in(self, credentials: sasl.Credentials | Callable[[], sasl.Credentials], auth: str) -> None:
        """Log in by what the server offers now."""
        who = self._guarded(credentials)
        login.login(self, who, auth)
        self.ask_capabilities()

    def _log_in_from(
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
            login.login(self, who, auth)
        elif not self._fly(flight):
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
        for _ in before:
            login.accept(self, self.next_reply(last))
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

    def stat(self) -> replies.Stat:
        """STAT: how many messages and octets."""
        return self._stat(self._accepted(self.ask(Stat())))

    def listing(self, meanwhile: Callable[[], None] = lambda: None) -> Listing:
        """STAT, UIDL and LIST in one: all messages, matched by number.

        meanwhile: done once, while the server opens the maildrop, which for a large one takes it longer than all the rest.
        """
        commands: list[Command] = [Stat(), Uidl(), List()]
        if not self._is_verified:
            self.say([Capa(), *commands])
            meanwhile()
            self.capabilities, self._is_verified = self._read_capabilities(), True
            stat, uidl, sizes = [self.answer(command) for command in commands]
        elif self.capabilities.pipelining:
            self.say(commands)
            meanwhile()
            stat, uidl, sizes = [self.answer(command) for command in commands]
        else:
            self.say(commands[:1])
            meanwhile()
            stat = self.answer(commands[0])
            uidl, sizes = [self.exchange([command])[0] for command in commands[1:]]
        total = self._stat(self._accepted(stat[0]))
        if not uidl[0].ok and (uidl[0].code or "").startswith("SYS/"):  # a passing fault is not "no UIDL here"
            raise self._refusal(uidl[0])
        if not sizes[0].ok and total.count and not uidl[1]:
            raise self._refusal(sizes[0])
        entries = replies.entries(sizes[1], uidl[1])
        return Listing(count=len(entries), octets=total.octets, entries=entries, has_uidl=uidl[0].ok)

    def reset(self) -> None:
        """RSET: no DELE of this session counts."""
        self._accepted(self.ask(Rset()))

    def noop(self) -> None:
        """NOOP: is it still there."""
        self._accepted(self.ask(Noop()))

    def quit(self) -> None:
        """QUIT, and close; only when this returns has the server deleted what DELE marked (RFC 1939 section 6).

        CommandRefused: it did not delete all.  WireError: the reply was not seen, and nobody knows.
        """
        try:
            reply = self.ask(Quit())
        finally:
            self.close()
        if not reply.ok:
            raise errors.CommandRefused(
                f"{self.peer}: QUIT was refused, so not all that was marked is deleted: {reply.text}", reply=reply.shown
            )

    # --- many messages ----------------------------------------------------------------------------------------------

    def retrieve(
        self, entries: Iterable[Entry], *, max_message_octets: int | None = None
    ) -> Iterator[tuple[Entry, Spool | Refused]]:
        """RETR, in order; what is asked for next depends on `entries` being taken as the window moves.

        The spools are the caller's to close. max_message_octets: a message that turns out larger is read to its end and
        given as Refused. Leaving the iterator midway leaves only `close`.
        """
        asked = (Asked(entry, Retr(entry.number), entry.octets or UNKNOWN_OCTETS) for entry in entries)
        return self._fetch(asked, max_message_octets)

    def tops(self, entries: Iterable[Entry], lines: int) -> Iterator[tuple[Entry, Spool | Refused]]:
        """TOP, in order: header sections and so many lines of the bodies; like `retrieve`."""
        most = UNKNOWN_OCTETS + lines * LINE_OCTETS
        asked = (Asked(entry, Top(entry.number, lines), min(entry.octets or most, most)) for entry in entries)
        return self._fetch(asked, None)

    def top(self, number: int, lines: int) -> Spool:
        """TOP of one message; CommandRefused if the server won't."""
        for _entry, got in self.tops([Entry(number=number, uidl=None, octets=None)], lines):
            if isinstance(got, Spool):
                return got
            raise errors.CommandRefused(f"{self.peer}: TOP {number} was refused: {got.reply}", reply=got.reply)
        raise errors.OutOfState("TOP was not asked")

    def delete(self, numbers: Iterable[int]) -> list[tuple[int, Refused | None]]:
        """DELE; None behind a number that was accepted, which counts only when `quit` returns."""
        answers: list[tuple[int, Refused | None]] = []
        waiting = list(numbers)
        window = WINDOW_MESSAGES if self.capabilities.pipelining else 1
        for start in range(0, len(waiting), window):
            part = waiting[start : start + window]
            for number, (reply, _) in zip(part, self.exchange([Dele(one) for one in part]), strict=True):
                answers.append((number, None if reply.ok else _refused(reply)))
        return answers

    def _fetch(self, asked: Iterator[Asked], max_message_octets: int | None) -> Iterator[tuple[Entry, Spool | Refused]]:
        window = Window(asked, most_messages=WINDOW_MESSAGES if self.capabilities.pipelining else 1)
        arriving = Arriving(max_message_octets)
        try:
            while True:
                commands = window.due()
                if commands:
                    self.say(commands)
                elif window.is_empty:
                    return
                event = self.next_event()
                if type(event) is Body:
                    arriving.add(event.octets)
                    if event.last:
                        self._stream.heard(f"({arriving.octets} octets)", arriving.octets)
                        entry = window.answered()
                        yield entry, arriving.finish(entry)
                elif type(event) is not Reply:
                    raise errors.OutOfState(f"{type(event).__name__} among messages")
                elif not event.ok:
                    yield window.answered(), _refused(event)
        finally:
            arriving.close()

    def _accepted(self, reply: Reply) -> Reply:
        if not reply.ok:
            raise self._refusal(reply)
        return reply

    def _refusal(self, reply: Reply) -> errors.PostroomError:
        return replies.refusal(self.peer, f"to {reply.command.shown}", reply.text)

    def _stat(self, reply: Reply) -> replies.Stat:
        try:
            return replies.stat(reply.text)
        except errors.ProtocolViolation as error:
            raise self.named(error) from error

    # --- endings ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket without a word; what DELE marked stays. Safe to call twice."""
        self._stream.close()

    def abort(self) -> None:
        """End the session from another thread: whatever it waits for ends with Stopped."""
        self._stream.abort()


def _refused(reply: Reply) -> Refused:
    return Refused(reply=f"-ERR {reply.text}".rstrip(), code=reply.code)
