"""What is derived from messages: columns, addresses, attachments, conversations, search; for many in a handful of statements.

A message that is indexed for the first time is only written. Of one that was indexed before, what stands there is read, and what
comes out equal is left as it is: two runs leave equal rows, an attachment keeps its `id`, and nothing is written that is right.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, delete, select

from daemon.mail import address
from daemon.mail.message import Parsed
from daemon.store import schema, threads
from daemon.store.dialect import fulltext, statements
from daemon.store.schema import addresses, messages

# Columns of messages beside `id` and `thread_id`, in the order in which `_row` gives them. A parser's version comes first.
COLUMNS: Final = (
    *("parser_version", "message_id", "in_reply_to", "sent_at", "from_name", "from_address", "to_addresses", "cc_addresses"),
    *("subject", "attachment_count", "attachment_names", "defects", "protection", "quoted_ranges", "signature_ranges"),
    "body_text",
)  # fmt: skip
_ADDRESS: Final = ("message", "role", "position", "name", "address")
_ATTACHMENT: Final = (
    *("message", "part", "filename", "content_type", "octets", "sha256", "content_id"),
    "disposition",
)
_Rows = dict[int, list[tuple[Any, ...]]]


def write(tx: Connection, items: Sequence[tuple[int, Parsed]], version: int) -> None:
    """Write what is derived from messages; what stood there is replaced. Each message is among them once."""
    ids = [message for message, _ in items]
    before = _before(tx, ids)
    thread_ids = threads.place(tx, items)
    rows = {message: (message, thread_ids[message], *_row(tx, parsed, version)) for message, parsed in items}
    changed = [(message, parsed) for message, parsed in items if rows[message] != before.get(message)]
    names = ("id", "thread_id", *COLUMNS)
    statements.rewrite_long(tx, messages, names, [rows[message] for message, _ in changed])
    fulltext.note_pairs(tx, ((message, _texts(parsed)) for message, parsed in changed))
    known = sorted(before)
    _replace(tx, addresses, _ADDRESS, {message: _addresses(message, parsed) for message, parsed in items}, known)
    attached = {message: _attachments(message, parsed) for message, parsed in items}
    _replace(tx, schema.attachments, _ATTACHMENT, attached, known)


def _before(tx: Connection, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Give the rows of those that were indexed before, as `write` makes them."""
    known = [message for (message,) in statements.gather(tx, _indexed, messages=list(ids))]
    if not known:
        return {}
    t = messages.c
    query = select(*[t[name] for name in ("id", "thread_id", *COLUMNS)]).where(statements.among(tx, t.id, known))
    return {row[0]: tuple(row) for row in statements.raw_rows(tx, query)}


def _indexed(conn: Connection) -> Select[Any]:
    t = messages.c
    return select(t.id).where(statements.among_given(conn, t.id, "messages"), t.parser_version > 0)


def _replace(
    tx: Connection, table: Table, names: Sequence[str], rows: Mapping[int, list[tuple[Any, ...]]], known: list[int]
) -> None:
    """Write the rows of messages. names: the table's columns, `message` first.  known: those that may have some."""
    there: _Rows = defaultdict(list)
    if known:
        query = select(*[table.c[name] for name in names]).where(statements.among(tx, table.c.message, known))
        for row in statements.raw_rows(tx, query):
            there[row[0]].append(tuple(row))
    changed = [one for one in known if sorted(there[one], key=repr) != sorted(rows[one], key=repr)]
    if changed:
        tx.execute(delete(table).where(statements.among(tx, table.c.message, changed)))
    stays = set(known).difference(changed)
    new = [row for message, several in rows.items() if message not in stays for row in several]
    statements.fill(tx, table, names, new)


# --- one message ------------------------------------------------------------------------------------------------------------


def _row(tx: Connection, parsed: Parsed, version: int) -> tuple[Any, ...]:
    return (
        version,
        parsed.message_id,
        parsed.in_reply_to,
        None if parsed.sent_at is None else statements.ready(tx, parsed.sent_at),
        parsed.from_name,
        parsed.from_address,
        parsed.to_addresses,
        parsed.cc_addresses,
        parsed.subject,
        len(parsed.attachments),
        parsed.attachment_names,
        json.dumps(parsed.defects) if parsed.defects else "[]",
        json.dumps(parsed.protection) if parsed.protection else "[]",
        json.dumps(parsed.quoted_ranges) if parsed.quoted_ranges else None,
        json.dumps(parsed.signature_ranges) if parsed.signature_ranges else None,
        parsed.body_text,
    )


def _texts(parsed: Parsed) -> tuple[str, ...]:
    """Give the texts that words are looked for in."""
    return (
        parsed.subject,
        parsed.from_name,
        parsed.to_addresses,
        parsed.cc_addresses,
        parsed.attachment_names,
        parsed.body_text,
    )


def _addresses(message: int, parsed: Parsed) -> list[tuple[Any, ...]]:
    return [(message, one.role, one.position, one.name, address.folded(one.address)) for one in parsed.addresses]


def _attachments(message: int, parsed: Parsed) -> list[tuple[Any, ...]]:
    return [
        (
            message,
            one.part,
            one.filename,
            one.content_type,
            one.octets,
            one.sha256,
            one.content_id,
            one.disposition,
        )
        for one in parsed.attachments
    ]
