"""What a reader would see of a message: its text, whatever it comes as, and what of it is quoted or signature.

Plain text goes before HTML where both say the same; what stands side by side is all taken; forwarded messages with their subjects;
invitations in lines. Capped, linear; what is over a cap is cut, and noted. Pure.
"""

import re
from dataclasses import dataclass
from typing import Final

from daemon.mail import calendar, charset, flowed, headers, mime, quotes, unpack
from daemon.mail import text as page
from daemon.mail.defects import Defect, Notes

MAX_TEXT_OCTETS: Final = 1_048_576  # of one part that are read as text; longer ones are logs and tables
MAX_BODY_CHARACTERS: Final = 1_000_000  # of body_text
MAX_HTML_PARTS: Final = 20  # turned into text; each costs 0.15 s at the worst
MAX_CALENDARS: Final = 10  # whose events are written into the text

_META_CHARSET: Final = re.compile(rb"<meta[^<>]{0,200}charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_CALENDARS: Final = frozenset({"text/calendar", "application/ics"})

Ranges = tuple[quotes.Range, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """The text, and the ranges in it, in characters: (first, the one behind the last)."""

    text: str
    quoted: Ranges = ()
    signatures: Ranges = ()


def read(root: mime.Part, subject: str, notes: Notes) -> Body:
    """Return the text of a message. subject: decoded; it tells whether earlier letters in the text are quoted or sent on."""
    reader = _Reader(notes, forwards=quotes.is_forwarding(subject))
    marked = reader.text_of(root) or reader.text_in_envelopes(root)
    whole, quoted, signatures = quotes.taken_out(marked, notes)
    if (root.children or root.content_type in _CALENDARS) and any(
        part.content_type in _CALENDARS for part in root.walk()
    ):
        whole = "\n\n".join(filter(None, (whole, *_invitations(root, whole, notes))))
    if len(whole) > MAX_BODY_CHARACTERS:
        notes.add(Defect.TEXT_TRUNCATED)
        whole = whole[:MAX_BODY_CHARACTERS]
    if not quoted and not signatures:
        return Body(whole)
    return Body(whole, _within(quoted, len(whole)), _within(signatures, len(whole)))


def _within(ranges: list[quotes.Range], length: int) -> Ranges:
    return tuple((begin, min(end, length)) for begin, end in ranges if begin < length)


class _Reader:
    """Reads one message."""

    def __init__(self, notes: Notes, *, forwards: bool) -> None:
        self._notes = notes
        self._forwards = forwards
        self._html_parts = 0

    def text_of(self, part: mime.Part) -> str:
        """Return what a reader would see of a part and what is below it, with the marks of quotes.py."""
        if part.content_type == "multipart/alternative":
            # The last one is the sender's favourite (RFC 2046 section 5.1.4); the plain one is ours.
            plain = [child for child in part.children if child.content_type == "text/plain"]
            others = [child for child in reversed(part.children) if child.content_type != "text/plain"]
            return next(filter(None, map(self.text_of, plain + others)), "")
        if part.children and part.content_type != "text/plain":
            if unpack.is_tnef(part):
                return ""
            texts = [one for one in map(self.text_of, part.children) if one]
            if part.content_type.startswith("message/"):  # forwarded: its subject is worth finding
                subject = part.children[0].fields.get("subject", [b""])[0]
                texts.insert(0, headers.unstructured(subject, self._notes))
            return "\n\n".join(filter(None, texts))
        if not mime.is_body(part):
            return ""
        found = text(part, self._notes)
        if part.content_type == "text/html":
            self._html_parts += 1
            if self._html_parts > MAX_HTML_PARTS:
                self._notes.add(Defect.TEXT_TRUNCATED)
                return ""
            found = page.html_to_text(found, self._notes)
        return quotes.marked(found.strip(), forwards=self._forwards)

    def text_in_envelopes(self, root: mime.Part) -> str:
        """Return what Outlook put into winmail.dat; it is the same text that stands beside it, if one does."""
        texts = [child for part in root.walk() if unpack.is_tnef(part) for child in part.children]
        return next(filter(None, map(self.text_of, texts)), "")


def _invitations(root: mime.Part, body: str, notes: Notes) -> list[str]:
    """Return the events that a message holds, each calendar once: many senders attach it as a file too."""
    calendars = [part for part in root.walk() if part.content_type in _CALENDARS]
    if len(calendars) > MAX_CALENDARS:
        notes.add(Defect.TEXT_TRUNCATED)
    events = [calendar.readable(text(part, notes), notes, described=not body) for part in calendars[:MAX_CALENDARS]]
    return list(dict.fromkeys(events))


def text(part: mime.Part, notes: Notes) -> str:
    """Return a text part's own text."""
    taken: list[bytes] = []
    left = MAX_TEXT_OCTETS
    for piece in mime.content(part, notes):
        taken.append(piece[: max(left, 0)])
        left -= len(piece)
        if left < 0:
            break
    octets = b"".join(taken)
    if left < 0:
        notes.add(Defect.TEXT_TRUNCATED)
        if b"\0" not in octets[-1000:]:  # at a line end, not within a character; two-octet ones are cut well already
            octets = octets[: octets.rfind(b"\n", -1000) + 1 or None]
    declared = part.parameters.get("charset", "")
    if (
        not declared
        and part.content_type == "text/html"
        and (meta := _META_CHARSET.search(octets, 0, 2000)) is not None
    ):
        declared = meta[1].decode("ascii")
    found = charset.text(octets, declared, notes)
    if part.content_type == "text/plain" and part.parameters.get("format", "").lower() == "flowed":
        return flowed.unwrapped(found, delsp=part.parameters.get("delsp", "").lower() == "yes")
    return found
