"""Delete messages that were archived long ago, few at a time; killed in the middle, the same words go on with the rest."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from daemon.jobs import hold
from daemon.store import prune as pruning
from daemon.store import search
from daemon.store.database import Database
from daemon.store.prune import Counted

MESSAGES_A_TRANSACTION: Final = 200  # the daemon's turns at the database come in between


def count(database: Database, *, before: datetime, account: str | None, query: str | None) -> Counted:
    """Count what `prune` would delete; what the queries of holds find by now is on hold already."""
    hold.refresh(database)
    with database.reading() as conn:
        among = None if query is None else search.ids(conn, query, account=account)
        return pruning.count(conn, before=before, account=account, among=among)


def prune(
    database: Database,
    *,
    before: datetime,
    account: str | None,
    query: str | None,
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Delete what was archived before that time, is of the account, and is found by the query, where these are given."""
    hold.refresh(database)
    deleted = 0
    for ids in _batches(database, before, account, query):
        with database.transaction() as tx:
            deleted += pruning.prune(tx, ids, before=before, account=account)
        progress(deleted)
    return deleted


def _batches(database: Database, before: datetime, account: str | None, query: str | None) -> Iterator[list[int]]:
    if query is not None:
        with database.reading() as conn:
            found = search.ids(conn, query, account=account)
        for start in range(0, len(found), MESSAGES_A_TRANSACTION):
            yield list(found[start : start + MESSAGES_A_TRANSACTION])
        return
    after = 0
    while True:
        with database.reading() as conn:
            ids = pruning.due(conn, before=before, account=account, after=after, limit=MESSAGES_A_TRANSACTION)
        if not ids:
            return
        yield ids
        after = ids[-1]
