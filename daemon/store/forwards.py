"""Archived messages that are sent on: their rows in the outbox, and what is read of the archive to send one.

A row holds the id of its message alone (`forwards`); the octets stay where they are. All functions take the connection and
never commit.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Insert, func, select

from daemon import errors
from daemon.store import archive, sources
from daemon.store.dialect import statements
from daemon.store.schema import messages, outbox, outbox_recipients, polls
from daemon.store.settlement import WENT


def _row(tx: Connection) -> Insert:
    return statements.insert_missing(tx, outbox)


def add(tx: Connection, account: str, target: str, filed: Iterable[archive.Filed]) -> None:
    """Put in a row for each message; none where the account's row for the same content is there, or was.

    The content is the key, not the message's id: what was pruned, and is fetched once more, is not sent on again.
    """
    rows = {
        one.sha256: {
            "recipients": target,
            "account": account,
            "forwards": one.message,
            "idempotency_key": f"forward:{account}:{one.sha256}",
        }
        for one in filed
    }
    if rows:
        statements.bulk(tx, _row, list(rows.values()))


def first_visit(conn: Connection, account: str) -> datetime:
    """Tell when the account was visited for the first time; one visit at least has begun."""
    found: datetime = conn.execute(select(func.min(polls.c.started_at)).where(polls.c.account == account)).scalar_one()
    return found


def source(conn: Connection, message: int) -> bytes:
    """Give the octets of a message, if they are those that came; InputInvalid says what is not as it should be."""
    where = f"forwards: message {message}"
    row = conn.execute(select(messages.c.retrieved, messages.c.sha256).where(messages.c.id == message)).one_or_none()
    if row is None:
        raise errors.InputInvalid(f"{where} is not in the archive any more")
    if row.retrieved != "whole":
        raise errors.InputInvalid(f"{where}: only its header section is in the archive; it stayed on the server")
    octets = sources.several(conn, [message])[message]
    if hashlib.sha256(octets).hexdigest() != row.sha256:
        raise errors.InputInvalid(f"{where} does not read back as it came; run `postroom db verify`")
    return octets


def had(conn: Connection, message_id: str) -> set[str]:
    """Give the addresses that a letter of this Message-ID was sent to from here."""
    t, r = outbox.c, outbox_recipients.c
    query = select(r.address).join(outbox, t.id == r.outbox_id).where(t.message_id == message_id, r.status.in_(WENT))
    return set(conn.execute(query).scalars())
