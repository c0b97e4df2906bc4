"""A row's letter as it leaves in one session: signed, in as many parcels as its recipients need, asking for reports.

A letter goes to at most as many recipients as the relay takes at once; with VERP each gets one of his own, from an address that
names row and recipient, so that whatever comes back is understood (mail/verp.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from daemon import errors
from daemon.jobs import letter
from daemon.jobs.letter import Item
from daemon.mail import compose, downgrade, report, verp
from daemon.mail.account import Smtp
from daemon.mail.envelope import Envelope, Notice, Parcel
from daemon.mail.sign import Signer
from daemon.smtp.relay import Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """What is the same for all letters of a session. key: of VERP addresses and envelope ids.  split: recipients a letter."""

    smtp: Smtp
    relay: Relay
    signer: Signer | None
    key: bytes

    @property
    def split(self) -> int:
        """How many recipients a letter has at most."""
        return 1 if self.smtp.verp else self.relay.most_recipients

    def parcels(self, item: Item, addresses: Sequence[str], keys: Iterator[int]) -> Iterator[Parcel]:
        """Give the letter for these recipients. keys: those of the parcels."""
        written = letter.signed(self._carriable(item), self.signer)
        notice = None
        if self.relay.features.dsn:
            notice = Notice(envid=report.envelope_id(item.row.id, self.key), notify=self.smtp.notify)
        for start in range(0, len(addresses), self.split):
            to = tuple(addresses[start : start + self.split])
            sender = verp.sender(written.sender, item.row.id, to[0], self.key) if self.smtp.verp else written.sender
            yield Parcel(
                key=next(keys),
                envelope=Envelope(sender=sender, recipients=to),
                content=written.content,
                smtputf8=written.needs_smtputf8,
                eight_bit=written.needs_8bit,
                notice=notice,
            )

    def _carriable(self, item: Item) -> compose.Letter:
        """Re-encode what the relay can't carry as it is, before it is signed; what can't be is refused by the session, with the reason."""
        written = item.letter
        if self.signer is None or not written.needs_8bit or self.relay.features.eight_bit or item.row.forwards:
            return written
        try:
            return replace(written, content=downgrade.seven_bit(written.content), needs_8bit=False)
        except errors.InputInvalid:
            return written
