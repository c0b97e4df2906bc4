"""What comes back for what was sent: bounces, notices of delay and delivery, read receipts, complaints, automatic answers, answers.

`read` says what a message claims, of whom and about which letter; whether that is a letter of ours is for jobs/match to find
out. Two proofs are read here: the Message-ID of the returned header, which only who has the letter knows, and the envelope id
(RFC 3461 section 4.4), which is signed. The third, the address that a bounce came to, is in verp.py. Raises nothing, reads
what is in the first parts of the tree only, each capped; linear. Pure.
"""

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from daemon.mail import bounce, charset, delivery_status, headers, mailboxes, mime, verp
from daemon.mail.defects import Notes
from daemon.mail.delivery_status import Fate

MAX_PART_OCTETS: Final = 1_048_576  # of one part's content that are read
MAX_ADDRESSES: Final = 50  # to which a message came: a bounce comes to one
MAX_IDS: Final = 250  # Message-IDs of one report: of digests that were bounced, some have more than one
TAG_LETTERS: Final = 16  # of an envelope id: 80 bits

_STATUS: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
_DISPOSITION: Final = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_FEEDBACK: Final = frozenset({"message/feedback-report"})
_REPORTED: Final = _STATUS | _DISPOSITION | _FEEDBACK | {"multipart/report"}
_HEADERS: Final = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})
_CAME_TO: Final = ("delivered-to", "x-original-to", "envelope-to")
_AUTOMATIC: Final = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-vacation")
_DAEMON: Final = re.compile(
    r"(?:mailer[-_.]?daemon|mail[-_.]?daemon|postmaster|mdaemon|microsoftexchange)[^@]*@", re.IGNORECASE
)
_NULL: Final = re.compile(rb"<?(?:mailer-daemon(?:@[^>]*)?)?>?", re.IGNORECASE)  # Sendmail writes the name
_ENVELOPE_ID: Final = re.compile(r"pr([0-9a-z]{1,13})-([a-z2-7]{16})", re.IGNORECASE | re.ASCII)


class Kind(StrEnum):
    """What a message is to us."""

    REPORT = "report"  # a relay says what became of the letter: failed, delayed, delivered, …
    UNCLEAR = "unclear"  # from a mail daemon, in words that nobody knows
    RECEIPT = "receipt"  # RFC 8098: the reader's program says that it was displayed, or not
    COMPLAINT = "complaint"  # RFC 5965: the reader calls it spam
    AUTOMATIC = "automatic"  # RFC 3834: out of office, or a ticket was opened
    ANSWER = "answer"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a message says.

    message_id: its own.  sender: in From, "" for none.  return_paths: addresses that may be the one our letter was sent from.
    envelope_id: as we gave it to the relay, not verified.  returned: Message-IDs of the letter that it speaks of.  answers: those
    in In-Reply-To and References, the letter that is answered first.  fates: empty for AUTOMATIC, ANSWER and OTHER.
    """

    kind: Kind
    message_id: str | None = None
    sender: str = ""
    return_paths: tuple[str, ...] = ()
    envelope_id: str = ""
    returned: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    fates: tuple[Fate, ...] = ()


# --- the envelope id ------------------------------------------------------------------------------------------------


def envelope_id(outbox_id: int, key: bytes) -> str:
    """Give the ENVID of a row: at most 32 characters that need no xtext."""
    return f"pr{verp.base36(outbox_id)}-{verp.tag(f'envelope {outbox_id}', key, TAG_LETTERS)}"


def read_envelope_id(text: str, key: bytes) -> int | None:
    """Give the row of an ENVID that `envelope_id` made; None for any other."""
    found = _ENVELOPE_ID.fullmatch(text.strip())
    if found is None:
        return None
    outbox_id = int(found[1], 36)
    genuine = verp.tag(f"envelope {outbox_id}", key, TAG_LETTERS)
    return outbox_id if hmac.compare_digest(genuine, found[2].lower()) else None


# --- which messages are worth a look --------------------------------------------------------------------------------


def is_shaped(root: mime.Part, sender: str, to: Iterable[str]) -> bool:
    """Tell whether a message may be a report, by its shape alone; asked of every message, so it has to be quick.

    Answers have no shape, not even automatic ones: their Message-IDs are looked up.
    """
    fields = root.fields
    return (
        root.content_type in _REPORTED
        or any(child.content_type in _REPORTED for child in root.children)
        or "x-failed-recipients" in fields
        or _DAEMON.match(sender) is not None
        or any("+pr" in one and verp.is_marked(one) for one in (*to, *_came_to(fields)))
    )


def _came_to(fields: headers.Fields) -> list[str]:
    found = [value for name in _CAME_TO for value in fields.get(name, ())]
    return [value[:1000].decode("utf-8", "replace").strip("<> ") for value in found[:MAX_ADDRESSES]]


def _has_null_return_path(fields: headers.Fields) -> bool:
    return any(_NULL.fullmatch(value) for value in fields.get("return-path", ()))


def is_automatic(fields: headers.Fields) -> bool:
    """Tell whether no person wrote it (RFC 3834 section 5, and what was before it). A list's own Precedence says nothing."""
    submitted = _word(fields, "auto-submitted")
    precedence = _word(fields, "precedence")
    return (
        submitted not in {"", "no"}
        or precedence in {"auto_reply", "auto-reply"}
        or (precedence in {"bulk", "junk"} and "list-id" not in fields)
        or any(name in fields for name in _AUTOMATIC)
        or _has_null_return_path(fields)
    )


