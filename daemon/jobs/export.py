"""Take copies of messages away, as files that other programs read; after a kill the same words go on where it was.

Messages are read a few at a time, each few in one short transaction, so that a daemon's log does not grow meanwhile. What is
pruned before its turn is left out. Raises InputInvalid and Busy as `destination.py` does, StoreError.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from daemon import errors
from daemon.jobs.destination import Destination, open_destination
from daemon.store import export as store_export
from daemon.store.database import Database

MESSAGES_A_TRANSACTION: Final = 50  # read at once
SAVED_EVERY_SECONDS: Final = 2.0  # so much work a kill may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a run did. there: messages that an earlier run had written.  broken: ids of those that are not what was received, and left out."""

    written: int
    there: int
    broken: tuple[int, ...] = ()


@dataclass(slots=True)
class _Done:
    written: int = 0
    there: int = 0
    broken: list[int] = field(default_factory=list)


def export(
    database: Database,
    *,
    form: str,
    path: Path,
    query: str | None = None,
    accounts: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write what the query finds, or everything. accounts: only of these, if any.  progress: told (done, of how many)."""
    purpose = {"database": database.shown, "format": form, "query": query or "", "accounts": sorted(set(accounts))}
    with database.reading() as conn:
        ids = store_export.ids(conn, query, accounts)
    with closing(open_destination(form, path, purpose)) as destination:
        wanted = [one for one in ids if destination.wants(one)]
        before, saved_at = len(ids) - len(wanted), time.monotonic()
        done = _Done(there=before)
        for start in range(0, len(wanted), MESSAGES_A_TRANSACTION):
            _write(database, destination, wanted[start : start + MESSAGES_A_TRANSACTION], done)
            if time.monotonic() - saved_at >= SAVED_EVERY_SECONDS:
                destination.save()
                saved_at = time.monotonic()
            progress(min(before + start + MESSAGES_A_TRANSACTION, len(ids)), len(ids))
        destination.finish()
    return Exported(written=done.written, there=done.there, broken=tuple(done.broken))


def _write(database: Database, destination: Destination, messages: Sequence[int], done: _Done) -> None:
    with database.reading() as conn:
        for copy in store_export.copies(conn, messages):
            try:
                is_new = destination.write(copy, partial(store_export.columns, conn, copy.id))
            except (errors.NotFound, errors.OctetsBroken, errors.ProofMissing):  # `db verify` names it, too
                done.broken.append(copy.id)
            else:
                done.written += is_new
                done.there += not is_new
