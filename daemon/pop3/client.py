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
from daemon.pop3 import replies
from daemon.pop3.commands import (
    Capa,
    Command,
    Dele,
    List,
    Noop,
    Quit,
    Retr,
    Rset,
    Stat,
    Top,
    Uidl,
)
from daemon.pop3.memory import Memory
from daemon.pop3.opening import Opening
from daemon.pop3.session import Body, Reply
from daemon.pop3.window import WINDOW_MESSAGES, Arriving, Asked, Refused, Window
from daemon.wire import sasl
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript

__all__ = ["Client", "Refused"]

UNKNOWN_OCTETS: Final = 64 * 1024  # what a message counts in the window when LIST did not tell
LINE_OCTETS: Final = 80  # what a line counts in the window, for TOP


class Client(Opening):
    """A maildrop that is open: logged in, in the TRANSACTION state."""

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: sasl.Credentials | Callable[[], sasl.Credentials],
        *,
        auth: str = "auto",
        memory: Memory | None = None,
        language: str | None = None,
        transcript: Transcript,
        deadline: float | None = None,
        progress: Callable[[], None] | None = None,
        opened: Callable[[Stream], None] | None = None,
    ) -> Self:
        """Connect, secure the line as the endpoint says, log in; whatever fails, the socket is closed.

        credentials: given, or asked for when the line is secure.  auth: `auto`, `user` (USER and PASS), or a SASL mechanism.
        memory: of the last visit; saves two round trips.  language: a tag for LANG, said where the server has it.
        deadline: a value of time.monotonic that the session does not outlive.  progress: called whenever octets moved.
        opened: given the stream before its first wait, so that another thread can abort a login too.
        """
        stream = Stream.connect(endpoint, transcript=transcript, deadline=deadline, progress=progress, opened=opened)
        client = cls(stream)
        try:
            client.greet()
            client._language = language
            is_private = client.is_private or endpoint.security is Security.STARTTLS
            if memory is None or not (is_private or client.is_plaintext_wanted):
                client.secure()
                client.log_in(credentials, auth)
            else:
                client.log_in_from(memory, credentials, auth)
        except BaseException as error:
            transcript.noted(f"gave up: {error}")
            client.close()
            raise
        return client

    def stat(self) -> replies.Stat:
        """STAT: how many messages and octets."""
        return self._stat(self._accepted(self.ask(Stat())))

    def listing(self) -> Listing:
        """STAT, UIDL and LIST in one: all messages, matched by number."""
        return self.answers().listing()

    def answers(self, meanwhile: Callable[[], None] = lambda: None) -> replies.Answers:
        """STAT, UIDL and LIST in one, not read yet.

        meanwhile: done once, while the server opens the maildrop, which for a large one takes it longer than all the rest.
        """
        commands: list[Command] = [Stat(), Uidl(), List()]
        if not self._is_verified:
            self.say([Capa(), *commands])
            meanwhile()
            self.capabilities, self._is_verified = self._read_capabilities(), True
            stat, uidl, sizes = [self.answer_whole(command) for command in commands]
        elif self.capabilities.pipelining:
            self.say(commands)
            meanwhile()
            stat, uidl, sizes = [self.answer_whole(command) for command in commands]
        else:
            self.say(commands[:1])
            meanwhile()
            stat = self.answer_whole(commands[0])
            uidl, sizes = [self._asked(command) for command in commands[1:]]
        total = self._stat(self._accepted(stat[0]))
        is_promised = "UIDL" in self.capabilities.names
        if not uidl[0].ok and (is_promised or (uidl[0].code or "").startswith("SYS/")):
            raise self._refusal(
                uidl[0]
            )  # a passing fault is not "no UIDL here": letters would get other names for one visit
        if not sizes[0].ok and total.count and not uidl[1]:
            raise self._refusal(sizes[0])
        return replies.Answers(octets=total.octets, has_uidl=uidl[0].ok, uidls=uidl[1], sizes=sizes[1])

    def _asked(self, command: Command) -> tuple[Reply, bytes]:
        self.say([command])
        return self.answer_whole(command)

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
                if type(event) is not Reply:
                    raise errors.OutOfState(f"{type(event).__name__} among messages")
                if not event.ok:
                    yield window.answered(), _refused(event)
                    continue
                is_whole = False
                while not is_whole:
                    body = self.next_event()
                    if type(body) is not Body:
                        raise errors.OutOfState(f"{type(body).__name__} in a message")
                    arriving.add(body.octets)
                    is_whole = body.last
                self._stream.heard(f"({arriving.octets} octets)", arriving.octets)
                entry = window.answered()
                yield entry, arriving.finish(entry)
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


def _refused(reply: Reply) -> Refused:
    return Refused(reply=f"-ERR {reply.text}".rstrip(), code=reply.code)
