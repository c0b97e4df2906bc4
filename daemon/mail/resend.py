"""An archived message sent on as it came: Resent- fields in front (RFC 5322 section 3.6.6), not an octet of it touched.

So the signatures in it (DKIM) go on to hold; line ends alone are made CRLF, as SMTP wants them and signers see them. A message
that would go in a circle is recognised by what it says of its own way. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from daemon.errors import InputInvalid
from daemon.mail import address, dates, field, headers, report
from daemon.mail.address import Mailbox
from daemon.mail.defects import Notes
from daemon.wire import lines

MAX_HOPS: Final = 100  # Received fields, RFC 5321 section 6.3: at least 100; by then a message goes in a circle
MAX_HEADER_OCTETS: Final = 1024 * 1024  # that are looked through for signs of a circle
HOUSE: Final = "postroom"  # the last word before the @ of the ids that we make

_FIELD: Final = re.compile(rb"^([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)", re.MULTILINE)
_OUR_ID: Final = re.compile(
    rb"^resent-message-id[ \t]*:\s*<[!-;=?-~]{1,255}\.%b@([!-;=?-~]{1,255})>" % HOUSE.encode(),
    re.IGNORECASE | re.MULTILINE,
)
_REPORT: Final = re.compile(rb"\s*multipart/report\b", re.IGNORECASE)


def write(
    source: bytes, *, sender: Mailbox, to: Sequence[Mailbox], cc: Sequence[Mailbox], now: datetime, message_id: str
) -> bytes:
    """Return the message with Resent- fields before it. now: aware.  message_id: of this sending, with its angle brackets."""
    octets = lines.normalised(source)
    if _FIELD.match(octets) is None:  # what we write in front would take it for its own
        raise InputInvalid("the message does not begin with a header field")
    head = [
        field.folded("Resent-Date", [format_datetime(now.astimezone(UTC))]),
        field.mailboxes("Resent-From", [sender]),
        field.mailboxes("Resent-To", to),
        *([field.mailboxes("Resent-Cc", cc)] if cc else []),
        field.folded("Resent-Message-ID", [message_id]),
    ]
    return b"".join([*head, octets])


class Journey:
    """What a message says of the way that it has come."""

    def __init__(self, source: bytes) -> None:
        """`source`: as it was archived."""
        self.source = source
        self._header_end = min(headers.split(source, 0, len(source))[0], MAX_HEADER_OCTETS)
        self._fields: dict[bytes, list[bytes]] = {}
        for name, value in _FIELD.findall(source, 0, self._header_end):
            self._fields.setdefault(name.lower(), []).append(value)

    @property
    def message_id(self) -> str | None:
        """Its Message-ID without brackets."""
        found = re.search(rb"<([!-;=?-~]{1,900})>", self._first(b"message-id"))
        return found[1].decode("ascii") if found else None

    @property
    def came_at(self) -> datetime | None:
        """When it came: its topmost Received field, which its maildrop's own server wrote; None if that can't be read."""
        value = _unfolded(self._first(b"received").rpartition(b";")[2])
        return dates.read(value.encode(), Notes()) if value else None

    def circle(self, account_address: str, targets: Iterable[str], had: Iterable[str] = ()) -> str | None:
        """Say why it must not be sent from that account to these addresses; None if it may.

        had: who was sent it by this house, as a letter of its own.  A report that is sent on comes from the account's address,
        as all does: its own bounce would come here and be sent on, so reports about what was sent on stop here.
        """
        hops = len(self._fields.get(b"received", []))
        if hops > MAX_HOPS:
            return f"it has been through {hops} servers, more than {MAX_HOPS} (RFC 5321 section 6.3)"
        own = _identity(account_address)
        if own in self._addresses(b"resent-from") and _OUR_ID.search(self.source, 0, self._header_end):
            return "this account has sent it on before (its Resent-Message-ID is ours)"
        domain = own.rpartition("@")[2].encode()
        if self._is_automatic and any(one.lower() == domain for one in _OUR_ID.findall(self.source)):
            return "it is a report about, or an answer to, what was sent on (a Resent-Message-ID in it is ours)"
        known = set(map(_identity, had))
        reasons = (self._came_from(target, known) for target in map(_identity, targets))
        return next((reason for reason in reasons if reason is not None), None)

    def _came_from(self, target: str, had: set[str]) -> str | None:
        """Say why it has been at that address; both as `_identity` gives them."""
        if target in self._addresses(b"delivered-to"):
            return f"{target} has had it before (Delivered-To)"
        if target in had:
            return f"{target} was sent it from here"
        if self._is_automatic and target in self._addresses(b"from"):
            return f"it is an automatic answer of {target} itself"
        if self._is_report and target.encode() in self.source.lower():
            return f"it is a report about mail to {target}"
        return None

    @property
    def _is_report(self) -> bool:
        """Whether it is about another message: a bounce, a receipt. Some are plain text, and say so by their sender alone."""
        is_null = self._first(b"return-path").strip() == b"<>"
        return is_null or _REPORT.match(self._first(b"content-type")) is not None

    @property
    def _is_automatic(self) -> bool:
        """Whether no person wrote it."""
        fields, _body = headers.read(self.source, 0, len(self.source), Notes())
        return self._is_report or report.is_automatic(fields)

    def _first(self, name: bytes) -> bytes:
        return self._fields.get(name, [b""])[0]

    def _addresses(self, name: bytes) -> set[str]:
        """Return the addresses in all fields of that name, each in the form of `_identity`; what can't be read is left out."""
        found: set[str] = set()
        for value in self._fields.get(name, []):
            try:
                found |= {_identity(one.address) for one in address.parse_list(_unfolded(value))}
            except InputInvalid:
                continue
        return found


def _unfolded(value: bytes) -> str:
    return " ".join(value.decode("utf-8", "replace").split())


def _identity(given: str) -> str:
    """Return an address in small letters: on the way, few keep to the case of what stands before the @."""
    try:
        return address.check(given).lower()
    except InputInvalid:
        return given.lower()
