"""Carry one letter through MAIL, RCPT, DATA and the final dot; one outcome for each recipient (RFC 5321 section 3.3, RFC 2920).

    MAIL + RCPT… + DATA, in groups where the relay takes them -> content without its final dot -> mark -> dot -> reply

Raises only before anything was accepted: what wire raises before the reply to MAIL, RelayRefused for a 421 there, AuthFailed
when the relay asks for a login, and whatever `before_final_dot` raises, then without the dot. Everything else is an outcome.
"""

from collections.abc import Callable, Iterator
from typing import Final

from daemon import errors
from daemon.mail import address
from daemon.mail.envelope import Envelope
from daemon.smtp import command as commands
from daemon.smtp.command import Command
from daemon.smtp.dialogue import Dialogue
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Reply, Stage, outcome
from daemon.smtp.session import State
from daemon.wire import lines

GROUP_COMMANDS: Final = 100  # sent before their replies are read: both directions stay far below any socket buffer
CONTENT_PIECE_OCTETS: Final = 1024 * 1024  # of a letter in one send: one line of the transcript each
DOT_PATIENCE: Final = 10  # timeouts waited for the reply to the final dot: 10 minutes, RFC 5321 section 4.5.3.2.6


class Transaction:
    """One letter on its way; used once."""

    def __init__(
        self,
        dialogue: Dialogue,
        envelope: Envelope,
        content: bytes,
        *,
        smtputf8: bool,
        eight_bit: bool,
        before_final_dot: Callable[[], None],
    ) -> None:
        """`content`: not stuffed.  `before_final_dot`: called when all but the dot is sent."""
        self._dialogue = dialogue
        self._features = dialogue.session.features
        self._sender = envelope.sender
        self._recipients = dict.fromkeys(envelope.recipients)
        self._content = content
        self._smtputf8 = smtputf8
        self._eight_bit = eight_bit
        self._before_final_dot = before_final_dot
        self._outcomes: dict[str, Outcome] = {}
        self._accepted = 0
        self._mail_reply: Reply | None = None
        self._data_refusal: Reply | None = None
        self._goes_on = False  # 354 was said

    def run(self) -> dict[str, Outcome]:
        """Return the recipients' outcomes, in the envelope's order."""
        named = self._checked()
        if named:
            try:
                self._carry(named)
            except (errors.AuthFailed, errors.SmtpError):
                self._dialogue.lose()
                raise
            except (errors.WireError, errors.Stopped) as error:
                self._dialogue.lose()
                if self._mail_reply is None:
                    raise
                self._settle(Deferred(Reply.ours(str(error))))
            except BaseException:
                self._dialogue.lose()
                raise
        return {recipient: self._outcomes[recipient] for recipient in self._recipients}

    # --- before a word is said --------------------------------------------------------------------------------------

    def _checked(self) -> dict[str, str]:
        """Return the recipients worth asking for, as given -> as written on the wire; the others are Failed by us."""
        if (reason := self._unsendable()) is not None:
            self._settle(Failed(Reply.ours(reason)))
            return {}
        named: dict[str, str] = {}
        for recipient in self._recipients:
            try:
                named[recipient] = self._writable(recipient)
            except errors.InputInvalid as error:
                self._outcomes[recipient] = Failed(Reply.ours(str(error)))
        return named

    def _unsendable(self) -> str | None:
        """Tell why the relay can't take this letter at all."""
        most, octets = self._features.max_octets, len(self._content)
        if most is not None and octets > most:
            return f"the letter has {octets} octets, and the relay takes {most} at most (SIZE)"
        if self._smtputf8 and not self._features.smtputf8:
            return "an address is not ASCII before its @, and the relay offers no SMTPUTF8"
        if self._eight_bit and not self._features.eight_bit:
            return "the letter has 8-bit octets, and the relay offers no 8BITMIME"
        try:
            self._sender = self._writable(self._sender) if self._sender else ""
        except errors.InputInvalid as error:
            return f"the sender {error}"
        return None

    def _writable(self, given: str) -> str:
        checked = address.check(given)
        if not checked.isascii() and not self._smtputf8:
            raise errors.InputInvalid(f"{checked}: not ASCII before its @, and SMTPUTF8 was not asked for")
        return checked

    # --- envelope ---------------------------------------------------------------------------------------------------

    def _carry(self, named: dict[str, str]) -> None:
        dialogue = self._dialogue
        if dialogue.session.state is not State.READY:  # a letter was begun and refused
            reply = dialogue.ask(commands.Rset()).reply
            if not reply.is_positive:
                raise errors.RelayRefused(f"{dialogue.peer}: RSET was refused: {reply}", code=reply.code)
        if not self._name_all(named) or not self._goes_on:
            return
        if self._accepted and self._is_begun:
            self._send_content()
        else:
            # 354 although nobody was accepted: an empty letter for no one ends it (RFC 2920 section 3.1).
            dialogue.ask(commands.FinalDot())

    def _name_all(self, named: dict[str, str]) -> bool:
        """Send the envelope and take its replies; False when the relay ended the session meanwhile."""
        recipients = iter(named)
        for group in self._groups(list(named.values())):
            if isinstance(group[0], commands.Data) and not self._accepted:
                break
            self._dialogue.say(*group)
            if not self._hear_group(group, recipients):
                return False
            if not self._is_begun:
                break
        if self._mail_reply is not None and not self._is_begun:
            self._settle(outcome(self._mail_reply, Stage.MAIL))
        elif self._data_refusal is not None:
            self._settle(outcome(self._data_refusal, Stage.DATA))
        return True

    def _hear_group(self, group: list[Command], recipients: Iterator[str]) -> bool:
        """Take the replies to a group; `recipients`: those not answered yet."""
        peer = self._dialogue.peer
        for one in group:
            reply = self._dialogue.hear().reply
            if reply.asks_for_login:
                raise errors.AuthFailed(f"{peer}: it takes no mail without a login, or not with this one: {reply}")
            if reply.ends_session:
                if self._mail_reply is None:
                    raise errors.RelayRefused(f"{peer}: {reply}", code=reply.code)
                self._settle(Deferred(reply))
                self._dialogue.lose()
                return False
            if isinstance(one, commands.Mail):
                self._mail_reply = reply
            elif isinstance(one, commands.Rcpt):
                self._take_recipient(next(recipients), reply)
            elif reply.code >= 400:
                self._data_refusal = reply
            else:
                self._goes_on = True
        return True

    def _groups(self, addresses: list[str]) -> Iterator[list[Command]]:
        """Put the commands into groups that are sent at once; one each where the relay does not take them so."""
        mail = commands.Mail(
            self._sender,
            octets=len(self._content) if self._features.has_size else None,
            eight_bit=self._eight_bit,
            smtputf8=self._smtputf8,
        )
        given = [mail, *(commands.Rcpt(one) for one in addresses), commands.Data()]
        size = GROUP_COMMANDS if self._features.pipelining else 1
        for start in range(0, len(given), size):
            yield given[start : start + size]

    @property
    def _is_begun(self) -> bool:
        return self._mail_reply is not None and self._mail_reply.is_positive

    def _take_recipient(self, recipient: str, reply: Reply) -> None:
        if reply.is_positive:
            self._accepted += 1
        elif self._is_begun:
            self._outcomes[recipient] = outcome(reply, Stage.RCPT)

    def _settle(self, verdict: Outcome) -> None:
        """Give this outcome to all recipients that have none yet."""
        for recipient in self._recipients:
            self._outcomes.setdefault(recipient, verdict)

    # --- content ----------------------------------------------------------------------------------------------------

    def _send_content(self) -> None:
        dialogue = self._dialogue
        stuffed = lines.stuff(self._content)
        try:
            for start in range(0, len(stuffed), CONTENT_PIECE_OCTETS):
                dialogue.say(commands.Content(stuffed[start : start + CONTENT_PIECE_OCTETS]))
            early = dialogue.glance()
        except errors.ConnectionLost as error:
            # Relays that have seen enough say why and hang up (552 too large): else we would try it for days.
            early = dialogue.last_words()
            if early is None:
                raise error from None
        if early is not None:
            dialogue.lose()
            self._settle(outcome(early, Stage.DATA))
            return
        self._before_final_dot()
        self._send_dot()

    def _send_dot(self) -> None:
        dialogue = self._dialogue
        dialogue.progress.is_guarded = True
        try:
            dialogue.say(commands.FinalDot())  # what fails here has not left: three octets go whole or not at all
            try:
                reply = dialogue.hear(patience=DOT_PATIENCE).reply
            except (errors.WireError, errors.Stopped) as error:
                dialogue.lose()
                self._settle(
                    InDoubt(f"the final dot was sent and its reply not seen; the relay may have the letter: {error}")
                )
                return
        finally:
            dialogue.progress.is_guarded = False
        self._settle(outcome(reply, Stage.DOT))
        if reply.ends_session:
            dialogue.lose()
