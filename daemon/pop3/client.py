"""The POP3 client: a session over a stream, from the greeting to QUIT (RFC 1939, 2449, 2595, 5034).

One call, one purpose; commands go out in windows where the server says PIPELINING, one by one where it does not. A server
without TLS, CAPA, UIDL, TOP or pipelining is worked with as far as it goes; a login never falls back to an open line.

Raises WireError and Pop3Error kinds, each one line that begins with host:port; after a WireError or Stopped the session is
over, and `close` is all that is left. -ERR about one message is a value (Refused), since the session goes on. OutOfState when
a caller leaves `retrieve` midway and goes on. Never deletes anything that it was not told to, never logs.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

from daemon import errors
from daemon.mail.maildrop import Entry, Listing
from daemon.pop3 import login, replies
from daemon.pop3.commands import Capa, Command, Dele, List, Noop, Quit, Retr, Rset, Stat, Stls, Top, Uidl
from daemon.pop3.session import Body, Challenge, Event, Greeting, Lines, Reply, Session
from daemon.pop3.window import WINDOW_MESSAGES, Arriving, Asked, Refused, Window
from daemon.wire.sasl import Credentials
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript

__all__ = ["Client", "Refused"]

UNKNOWN_OCTETS: Final = 64 * 1024  # what a message counts in the window when LIST did not tell
LINE_OCTETS: Final = 80  # what a line counts in the window, for TOP


class Client:
    """A maildrop that is open: logged in, in the TRANSACTION state."""

    def __init__(self, stream: Stream) -> None:
        """Take over a connection on which nothing was read; `connect` is the way in."""
        self._stream = stream
        self._session = Session()
        self._events: deque[Event] = deque()
        self._reply_due = time.monotonic() + stream.endpoint.timeout_seconds
        self.capabilities = replies.Capabilities()

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: Credentials | Callable[[], Credentials],
        *,
        auth: str = "auto",
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: Callable[[Stream], None] | None = None,
    ) -> Self:
        """Connect, secure the line as the endpoint says, log in; whatever fails, the socket is closed.

        credentials: given, or asked for when the line is secure.  auth: `auto`, `user` (USER and PASS), or a SASL mechanism.
        deadline: a value of time.monotonic that the session does not outlive.  progress: called whenever octets moved.
        opened: given the stream before its first wait, so that another thread can abort a login too.
        """
        stream = Stream.connect(endpoint, transcript=transcript, deadline=deadline, progress=progress, opened=opened)
        client = cls(stream)
        try:
            client._open()
            who = credentials() if callable(credentials) else credentials
            transcript.guard(who.secret, username=who.username)
            login.login(client, who, auth)
            client.ask_capabilities()
        except BaseException as error:
            transcript.noted(f"gave up: {error}")
            client.close()
            raise
        return client

    def _open(self) -> None:
        greeting = self._next()
        if not isinstance(greeting, Greeting):
            raise errors.OutOfState("a session began without a greeting")
        if not greeting.ok:
            refused = replies.refusal(self.peer, "at the greeting", greeting.text)
            if isinstance(refused, errors.CommandRefused):  # "too many connections" and the like: it passes
                raise errors.ServerTrouble(
                    f"{self.peer}: the server refused us at once: {greeting.text}", reply=refused.reply
                )
            raise refused
        self.ask_capabilities()
        if self._stream.endpoint.security is Security.STARTTLS:
            self._start_tls()

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
        self.ask_capabilities()  # what was said before is not trusted (RFC 2595 section 4)

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """`host:port`, as messages begin."""
        return str(self._stream.endpoint)

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

    # --- one command, one reply -------------------------------------------------------------------------------------

    def ask(self, command: Command) -> Reply:
        """Say a command that has a one-line reply, and return that."""
        return self._exchange([command])[0][0]

    def converse(self, command: Command) -> Reply | Challenge:
        """Say a line of an authentication; return what comes."""
        self._say([command])
        event = self._next()
        if not isinstance(event, Reply | Challenge):
            raise errors.OutOfState(f"{type(event).__name__} in an authentication")
        return event

    def ask_capabilities(self) -> replies.Capabilities:
        """CAPA: what the server can do in this state."""
        (reply, lines), *_ = self._exchange([Capa()])
        self.capabilities = replies.capabilities(lines) if reply.ok else replies.Capabilities()
        return self.capabilities

    def stat(self) -> replies.Stat:
        """STAT: how many messages and octets."""
        return self._stat(self._accepted(self.ask(Stat())))

    def listing(self) -> Listing:
        """STAT, UIDL and LIST in one: all messages, matched by number."""
        commands: list[Command] = [Stat(), Uidl(), List()]
        parts = [commands] if self.capabilities.pipelining else [[one] for one in commands]
        stat, uidl, sizes = [answer for part in parts for answer in self._exchange(part)]
        total = self._stat(self._accepted(stat[0]))
        if not uidl[0].ok and (uidl[0].code or "").startswith("SYS/"):  # a passing fault is not "no UIDL here"
            raise self._refusal(uidl[0])
        if not sizes[0].ok and total.count and not uidl[1]:
            raise self._refusal(sizes[0])
        entries = replies.entries(replies.sizes(sizes[1]), replies.uidls(uidl[1]))
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
            for number, (reply, _) in zip(part, self._exchange([Dele(one) for one in part]), strict=True):
                answers.append((number, None if reply.ok else _refused(reply)))
        return answers

    def _fetch(self, asked: Iterator[Asked], max_message_octets: int | None) -> Iterator[tuple[Entry, Spool | Refused]]:
        window = Window(asked, most_messages=WINDOW_MESSAGES if self.capabilities.pipelining else 1)
        arriving = Arriving(max_message_octets)
        try:
            while True:
                commands = window.due()
                if commands:
                    self._say(commands)
                elif window.is_empty:
                    return
                event = self._next()
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

    # --- the line ---------------------------------------------------------------------------------------------------

    def _exchange(self, commands: list[Command]) -> list[tuple[Reply, list[bytes]]]:
        """Say commands at once; return their replies, each with the lines behind it."""
        if self._session.pending or self._events:
            raise errors.OutOfState(f"{commands[0].shown} while messages are still under way")
        self._say(commands)
        answers: list[tuple[Reply, list[bytes]]] = []
        for command in commands:
            reply = self._next()
            if type(reply) is not Reply:
                raise errors.OutOfState(f"{type(reply).__name__} as the reply to {command.shown}")
            following = self._next() if reply.ok and command.is_multi_line else None
            answers.append((reply, following.lines if isinstance(following, Lines) else []))
        return answers

    def _say(self, commands: list[Command]) -> None:
        session = self._session
        try:
            octets = b"".join([session.send(command) for command in commands])
        except errors.ProtocolViolation as error:
            raise self._named(error) from error
        self._reply_due = time.monotonic() + self._stream.endpoint.timeout_seconds
        self._stream.send(octets, [command.shown for command in commands])

    def _next(self) -> Event:
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
                raise self._named(error) from error
            if events:
                self._reply_due = time.monotonic() + self._stream.endpoint.timeout_seconds
        event = events.popleft()
        if isinstance(event, Lines):
            self._stream.heard(f"({len(event.lines)} lines)", event.octets)
        elif not isinstance(event, Body):
            self._stream.heard(event.shown, event.octets)
        return event

    def _named(self, error: errors.ProtocolViolation) -> errors.ProtocolViolation:
        return type(error)(f"{self.peer}: the server does not keep to POP3: {error}")

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
            raise self._named(error) from error

    # --- endings ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket without a word; what DELE marked stays. Safe to call twice."""
        self._stream.close()

    def abort(self) -> None:
        """End the session from another thread: whatever it waits for ends with Stopped."""
        self._stream.abort()


def _refused(reply: Reply) -> Refused:
    return Refused(reply=f"-ERR {reply.text}".rstrip(), code=reply.code)
