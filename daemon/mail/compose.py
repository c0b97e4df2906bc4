"""Make a letter of an outbox row: RFC 5322 header, the body (mail/entity.py), and the envelope that goes with it.

The same row gives the same octets at every attempt: the date and the Message-ID are parameters, boundaries are computed. What
we write is 7-bit, so every relay can carry it; only a complete message and international local parts are not. Bcc is
never in the letter. A row that can't be a letter is InputInvalid, its message begins with the column's name. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache, partial
from typing import Final, Literal

from daemon.errors import InputInvalid
from daemon.mail import address, complete, entity, field, resend
from daemon.mail.address import Mailbox
from daemon.mail.entity import Attachment, of_column

KNOWN: Final = 256  # fields that are remembered, of each kind

# Written by us from the other columns, or by those who carry the letter; all Content- and Resent- fields beside.
RESERVED_FIELDS: Final = frozenset(
    [
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "return-path",
        "received",
    ]
)
_MESSAGE_ID: Final = re.compile(r"<?([!-;=?-~]{1,900})>?")
RecipientField = Literal["to", "cc", "bcc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the inserting program wrote: the outbox's own columns. raw: a complete message, in place of subject, body and html.

    source: the octets of the archived message that the row forwards.
    """

    id: int
    recipients: str
    cc: str | None = None
    bcc: str | None = None
    sender: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    headers: Mapping[str, str] | None = None
    raw: bytes | None = None
    source: bytes | None = None
    message_id: str | None = None
    attachments: Sequence[Attachment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient of the envelope, and the column that named it first."""

    address: str
    field: RecipientField


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A letter ready to be sent. content: CRLF lines, not dot-stuffed.

    message_id: as it stands in the letter, with its angle brackets; None where a raw message has none.  Of a message that is
    sent on, its Resent-Message-ID: that is ours, and new.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    content: bytes
    needs_8bit: bool
    needs_smtputf8: bool
    message_id: str | None


def new_message_id(now: datetime, domain: str, unique: str) -> str:
    """Return a Message-ID with its angle brackets. unique: in this house at that time, letters and digits."""
    try:
        host = address.ascii_domain(domain)
    except InputInvalid:
        host = "localhost"
    return f"<{_stamp(now)}.{unique}.{resend.HOUSE}@{host}>"


# Rows that are put in at once are of one time, and those of an account from one sender.


@lru_cache(KNOWN)
def _stamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%d%H%M%S.%f}"


@lru_cache(KNOWN)
def _date(now: datetime) -> bytes:
    return field.folded("Date", [format_datetime(now.astimezone(UTC))])


@lru_cache(KNOWN)
def _from(sender: Mailbox) -> bytes:
    return field.mailboxes("From", [sender])


def compose(draft: Draft, *, account_address: str, now: datetime, message_id: str) -> Letter:
    """Make the letter. now: of the row, not of the attempt, so that a retry sends the same octets; aware.

    account_address: sends where the row names no sender.  message_id: used unless the draft has one.
    """
    sender = of_column("sender", address.parse_one, draft.sender or account_address)
    given: dict[RecipientField, list[Mailbox]] = {
        "to": of_column("recipients", address.parse_list, draft.recipients),
        "cc": of_column("cc", address.parse_list, draft.cc) if draft.cc else [],
        "bcc": of_column("bcc", address.parse_list, draft.bcc) if draft.bcc else [],
    }
    recipients: dict[str, Recipient] = {}
    for name, mailboxes in given.items():
        for one in mailboxes:
            recipients.setdefault(one.identity, Recipient(address=one.address, field=name))
    if not given["to"]:
        raise InputInvalid("recipients: there is no address in it")
    reply_to = of_column("reply_to", address.parse_list, draft.reply_to) if draft.reply_to else []
    written_id: str | None
    if draft.source is not None:
        written_id = _message_id(draft.message_id or message_id)
        write = partial(resend.write, sender=sender, to=given["to"], cc=given["cc"], now=now, message_id=written_id)
        content = of_column("forwards", write, draft.source)
        named = [sender, *(one for mailboxes in given.values() for one in mailboxes)]
    elif draft.raw is not None:
        if draft.subject or draft.body or draft.html or draft.headers or draft.attachments:
            raise InputInvalid(
                "raw: a complete message; subject, body, html, headers and attachments can't be given beside it"
            )
        content, written_id = of_column("raw", complete.sendable, draft.raw)
        named = [sender, *(one for mailboxes in given.values() for one in mailboxes)]
    else:
        written_id = _message_id(draft.message_id or message_id)
        head = [
            _from(sender),
            *([field.mailboxes("Reply-To", reply_to)] if reply_to else []),
            field.mailboxes("To", given["to"]),
            *([field.mailboxes("Cc", given["cc"])] if given["cc"] else []),
            *([of_column("subject", partial(field.text, "Subject"), draft.subject)] if draft.subject else []),
            _date(now),
            field.folded("Message-ID", [written_id]),
            *of_column("headers", _own_fields, draft.headers or {}),
            b"MIME-Version: 1.0\r\n",
        ]
        content = entity.joined([*head, *entity.body(draft.body, draft.html, draft.attachments, seed=written_id)])
        named = [sender, *reply_to, *(one for mailboxes in given.values() for one in mailboxes)]
    return Letter(
        sender=sender.address,
        recipients=tuple(recipients.values()),
        content=content,
        needs_8bit=not content.isascii(),
        needs_smtputf8=any(one.needs_smtputf8 for one in named),
        message_id=written_id,
    )


def _message_id(given: str) -> str:
    found = _MESSAGE_ID.fullmatch(given)
    if found is None:
        raise InputInvalid("message_id: not of the form <name@host>")
    return f"<{found[1]}>"


def _own_fields(headers: Mapping[str, str]) -> list[bytes]:
    written: list[bytes] = []
    for name, value in headers.items():
        low = name.lower()
        if not field.is_name(name):
            raise InputInvalid(f"{ascii(name)[:80]} is no name for a header field")
        if low in RESERVED_FIELDS or low.startswith(("content-", "resent-")):
            raise InputInvalid(f"{name} is written by the house; use the columns for it")
        if not isinstance(value, str):
            raise InputInvalid(f"{name}: a text is needed")
        written.append(of_column(name, partial(field.verbatim, name), value))
    return written
