"""How much an account may send: quotas, counted from the attempts in the database, so that a restart forgets nothing.

All functions take the connection and never commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from daemon.mail.account import Quota
from daemon.store.dialect import statements
from daemon.store.schema import accounts, outbox_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """letters: that may be begun now, None if there is no limit.  until: when there is room again, where there is none now."""

    letters: int | None = None
    until: datetime | None = None


def room(conn: Connection, account: str, quotas: Sequence[Quota], now: datetime) -> Room:
    """Say how many letters the account may begin now. A letter is what goes to the relay at once: a row may need several."""
    a = outbox_attempts.c
    letters: int | None = None
    until: datetime | None = None
    for quota in quotas:
        began = a.started_at > now - quota.period
        begun, earliest = conn.execute(
            select(func.coalesce(func.sum(a.letters), 0), func.min(a.started_at)).where(a.account == account, began)
        ).one()
        left = max(quota.count - int(begun), 0)
        letters = left if letters is None else min(letters, left)
        if not left and earliest is not None:
            until = max(earliest + quota.period, until or earliest)
    return Room(letters=letters, until=until)


def reserve(tx: Connection, account: str, quotas: Sequence[Quota], now: datetime) -> Room:
    """Say the same, and let nobody else begin letters of this account before the end of this transaction."""
    if quotas:
        tx.execute(statements.for_update(tx, select(accounts.c.name).where(accounts.c.name == account)))
    return room(tx, account, quotas, now)
