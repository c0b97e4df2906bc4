"""A message's octets into columns: addresses, subject, text, attachments, and the defects that were worked around.

The octets are the archive; all of this is derived, versioned by PARSER_VERSION, and can be made anew. `parse` never raises
(but what a Source raises that can't be read), and takes time in proportion to the message, whatever it holds: structure by mime.py, fields by headers.py and
mailboxes.py, text by body.py, all linear and capped. Pure.
"""

import hashlib
import re
from typing import Final

from daemon import errors
from daemon.mail import body, charset, dates, headers, mailboxes, mime, protection, report, unpack
from daemon.mail.defects import Defect, Notes
from daemon.mail.message import AddressRow, AttachmentRow, Parsed
from daemon.mail.source import Octets

PARSER_VERSION: Final = 2  # raise it when columns come out differently: messages are then indexed again

_ROLES: Final = {role: role.replace("_", "-") for role in ("from", "sender", "reply_to", "to", "cc", "bcc")}
_ONCE: Final = ("from", "sender", "subject", "date", "message-id", "in-reply-to", "references", "content-type")


def parse(raw: Octets) -> Parsed:
    """Return the columns of a message, whatever its octets are."""
    notes = Notes()
    try:
        return _Message(raw, notes).parsed()
    except (errors.StoreError, errors.NotFound):  # a Source that can't be read: not the message's fault
        raise
    except Exception:  # noqa: BLE001 -- a bug of ours must stop this message only: it stays archived, and its row says so
        notes.add(Defect.PARSER_FAULT)
        return Parsed(defects=notes.names())


def attachment(raw: bytes, part: str) -> bytes | None:
    """Return the decoded content of the attachment that AttachmentRow calls `part`; None when there is none."""
    notes = Notes()
    for one in _attached(unpack.tree(raw, notes)):
        if one.number == part:
            return b"".join(mime.content(one, notes))
    return None


def html(raw: bytes) -> str | None:
    """Return the message's HTML as it is, if it has any. It is the sender's: never trust it."""
    notes = Notes()
    for part in unpack.tree(raw, notes).walk():
        if part.content_type == "text/html" and mime.is_body(part):
            return body.text(part, notes)
    return None


class _Message:
    """Reads one message."""

    def __init__(self, raw: Octets, notes: Notes) -> None:
        self._notes = notes
        if not raw:
            notes.add(Defect.EMPTY)
        self._root = unpack.tree(raw, notes)

    def parsed(self) -> Parsed:
        """Return the columns."""
        fields, notes = self._root.fields, self._notes
        for name in _ONCE:
            if len(fields.get(name, ())) > 1:
                notes.add(Defect.HEADER_DUPLICATE)
        listed = {role: mailboxes.read(fields[name], notes) for role, name in _ROLES.items() if name in fields}
        senders = listed.get("from") or listed.get("sender")
        sender = senders[0] if senders else mailboxes.Listed("", "")
        if not listed.get("from"):
            notes.add(Defect.FROM_MISSING)
        if "date" not in fields:
            notes.add(Defect.DATE_MISSING)
        subject = headers.unstructured(self._first("subject"), notes)
        ids = headers.message_ids(self._first("message-id"), notes)
        sent_at = dates.read(self._first("date"), notes) if "date" in fields else None
        attachments = tuple([self._row(part) for part in _attached(self._root)])
        read = body.read(self._root, subject, notes)
        return Parsed(
            message_id=ids[0] if ids else None,
            in_reply_to=next(iter(headers.message_ids(self._first("in-reply-to"), notes)), None),
            references=headers.message_ids(self._first("references"), notes),
            sent_at=sent_at,
            from_name=sender.name,
            from_address=sender.address or None,
            to_addresses=", ".join([one.shown for one in listed.get("to", ())]),
            cc_addresses=", ".join([one.shown for one in listed.get("cc", ())]),
            subject=subject,
            body_text=read.text,
            quoted_ranges=read.quoted,
            signature_ranges=read.signatures,
            protection=protection.found(self._root, read.text, notes),
            addresses=tuple(
                [
                    AddressRow(role=role, position=position, name=one.name, address=one.address)
                    for role, several in listed.items()
                    for position, one in enumerate(several)
                ]
            ),
            attachments=attachments,
            attachment_names="\n".join([row.filename for row in attachments if row.filename]),
            defects=notes.names(),
            may_report=report.is_shaped(self._root, sender.address, [one.address for one in listed.get("to", ())]),
        )

    def _first(self, name: str) -> bytes:
        values = self._root.fields.get(name)
        return values[0] if values else b""

    # --- attachments --------------------------------------------------------------------------------------------------

    def _row(self, part: mime.Part) -> AttachmentRow:
        digest = hashlib.sha256()
        octets = 0
        for piece in mime.content(part, self._notes):
            digest.update(piece)
            octets += len(piece)
        content_id = charset.one_line(
            headers.raw_text(part.fields.get("content-id", [b""])[0][:1000], self._notes), self._notes
        )
        return AttachmentRow(
            part=part.number,
            filename=part.filename or self._forwarded_name(part),
            content_type=part.content_type,
            octets=octets,
            sha256=digest.hexdigest(),
            content_id=content_id.strip("<> ") or None,
            disposition=part.disposition,
        )

    def _forwarded_name(self, part: mime.Part) -> str:
        """Call a forwarded message by its subject, as mail programs do."""
        if not part.children or not part.content_type.startswith("message/"):
            return ""
        subject = headers.unstructured(part.children[0].fields.get("subject", [b""])[0], self._notes)
        return re.sub(r"[/\\]", "-", subject)[:200] + ".eml" if subject else ""


def _attached(root: mime.Part) -> list[mime.Part]:
    """Return the parts that are files: everything but containers and texts, and forwarded messages whole."""
    if not root.children and mime.is_body(root):
        return []
    parts = list(root.walk())
    shown_otherwise = {
        id(child)
        for part in parts
        if part.content_type == "multipart/alternative"
        for child in part.children
        # One text in other clothes, such as text/x-amp-html; an invitation is a file all the same.
        if child.content_type.startswith("text/") and child.content_type != "text/calendar" and not child.filename
    }
    return [
        part
        for part in parts
        if not part.content_type.startswith("multipart/") and not mime.is_body(part) and id(part) not in shown_otherwise
    ]
