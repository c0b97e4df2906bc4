"""One letter on its way: what is to be said of it, and what the replies mean for each recipient (RFC 5321 section 3.3). Pure.

    MAIL + RCPT… + DATA, in groups (RFC 2920) -> content -> final dot -> reply, in LMTP one for each accepted recipient
    MAIL + RCPT… -> BDAT chunk… -> BDAT LAST -> reply (RFC 3030)

An address or a letter that the relay can't take fails before a word is said.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from daemon import errors
from daemon.mail import address, downgrade
from daemon.mail.envelope import Parcel
from daemon.smtp import command as commands
from daemon.smtp.command import Command
from daemon.smtp.features import Features
from daemon.smtp.replies import Failed, InDoubt, Outcome, Reply, Sent, Stage, outcome
from daemon.wire import lines

PIECE_OCTETS: Final = 1024 * 1024  # of a letter in one line of the transcript, and in one chunk of BDAT
GROUP_COMMANDS: Final = 100  # of one envelope, said before their replies are read: a refused sender costs no more
MAX_FIELD_OCTETS: Final = 998  # RFC 5322 section 2.1.1
KNOWN_ADDRESSES: Final = 256  # checked and remembered: most letters of an account have the same sender

_FIELD: Final = re.compile(rb"[!-9;-~]+:[^\r\n]*\r\n")  # RFC 5322 section 2.2; no verb of SMTP ends in a colon


class Transaction:
    """One letter.

    outcomes: of the recipients that have one, as the envelope names them.  envelope: MAIL and RCPT, and how many of these were
    said.  unanswered: commands whose replies are to come.  by_chunks: it goes by BDAT.  is_asked: DATA was said, or `first_field` by BDAT.
    pieces: of the content, once it is being said.  end_at: the octet of the connection behind which the relay may have the
    letter, None while it was not ended.  is_said: nothing more will be said of it.  refusal: of DATA, or of a chunk.
    wants_login: a reply spoke of us and not of the letter.  finals: final replies that came, in LMTP.
    """

    def __init__(self, parcel: Parcel, features: Features) -> None:
        """`features`: those of the relay; what it can't carry has its outcomes at once."""
        self.parcel = parcel
        self.normal = lines.normalised(parcel.content)
        self.outcomes: dict[str, Outcome] = {}
        self._named: list[str] = []
        self.envelope: list[Command] = self._written(features)
        self._unnameable = dict(self.outcomes)
        self.restart()

    def restart(self) -> None:
        """Be at the beginning."""
        self.outcomes = dict(self._unnameable)
        self.said = self.unanswered = 0
        self.by_chunks = self.is_asked = self.is_said = self.wants_login = False
        self.pieces: Iterator[bytes] | None = None
        self._piece = b""  # the next one
        self.end_at: int | None = None
        self.mail_reply: Reply | None = None
        self.refusal: Reply | None = None
        self._waiting = iter(self._named)  # recipients whose replies are to come
        self._accepted: list[str] = []
        self.finals = 0

    # --- before a word is said --------------------------------------------------------------------------------------

    def _written(self, features: Features) -> list[Command]:
        """Return MAIL and RCPT; none where the letter can't be sent at all, whose recipients all failed then."""
        parcel = self.parcel
        try:
            sender = self._sender(features)
        except errors.InputInvalid as error:
            self.settle(Failed(Reply.ours(str(error))))
            return []
        notice = parcel.notice if features.dsn else None
        named: list[Command] = []
        for recipient in dict.fromkeys(parcel.envelope.recipients):
            try:
                named.append(commands.Rcpt(_writable(recipient, smtputf8=parcel.smtputf8), notice))
                self._named.append(recipient)
            except errors.InputInvalid as error:
                self.outcomes[recipient] = Failed(Reply.ours(str(error)))
        if not named:
            return []
        octets = len(self.normal) if features.has_size else None
        return [commands.Mail(sender, octets, parcel.eight_bit and features.eight_bit, parcel.smtputf8, notice), *named]

    def _sender(self, features: Features) -> str:
        """Return the sender as it is written; InputInvalid where the relay can't take this letter at all."""
        parcel, most = self.parcel, features.max_octets
        if parcel.smtputf8 and not features.smtputf8:
            raise errors.InputInvalid("an address is not ASCII before its @, and the relay offers no SMTPUTF8")
        if parcel.eight_bit and not features.eight_bit:
            self.normal = downgrade.seven_bit(self.normal)
        octets = len(self.normal)
        if most is not None and octets > most:
            raise errors.InputInvalid(f"the letter has {octets} octets, and the relay takes {most} at most (SIZE)")
        try:
            return _writable(parcel.envelope.sender, smtputf8=parcel.smtputf8) if parcel.envelope.sender else ""
        except errors.InputInvalid as error:
            raise errors.InputInvalid(f"the sender {error}") from error

    # --- content ----------------------------------------------------------------------------------------------------

    @property
    def is_small(self) -> bool:
        """Whether envelope and content go in one flight each, so that nothing of it need be waited for."""
        return len(self.normal) <= PIECE_OCTETS and len(self.envelope) <= GROUP_COMMANDS

    @property
    def first_field(self) -> bytes:
        """The first line, where it is harmless even to a relay that reads it as a command, and not all there is; else b""."""
        found = _FIELD.match(self.normal, 0, MAX_FIELD_OCTETS)
        return b"" if found is None or found.end() == len(self.normal) else found[0]

    def begin_content(self) -> None:
        """Have the content's pieces at hand, as DATA or BDAT have them."""
        if self.by_chunks:
            starts = range(len(self.first_field) if self.is_asked else 0, len(self.normal), PIECE_OCTETS)
            self.pieces = (self.normal[start : start + PIECE_OCTETS] for start in starts)
        else:
            self.pieces = lines.stuffed_pieces(self.normal, PIECE_OCTETS)
        self._piece = next(self.pieces)

    def next_piece(self) -> tuple[bytes, bool]:
        """Return the next piece, and whether it is the last."""
        piece, following = self._piece, None if self.pieces is None else next(self.pieces, None)
        self._piece = following or b""
        return piece, following is None

    # --- replies ----------------------------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """Whether the relay has taken the sender."""
        return self.mail_reply is not None and self.mail_reply.is_positive

    @property
    def is_wanted(self) -> bool:
        """Whether somebody was accepted, and the sender too."""
        return self.is_begun and bool(self._accepted)

    @property
    def is_sent(self) -> bool:
        """Whether the relay has taken it for somebody."""
        return any(isinstance(one, Sent) for one in self.outcomes.values())

    @property
    def is_settled(self) -> bool:
        """Whether every recipient has an outcome."""
        return all(recipient in self.outcomes for recipient in self._named)

    def take(self, command: Command, reply: Reply, *, lmtp: bool) -> None:
        """Take the reply to one of its commands."""
        kind, code = type(command), reply.code
        self.unanswered -= 1
        if kind is commands.FinalDot or kind is commands.BdatLast:
            if code >= 400:
                self.refusal = reply
            self._take_final(reply, lmtp=lmtp)
            return
        if kind is commands.Rcpt:
            self._take_recipient(next(self._waiting), reply)
        elif kind is commands.Mail:
            self.mail_reply = reply
        if code < 400:
            return
        self.wants_login |= reply.asks_for_login
        if kind is commands.Mail:
            self.settle(outcome(reply, Stage.MAIL))
        elif kind is not commands.Rcpt:
            self.refusal = self.refusal or reply
            self.settle(outcome(reply, Stage.DATA if kind is commands.Data else Stage.BDAT))

    def _take_recipient(self, recipient: str, reply: Reply) -> None:
        if reply.is_positive:
            self._accepted.append(recipient)
        elif self.is_begun:
            self.outcomes[recipient] = outcome(reply, Stage.RCPT)

    def _take_final(self, reply: Reply, *, lmtp: bool) -> None:
        verdict: Outcome = outcome(reply, Stage.DOT)
        if isinstance(verdict, Sent) and self.end_at is not None and not self.is_begun:
            # It refused the sender, and took recipients and letter behind that: which of both it meant nobody knows.
            verdict = InDoubt(f"the relay refused the sender ({self.mail_reply}) and then took the letter: {reply}")
            self.outcomes |= dict.fromkeys(self._accepted if not lmtp else self._accepted[self.finals :][:1], verdict)
        if not lmtp:
            self.settle(verdict)
        elif self._accepted:
            self.outcomes.setdefault(self._accepted[self.finals], verdict)
            self.finals += 1
            self.unanswered += self.finals < len(self._accepted)

    def settle(self, verdict: Outcome) -> None:
        """Give this outcome to all recipients that have none yet."""
        for recipient in self.parcel.envelope.recipients:
            self.outcomes.setdefault(recipient, verdict)

    def doubt(self, error: Exception) -> None:
        """Settle what is not known: the letter has left."""
        end = "BDAT LAST" if self.by_chunks else "the final dot"
        self.settle(InDoubt(f"{end} was sent and its reply not seen; the relay may have the letter: {error}"))

    def verdict(self) -> dict[str, Outcome]:
        """Return the outcomes in the envelope's order."""
        return {recipient: self.outcomes[recipient] for recipient in self.parcel.envelope.recipients}


@lru_cache(KNOWN_ADDRESSES)
def _writable(given: str, *, smtputf8: bool) -> str:
    checked = address.check(given)
    if not checked.isascii() and not smtputf8:
        raise errors.InputInvalid(f"{checked}: not ASCII before its @, and SMTPUTF8 was not asked for")
    return checked
