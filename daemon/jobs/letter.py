"""A claimed row of the outbox and the letter made of it."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from daemon import errors
from daemon.mail import compose, entity, resend
from daemon.mail.account import Account, Dkim
from daemon.mail.sign import Signer
from daemon.store import forwards, outbox
from daemon.store.database import Database
from daemon.wire import secret

UNGUESSED_OCTETS: Final = (
    8  # of each Message-ID: who quotes it in a bounce or an answer has had the letter (jobs/match.py)
)


@dataclass(frozen=True, slots=True)
class Item:
    """A row with its letter.

    message_id: without its brackets, as in the tables, so that `outbox` and `messages` can be joined; None: raw without one.
    """

    row: outbox.Claimed
    letter: compose.Letter
    message_id: str | None

    @property
    def begun(self) -> outbox.Begun:
        """What an attempt at it begins with."""
        recipients = [(one.address, one.field) for one in self.letter.recipients]
        return outbox.Begun(outbox_id=self.row.id, message_id=self.message_id, recipients=recipients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosed:
    """What belongs to a row's letter and is not in the row.

    journey: the archived message that it forwards, and how that came.  had: the addresses to which it went from here.
    """

    attachments: tuple[entity.Attachment, ...] = ()
    journey: resend.Journey | None = None
    had: frozenset[str] = frozenset()


NOTHING: Final = Enclosed()


def enclosed(database: Database, rows: Sequence[outbox.Claimed]) -> dict[int, Enclosed | errors.InputInvalid]:
    """Read what belongs to the rows; InputInvalid for one that forwards what is not in the archive as it came."""
    found: dict[int, Enclosed | errors.InputInvalid] = {row.id: NOTHING for row in rows}
    rows = [row for row in rows if row.enclosed or row.forwards is not None]
    if not rows:
        return found
    with database.reading() as conn:
        attached = outbox.attachments_of(conn, [row.id for row in rows])
        for row in rows:
            found[row.id] = Enclosed(attachments=attached.get(row.id, ()))
            if row.forwards is not None:
                try:
                    found[row.id] = _forwarded(conn, row.forwards)
                except errors.InputInvalid as error:
                    found[row.id] = error
    return found


def _forwarded(conn: Any, message: int) -> Enclosed:
    journey = resend.Journey(forwards.source(conn, message))
    had = forwards.had(conn, journey.message_id) if journey.message_id is not None else set()
    return Enclosed(journey=journey, had=frozenset(had))


def new_message_id(account: Account, row: int, created_at: datetime) -> str:
    """Make a Message-ID for a row, without its brackets."""
    unique = f"{row}.{secrets.token_hex(UNGUESSED_OCTETS)}"
    return compose.new_message_id(created_at, account.domain, unique=unique)[1:-1]


def write(row: outbox.Claimed, given: Enclosed | errors.InputInvalid, account: Account) -> Item:
    """Make the letter; InputInvalid names the column that can't be used.

    Its Message-ID and its Date are those of the row, not of the attempt: what a retry sends is the same letter to every reader. It is
    made here once: the first attempt that begins writes it down.
    """
    if isinstance(given, errors.InputInvalid):
        raise given
    if row.forwards is None and row.raw is None and not (row.subject or row.body or row.html):
        # No such row can be put in; it has become so.
        raise errors.InputInvalid("what this row was to send is gone: the message that it forwards, or its own text")
    message_id = f"<{row.message_id or new_message_id(account, row.id, row.created_at)}>"
    draft = compose.Draft(
        id=row.id,
        recipients=row.recipients,
        cc=row.cc,
        bcc=row.bcc,
        sender=row.sender,
        reply_to=row.reply_to,
        subject=row.subject,
        body=row.body,
        html=row.html,
        headers=row.headers,
        raw=row.raw,
        source=None if given.journey is None else given.journey.source,
        message_id=message_id,
        attachments=given.attachments,
    )
    letter = compose.compose(draft, account_address=account.address, now=row.created_at, message_id=message_id)
    if given.journey is not None:
        targets = [one.address for one in letter.recipients]
        reason = given.journey.circle(letter.sender, targets, given.had)
        if reason is not None:
            raise errors.InputInvalid(f"forwards: not sent on, it would go in a circle: {reason}")
    return Item(row, letter, letter.message_id.strip("<>") if letter.message_id else None)


def written(
    database: Database, rows: Sequence[outbox.Claimed], account: Account
) -> tuple[list[Item], list[tuple[outbox.Claimed, errors.InputInvalid]]]:
    """Make letters of rows; one that can't be one stops no other, and is given with the reason."""
    given = enclosed(database, rows)
    items, refused = list[Item](), list[tuple[outbox.Claimed, errors.InputInvalid]]()
    for row in rows:
        try:
            items.append(write(row, given.pop(row.id), account))
        except errors.InputInvalid as error:
            refused.append((row, error))
    return items, refused


def within(letters: int | None, items: list[Item], unasked: Collection[str], split: int) -> list[Item]:
    """Return the first of them for which there is room; a row may go beyond it, or one of many recipients would never go.

    letters: None for any number.  unasked: addresses to which none goes.  split: recipients a letter.
    """
    if letters is None:
        return items
    taken = []
    for item in items:
        needed = -(-sum(one.address not in unasked for one in item.letter.recipients) // split)
        if letters <= 0 < needed:
            break
        taken.append(item)
        letters -= needed
    return taken


def signer(dkim: Dkim) -> Signer:
    """Read the key, anew for each session; SecretUnavailable where it can't sign."""
    key = secret.read_key(dkim.key_file, is_credential=dkim.is_credential)
    return Signer(key, selector=dkim.selector, domain=dkim.domain, origin=f"DKIM key file {dkim.key_file}")


def signed(letter: compose.Letter, by: Signer | None) -> compose.Letter:
    """Sign a letter; the last that is done to its octets before they leave."""
    return letter if by is None else replace(letter, content=by.sign(letter.content))