def _word(fields: headers.Fields, name: str) -> str:
    value = fields.get(name, [b""])[0][:100].decode("ascii", "replace")
    return re.split(r"[\s;(]", value.strip(), maxsplit=1)[0].lower()


# --- reading --------------------------------------------------------------------------------------------------------


def read(raw: bytes) -> Report:
    """Read a message. raw: it may be cut off at its end, behind the letter that is returned."""
    notes = Notes()
    root = mime.tree(raw, notes)
    fields = root.fields
    own = list(_own_parts(root))
    to = [one.address for one in mailboxes.read(fields.get("to", ())[:1], notes)[:MAX_ADDRESSES] if one.address]
    known = _Known(
        message_id=next(iter(_ids(fields, "message-id")), None),
        sender=next((one.address for one in mailboxes.read(fields.get("from", ())[:1], notes)), ""),
        return_paths=(*_came_to(fields), *to),
        answers=tuple(dict.fromkeys([*_ids(fields, "in-reply-to"), *reversed(_ids(fields, "references"))]))[:MAX_IDS],
    )
    if (structured := _structured(own, known)) is not None:
        return structured
    is_daemon = _DAEMON.match(known.sender) is not None and _return_path_allows(fields)
    if is_daemon or "x-failed-recipients" in fields:
        named = fields.get("x-failed-recipients", [b""])[0].decode("utf-8", "replace")
        subject = headers.unstructured(fields.get("subject", [b""])[0], notes)
        fates, found = bounce.read(_text(own), subject, named)
        kind = Kind.REPORT if fates else Kind.UNCLEAR
        return known.report(kind, fates=fates, returned=(*found, *_returned(own)[0]))
    if is_automatic(fields):
        return known.report(Kind.AUTOMATIC)
    return known.report(Kind.ANSWER if known.answers else Kind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a message of any kind."""

    message_id: str | None
    sender: str
    return_paths: tuple[str, ...]
    answers: tuple[str, ...]

    def report(
        self,
        kind: Kind,
        *,
        fates: tuple[Fate, ...] = (),
        returned: Iterable[str] = (),
        envelope_id: str = "",
        more_paths: Iterable[str] = (),
    ) -> Report:
        return Report(
            kind=kind,
            message_id=self.message_id,
            sender=self.sender,
            return_paths=tuple(dict.fromkeys([*self.return_paths, *more_paths])),
            envelope_id=envelope_id,
            returned=tuple(dict.fromkeys(returned))[:MAX_IDS],
            answers=self.answers,
            fates=fates,
        )


def _structured(own: list[mime.Part], known: _Known) -> Report | None:
    """Read a report that has a part for programs; None if it has none, or nothing is in it."""
    for kind, types in ((Kind.REPORT, _STATUS), (Kind.RECEIPT, _DISPOSITION), (Kind.COMPLAINT, _FEEDBACK)):
        blocks = [one for part in own if part.content_type in types for one in delivery_status.blocks(_content(part))]
        fates = delivery_status.fates(blocks) if kind is Kind.REPORT else _arrived(kind, blocks)
        if not fates:
            continue
        fates = bounce.completed(fates, _text(own))
        ids, paths = _returned(own)
        original = [block.get(f"{x}original-message-id", "").strip("<> ") for block in blocks for x in ("", "x-")]
        senders = [block.get(name, "") for block in blocks for name in ("x-postfix-sender", "original-mail-from")]
        return known.report(
            kind,
            fates=fates[: delivery_status.MAX_RECIPIENTS],
            returned=filter(None, [*ids, *original]),
            envelope_id=next(filter(None, (block.get("original-envelope-id", "") for block in blocks)), ""),
            more_paths=(*paths, *filter(verp.is_marked, senders)),
        )
    return None


def _arrived(kind: Kind, blocks: list[dict[str, str]]) -> tuple[Fate, ...]:
    """Give what a read receipt or a complaint says: it arrived, whatever the reader thought of it."""
    if not blocks:
        return ()
    whole = {name: value for block in reversed(blocks) for name, value in block.items()}
    said = whole.get("disposition", "").rpartition(";")[2] if kind is Kind.RECEIPT else whole.get("feedback-type", "")
    shown = f"{kind}: {charset.one_line(said, Notes())[:100]}"
    names = ("original-recipient", "final-recipient", "original-rcpt-to")
    recipients = delivery_status.addresses(*(whole.get(name, "") for name in names))
    return (Fate(recipients=recipients, action="delivered", diagnostic=shown),)


def _return_path_allows(fields: headers.Fields) -> bool:
    """Tell whether the envelope does not say that a person at postmaster wrote this (RFC 5321 section 4.5.5)."""
    return "return-path" not in fields or _has_null_return_path(fields)


def _own_parts(root: mime.Part) -> Iterator[mime.Part]:
    """Yield the parts, but none of a letter within: a report that somebody forwards is not one."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        if not part.content_type.startswith("message/"):
            waiting += reversed(part.children)


def _returned(own: list[mime.Part]) -> tuple[list[str], list[str]]:
    """Give the ids (what was sent last, first) and the VERP addresses in the headers that came back."""
    ids: list[str] = []
    paths: list[str] = []
    for part in own:
        if part.content_type in _HEADERS:
            content = _content(part)
            fields, _ = headers.read(content, 0, len(content), Notes())
        elif part.content_type.startswith("message/") and part.children:
            fields = part.children[0].fields
        else:
            continue
        ids += [
            *_ids(fields, "resent-message-id"),
            *_ids(fields, "message-id"),
        ]  # of what was sent on, the first is ours
        found = [value.decode("utf-8", "replace").strip("<> ") for value in fields.get("return-path", ())]
        paths += [one for one in found if len(one) <= mailboxes.MAX_CHARACTERS and verp.is_marked(one)]
    return ids, paths[:MAX_ADDRESSES]


def _ids(fields: headers.Fields, name: str) -> tuple[str, ...]:
    return headers.message_ids(fields.get(name, [b""])[0], Notes())


def _content(part: mime.Part) -> bytes:
    taken = b""
    for piece in mime.content(part, Notes()):
        taken += piece[: MAX_PART_OCTETS - len(taken)]
        if len(taken) >= MAX_PART_OCTETS:
            break
    return taken


def _text(own: list[mime.Part]) -> str:
    """Give the words of the first plain text."""
    for part in own:
        if part.content_type == "text/plain":
            return charset.scrubbed(
                charset.decode(_content(part), part.parameters.get("charset", ""), Notes()), Notes()
            )
    return ""
