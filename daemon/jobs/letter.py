"""A claimed row of the outbox and the letter made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.mail import compose
from daemon.mail.account import Account
from daemon.store import outbox


@dataclass(frozen=True, slots=True)
class Item:
    """A row with its letter.

    message_id: without its brackets, as in the tables, so that `outbox` and `messages` can be joined; None: raw without one.
    """

    row: outbox.Claimed
    letter: compose.Letter
    message_id: str | None


def write(row: outbox.Claimed, attached: Sequence[compose.Attachment], account: Account) -> Item:
    """Make the letter; InputInvalid names the column that can't be used.

    Its Message-ID and its Date are those of the row, not of the attempt: what a retry sends is the same letter to every reader.
    """
    message_id = f"<{row.message_id}>" if row.message_id else None
    message_id = message_id or compose.new_message_id(row.created_at, account.domain, unique=str(row.id))
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
        message_id=message_id,
        attachments=tuple(attached),
    )
    letter = compose.compose(draft, account_address=account.address, now=row.created_at, message_id=message_id)
    return Item(row, letter, letter.message_id.strip("<>") if letter.message_id else None)
