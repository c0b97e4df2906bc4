"""Find the text in attachments, after the message itself can be found: PDF, DOCX, XLSX, PPTX, OpenDocument.

A process of its own reads them (documents/reader.py), a message at a time; nothing is open in the database meanwhile. A document that
can't be read is named in the log, and left: the message is found by all else that it has.
"""

from dataclasses import dataclass
from typing import Final

from daemon import errors, trace
from daemon.documents import kinds, reader
from daemon.documents import text as documents
from daemon.jobs.context import Context
from daemon.mail import parse
from daemon.store import archive, extractions, sources

LISTED: Final = 100  # looked up at once
MOST_OCTETS: Final = 52_428_800  # of a document, and of a message that is looked through: larger ones are pictures


@dataclass(slots=True, kw_only=True)
class Extracted:
    """What a run did."""

    messages: int = 0
    documents: int = 0
    unread: int = 0


def extract(context: Context) -> Extracted:
    """Read everything in the queue, until nothing is left or the house stops."""
    done, last = Extracted(), 0
    while not context.stop.is_set():
        with context.database.reading() as conn:
            ids = extractions.waiting(conn, last, LISTED)
        if not ids:
            break
        for message in ids:
            last = message
            texts = _texts(context, message, done)
            if texts is None:
                break
            with context.database.transaction() as tx:
                extractions.write(tx, {message: texts})
            done.messages += 1
            context.pulse()
    if done.messages:
        trace.extracted(messages=done.messages, documents=done.documents, unread=done.unread)
    return done


def _texts(context: Context, message: int, done: Extracted) -> list[str] | None:
    """Give the texts of a message's attachments; None if the house stopped meanwhile."""
    wanted = _documents(context, message)

    def is_stopped() -> bool:
        context.pulse()
        return context.stop.is_set()

    outcomes = reader.read([one for _, one in wanted], is_stopped=is_stopped)
    if outcomes is None:
        return None
    done.documents += len(outcomes)
    for (part, _), one in zip(wanted, outcomes, strict=True):
        if one.text is None:
            done.unread += 1
            trace.attachment_unread(message=message, part=part, reason=one.reason)
    return [one.text for one in outcomes if one.text]


def _documents(context: Context, message: int) -> list[tuple[str, reader.Document]]:
    """Give (part, document) of what can be read; nothing of a message that was pruned meanwhile, or is too large."""
    try:
        with context.database.reading() as conn:
            attached = archive.attachments(conn, message)
            kinds_of = {one.part: kinds.kind_of(one.filename, one.content_type) for one in attached}
            wanted = {part: kind for part, kind in kinds_of.items() if kind is not None and documents.can_read(kind)}
            if not wanted or archive.get(conn, message).octets > MOST_OCTETS:
                return []
            source = sources.whole(conn, message)
    except errors.NotFound:
        return []
    found = ((part, kind, parse.attachment(source, part)) for part, kind in wanted.items())
    return [(part, reader.Document(kind=kind, octets=octets)) for part, kind, octets in found if octets]
