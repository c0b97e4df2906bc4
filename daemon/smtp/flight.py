"""Letters on their way over one connection: several at once where the relay takes them so, each with its outcomes.

With PIPELINING and DATA, a letter's content, its final dot and the next letter's envelope leave together: one round trip a
letter (RFC 2920). With CHUNKING too, whole letters follow each other within the window (RFC 3030); RSET stands before each, so
that what is left of a refused letter can't become part of the next one. The first letter of a connection asks with its first
header field alone whether the relay knows BDAT at all, before other lines of it could be read as commands; where it does not,
the letter goes by DATA. Without PIPELINING, or in a window of none, nothing is said before the reply to what was said last.

What ends a letter is said only after `before_end` has returned. When the connection is lost, a letter whose end has left is
in doubt; the one on the line that was begun is deferred (it may be what the relay can't bear); the others are not spoken of.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Final

from daemon import errors
from daemon.mail.envelope import Parcel
from daemon.smtp import command as commands
from daemon.smtp.command import Command
from daemon.smtp.dialogue import Dialogue
from daemon.smtp.features import MAILMAX
from daemon.smtp.replies import Deferred, Outcome, Reply, Stage, outcome
from daemon.smtp.session import Answer, State
from daemon.smtp.standing import Chunks, Standing
from daemon.smtp.transaction import GROUP_COMMANDS, PIECE_OCTETS, Transaction
from daemon.smtp.window import Window

LOOK_SECONDS: Final = 0.001  # what the relay said is looked for again before each send, but not so soon
# Timeouts waited for the reply to a letter's end: 10 minutes, RFC 5321 section 4.5.3.2.6. Further ones, in LMTP, have one
# timeout each: a server that has only one final reply for all is no LMTP server, and what became of the others is not known.
END_PATIENCE: Final = 10

Carried = tuple[Parcel, dict[str, Outcome]]


class Flight:
    """The letters of one call of `Relay.carry`."""

    def __init__(
        self,
        dialogue: Dialogue,
        standing: Standing,
        parcels: Iterator[Parcel],
        *,
        before_end: Callable[[int], None],
        window: Callable[[], int],
    ) -> None:
        """`before_end`, `window`: see `Relay.carry`."""
        self._dialogue = dialogue
        self._session = dialogue.session
        self._features = dialogue.session.features
        self._standing = standing
        self._most_letters = self._features.limit(MAILMAX)
        self._window = Window(parcels, self._features)
        self._most = window
        self._in_lockstep = True  # as of the last pull
        self._before_end = before_end
        self._under_way: deque[Transaction] = deque()  # begun; only the last may not be said to its end
        self._done: deque[Transaction] = deque()
        self._failure: errors.PostroomError | None = None

    def run(self) -> Generator[Carried]:
        """Yield each letter when its last reply is in; see `Relay.carry`."""
        dialogue = self._dialogue
        dialogue.resume()
        try:
            while True:
                self._try(self._speak)
                if self._done:
                    yield from self._hand_out()
                    dialogue.resume()
                if self._pull():
                    continue
                if not self._under_way or (self._failure is not None and self._under_way[0].end_at is None):
                    break
                self._try(self._hear)
            if self._failure is not None:
                raise self._failure
        except GeneratorExit:  # the caller goes in the middle
            dialogue.lose()
            raise
        finally:
            dialogue.progress.is_guarded = False
            if self._under_way or self._failure is not None or dialogue.is_closed:
                dialogue.lose()

    def _hand_out(self) -> Iterator[Carried]:
        while self._done:
            letter = self._done.popleft()
            self._window.hand_back(letter)
            yield letter.parcel, letter.verdict()

    def _pull(self) -> bool:
        """Take parcels into the window; True when some came. Only here its width is asked for: it changes as letters are yielded."""
        most = self._most()
        self._in_lockstep = not self._features.pipelining or most < 1
        if self._failure is not None or self._dialogue.is_closed or not self._dialogue.has_time:
            return False
        allowed = None
        if self._most_letters is not None:
            allowed = max(0, self._most_letters - self._standing.letters - len(self._window.ahead))
        try:
            return self._window.take(most, allowed)
        except errors.PostroomError as error:
            self._failure = error
            return False

    # --- saying -----------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        """Say all that may be said now, as far as the socket takes it."""
        while self._say_next():
            if self._dialogue.unsent >= PIECE_OCTETS:
                self._push()
                if self._dialogue.unsent >= PIECE_OCTETS:
                    return
        self._push()

    def _push(self) -> None:
        """Look, then send: what the relay says meanwhile may forbid it."""
        dialogue = self._dialogue
        if dialogue.unsent:
            if time.monotonic() - dialogue.looked_at > LOOK_SECONDS:
                dialogue.look()
                self._take_answers()
            dialogue.push()

    def _say_next(self) -> bool:
        """Say one more thing, or see that one was said for the last time; False when replies must come first."""
        if self._failure is not None or self._session.state is State.CLOSED:
            return False
        if not self._under_way or self._under_way[-1].is_said:
            return self._begin()
        letter = self._under_way[-1]
        if self._in_lockstep and letter.unanswered:
            return False
        if letter.said < len(letter.envelope):
            return self._say_envelope(letter)
        return self._ask_for_content(letter) if letter.pieces is None else self._say_piece(letter)

    def _may_begin(self) -> bool:
        if not self._dialogue.has_time:
            return False
        if not (self._window.ahead and self._under_way):
            return bool(self._window.ahead)
        if self._in_lockstep:
            return False
        return not self._under_way[-1].by_chunks or self._standing.chunks is Chunks.PROVEN

    def _begin(self) -> bool:
        if not self._may_begin():
            return False
        letter, is_behind = self._window.ahead.popleft(), bool(self._under_way)
        self._under_way.append(letter)
        if not letter.envelope:  # it has its outcomes already, and waits for those before it
            self._abandon(letter)
            return True
        letter.by_chunks = self._features.chunking and self._can_go_by_chunks(letter)
        self._standing.letters += 1
        # Behind a dot that was said after 354 nothing is left of a letter; behind chunks we do not know yet.
        if self._session.state is not State.READY or self._standing.is_begun or (is_behind and letter.by_chunks):
            self._say(letter, commands.Rset())
            self._standing.is_begun = False
            if self._in_lockstep:
                return True
        return self._say_envelope(letter)

    def _can_go_by_chunks(self, letter: Transaction) -> bool:
        chunks = self._standing.chunks
        return chunks is Chunks.PROVEN or (chunks is Chunks.UNTRIED and bool(letter.first_field))

    def _say(self, letter: Transaction, *given: Command) -> None:
        letter.unanswered += self._dialogue.say(*given)

    def _say_envelope(self, letter: Transaction) -> bool:
        """Say a group of MAIL and RCPT."""
        if letter.said and letter.unanswered:
            return False
        if letter.said and not letter.is_begun:
            self._abandon(letter)
            return True
        group = letter.envelope[letter.said : letter.said + (1 if self._in_lockstep else GROUP_COMMANDS)]
        self._say(letter, *group)
        letter.said += len(group)
        return True

    def _ask_for_content(self, letter: Transaction) -> bool:
        """Ask whether content may come, wait for the answer, and begin with it; small letters in chunks just come."""
        is_proven = self._standing.chunks is Chunks.PROVEN
        if letter.by_chunks and is_proven and letter.is_small and not self._in_lockstep:
            letter.begin_content()
            return True
        if letter.unanswered and (letter.is_asked or not letter.is_small):
            return False
        if not letter.is_asked and not letter.unanswered and not letter.is_wanted:
            self._abandon(letter)
        elif not letter.is_asked and not (letter.by_chunks and is_proven):
            letter.is_asked = True
            self._say(letter, commands.Bdat(letter.first_field) if letter.by_chunks else commands.Data())
        elif letter.unanswered:
            return False
        elif letter.is_wanted and letter.refusal is None:
            letter.begin_content()
        elif letter.refusal is None and letter.is_asked and not letter.by_chunks:
            # 354 although nobody was accepted: an empty letter for no one ends it (RFC 2920 section 3.1).
            self._say(letter, commands.FinalDot())
            letter.is_said = True
        else:
            self._abandon(letter)
        return True

    def _say_piece(self, letter: Transaction) -> bool:
        """Say a piece of the content; before the last one leaves, the caller is told."""
        if letter.refusal is not None:
            self._abandon(letter)
            return True
        piece, is_last = letter.next_piece()
        if not is_last:
            self._say(letter, commands.Bdat(piece) if letter.by_chunks else commands.Content(piece))
            return True
        self._dialogue.ensure_sound()
        try:
            self._before_end(letter.parcel.key)
        except errors.PostroomError as error:
            self._failure = error
            return False
        if letter.by_chunks:
            self._say(letter, commands.BdatLast(piece))
        else:
            self._say(letter, commands.Content(piece), commands.FinalDot())
        letter.end_at = self._dialogue.queued
        letter.is_said = True
        self._dialogue.progress.is_guarded = True
        return True

    def _abandon(self, letter: Transaction) -> None:
        """Say no more of a letter that nobody takes; RSET comes before the next."""
        letter.is_said = True
        self._land()

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Wait until something moves, and take what came."""
        dialogue, end_at = self._dialogue, self._under_way[0].end_at
        if not dialogue.answers:
            is_deciding = end_at is not None and dialogue.left >= end_at and not self._under_way[0].finals
            dialogue.turn(patience=END_PATIENCE if is_deciding else 1)
        self._take_answers()

    def _take_answers(self) -> None:
        answers = self._dialogue.answers
        while answers:
            self._take(answers.popleft())

    def _take(self, answer: Answer) -> None:
        command, reply = answer.command, answer.reply
        letter = self._under_way[0] if self._under_way else None
        if letter is None:
            return  # a 421 that nothing asked for, behind the last verdict: the session is closed, and that is all
        kind, end_at = type(command), letter.end_at
        if reply.ends_session:
            self._take_leave(letter, command, reply)
        elif (
            command is None
            or kind is commands.Content
            or (kind is commands.FinalDot and end_at is not None and self._dialogue.left < end_at)
        ):
            # Refused before its end: what follows is out of step.
            letter.settle(outcome(reply, Stage.DATA))
            self._cut(letter)
        elif kind is commands.Rset:
            letter.unanswered -= 1
            if not reply.is_positive:
                self._failure = self._refused(f"RSET was refused: {reply}", reply)
        else:
            letter.take(command, reply, lmtp=self._session.is_lmtp)
            if isinstance(command, commands.Bdat | commands.BdatLast) and not reply.is_positive:
                self._standing.is_begun = True
            if letter.wants_login and self._failure is None:
                self._failure = errors.AuthFailed(
                    f"{self._dialogue.peer}: it takes no mail without a login, or not with this one: {reply}"
                )
            if letter.is_said and not letter.unanswered:
                self._land()

    def _take_leave(self, letter: Transaction, command: Command | None, reply: Reply) -> None:
        """421: what was said behind it is not carried out, so nothing of it is in doubt."""
        if letter.mail_reply is None:
            self._failure = self._refused(str(reply), reply)
            self._cut(None)
            return
        if self._session.is_lmtp and isinstance(command, commands.FinalDot | commands.BdatLast):
            letter.take(command, reply, lmtp=True)
            letter.doubt(self._refused(str(reply), reply))
        letter.settle(Deferred(reply))
        self._cut(letter)

    def _land(self) -> None:
        """Let go of letters whose last reply is in."""
        under_way = self._under_way
        while under_way and under_way[0].is_said and not under_way[0].unanswered:
            letter = under_way.popleft()
            if self._has_to_go_by_data(letter):
                letter.restart()
                self._window.ahead.appendleft(letter)
            elif not letter.wants_login or letter.is_sent:
                self._done.append(letter)
        self._dialogue.progress.is_guarded = bool(under_way) and under_way[0].end_at is not None

    def _has_to_go_by_data(self, letter: Transaction) -> bool:
        """Learn from the first letter by chunks whether the relay knows BDAT; nothing was said behind it."""
        if self._standing.chunks is not Chunks.UNTRIED or not letter.by_chunks or not letter.is_wanted:
            return False
        is_understood = letter.refusal is None or not letter.refusal.is_about_syntax
        self._standing.chunks = Chunks.PROVEN if is_understood else Chunks.NOT
        return not is_understood

    # --- endings ----------------------------------------------------------------------------------------------------

    def _cut(self, last: Transaction | None) -> None:
        """Leave: `last` has its outcomes, and of those behind it nothing was carried out."""
        if last is not None:
            self._done.append(last)
        self._under_way.clear()
        self._dialogue.lose()

    def _try(self, act: Callable[[], None]) -> None:
        """Do a step; what goes wrong on the line is kept until all that is known was handed out."""
        try:
            act()
        except errors.ConnectionLost as error:
            # Relays that have seen enough say why and hang up (552 too large): else we would try it for days.
            self._dialogue.last_words()
            with suppress(errors.PostroomError):
                self._take_answers()
            if not self._dialogue.is_lost:
                self._write_off(error)
        except (errors.WireError, errors.Stopped) as error:
            self._write_off(error)

    def _write_off(self, error: errors.PostroomError) -> None:
        """Settle what has left or was begun, now that the line is dead."""
        self._failure = self._failure or error
        for letter in self._under_way:
            if letter.is_settled:
                pass
            elif letter.end_at is not None and self._dialogue.left >= letter.end_at:
                letter.doubt(error)
            elif letter is self._under_way[0] and letter.is_begun:
                letter.settle(Deferred(Reply.ours(str(error))))
            else:
                continue
            if not letter.wants_login:
                self._done.append(letter)
        self._under_way.clear()
        self._dialogue.lose()

    def _refused(self, what: str, reply: Reply) -> errors.RelayRefused:
        return errors.RelayRefused(f"{self._dialogue.peer}: {what}", code=reply.code)
