"""What is known of a message: the columns that the indexer derives from the archived octets.

Pure nouns. Every text in a Parsed can be bound to any database as it is: no NUL, no lone surrogate. Times are aware UTC.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRow:
    """One address in a header field.

    role: from, sender, reply_to, to, cc or bcc.  position: counted from 0 within the role.  name: "" where none was given.
    """

    role: str
    position: int
    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRow:
    """One attached part, inline images and forwarded messages included.

    part: its place in the tree like "2.1"; "1" is the first part of a multipart, and the message itself where it is none.
    octets and sha256: of the content after its transfer encoding was undone.  disposition: attachment, inline or "".
    """

    part: str
    filename: str
    content_type: str
    octets: int
    sha256: str
    content_id: str | None
    disposition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The derived columns of one message.

    message_id, in_reply_to, references: without their angle brackets.  to_addresses, cc_addresses: as people read them,
    `Anna <anna@example.org>, …`.  quoted_ranges, signature_ranges: of body_text, in characters, (first, the one behind the last),
    in order; what they cover is no news.  protection: names from mail/protection.py.  attachment_names: one a line.  defects: names from mail/defects.py, each once, in the order found.
    may_report: not a column; it has the shape of a bounce or the like (mail/report.py).
    """

    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    sent_at: datetime | None = None
    from_name: str = ""
    from_address: str | None = None
    to_addresses: str = ""
    cc_addresses: str = ""
    subject: str = ""
    body_text: str = ""
    quoted_ranges: tuple[tuple[int, int], ...] = ()
    signature_ranges: tuple[tuple[int, int], ...] = ()
    protection: tuple[str, ...] = ()
    addresses: tuple[AddressRow, ...] = ()
    attachments: tuple[AttachmentRow, ...] = ()
    attachment_names: str = ""
    defects: tuple[str, ...] = ()
    may_report: bool = False
