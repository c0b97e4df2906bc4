"""What is too large is known by its header section: TOP n 0, archived, and the message stays on the server.

The ledger says HEADERS and why. Such a message is never deleted, and is fetched whole when its size is let through or it is
asked for by UIDL. Raises what the client and the store raise.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from daemon.jobs.context import Context
from daemon.mail.maildrop import Entry
from daemon.pop3.client import Client
from daemon.store import archive
from daemon.wire.spool import Spool

BATCH_MESSAGES: Final = 200  # header sections a COMMIT
BATCH_OCTETS: Final = 8 * 1024 * 1024  # octets a COMMIT: bounds memory, and the writer's turn at the database

Left = tuple[Entry, str]


def archive_headers(
    name: str,
    oversized: Iterable[Left],
    occurrences: Mapping[int, int],
    client: Client,
    context: Context,
    is_over: Callable[[], bool],
) -> list[Left]:
    """Archive header sections; return the messages whose can't be had, with the reason: they are skipped.

    oversized: each with the reason.  occurrences: by message number.  is_over: asked before each message.
    """
    reasons = {entry.number: reason for entry, reason in oversized}
    entries = tuple(entry for entry, _reason in oversized)
    if not client.capabilities.top:
        return [(entry, f"{reasons[entry.number]}; the server has no TOP for its header section") for entry in entries]
    left: list[Left] = []
    batch: list[archive.Incoming] = []
    for entry, got in client.tops(itertools.takewhile(lambda _entry: not is_over(), entries), 0):
        reason = reasons[entry.number]
        if not isinstance(got, Spool):
            left.append((entry, f"{reason}; TOP for its header section was refused: {got.reply}"))
        elif entry.uidl is not None:
            incoming = archive.Incoming(
                uidl=entry.uidl,
                occurrence=occurrences.get(entry.number, 0),
                entry_octets=entry.octets,
                spool=got,
                retrieved="headers",
                reason=reason,
            )
            batch.append(incoming)
        if len(batch) >= BATCH_MESSAGES or sum(one.spool.octets for one in batch) >= BATCH_OCTETS:
            batch = _commit(name, batch, context)
    _commit(name, batch, context)
    return left


def _commit(name: str, batch: list[archive.Incoming], context: Context) -> list[archive.Incoming]:
    """Make a batch durable; return the next one, which is empty."""
    if batch:
        with context.database.transaction() as tx:
            archive.add(tx, name, batch, context.clock(), context.packer)
        for one in batch:
            one.spool.close()
    return []
