"""Where in a message's octets its attachments lie, encoded as they were sent. Raises nothing. Pure."""

from collections.abc import Collection
from typing import Final

from daemon.mail import mime
from daemon.mail.defects import Notes
from daemon.mail.source import Octets

LINE_ENDS_OCTETS: Final = (
    1000  # behind an attachment that are looked at: letters with the same one end it in their own way
)


def of_parts(raw: Octets, numbers: Collection[str]) -> list[tuple[int, int]]:
    """Give (start, before the end) of parts without parts of their own. numbers: as in AttachmentRow.

    Line ends behind one are not its own. What lies in an encoded message, or in a TNEF one, is not found: it has no place.
    """
    found = []
    for part in mime.tree(raw, Notes()).walk():
        if part.number in numbers and not part.children and part.buffer is raw:
            tail = raw[max(part.start, part.end - LINE_ENDS_OCTETS) : part.end]
            end = part.end - len(tail) + len(tail.rstrip(b"\r\n"))
            if part.start < end:
                found.append((part.start, end))
    return found
