"""Put messages on hold, and look again what a hold's query finds; in short transactions, so that a daemon has its turns."""

from collections.abc import Callable
from datetime import datetime

from daemon import errors
from daemon.store import holds, search
from daemon.store.database import Database


def add(
    database: Database,
    *,
    account: str | None,
    query: str | None,
    reason: str,
    now: datetime,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> holds.Hold:
    """Begin a hold on an account, on what a query finds, or on what it finds of an account.

    Killed in the middle, the hold is there, and `refresh` puts the rest on it. InputInvalid for a query that can't be read.
    """
    if account is None and query is None:
        raise errors.InputInvalid("a hold is on what a query finds, or on an account; give one of them")
    if query is not None:
        with database.reading() as conn:
            search.ids(conn, query, account=account)  # whether it can be read, before anything is written
    with database.transaction() as tx:
        key = holds.add(tx, account=account, query=query, reason=reason, now=now)
    _refresh(database, key, progress)
    with database.reading() as conn:
        return next(one for one in holds.listing(conn) if one.id == key)


def refresh(database: Database) -> None:
    """Put on hold what the queries of all holds find by now."""
    with database.reading() as conn:
        keys = holds.with_queries(conn)
    for key in keys:
        _refresh(database, key, lambda _done, _total: None)


def _refresh(database: Database, key: int, progress: Callable[[int, int], None]) -> None:
    with database.reading() as conn:
        ids = holds.missing(conn, key)
    for start in range(0, len(ids), holds.MESSAGES_A_TRANSACTION):
        with database.transaction() as tx:
            holds.hold(tx, key, ids[start : start + holds.MESSAGES_A_TRANSACTION])
        progress(min(start + holds.MESSAGES_A_TRANSACTION, len(ids)), len(ids))
