"""RETR in batches: what comes in becomes durable, one COMMIT a batch, and is proven where it may be deleted.

Raises what the client and the store raise; what came whole before that is archived.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.jobs.forwarding import Forwarding
from daemon.jobs.step import Step
from daemon.jobs.visit import Result
from daemon.jobs.writer import Writer
from daemon.mail.account import Pop3
from daemon.mail.maildrop import Entry, LedgerStatus
from daemon.pop3 import client as pop3_client
from daemon.store import archive, forwards, ledger, sources
from daemon.store.packing import SMALL_OCTETS
from daemon.wire.spool import Spool

BATCH_MESSAGES: Final = 200  # messages a COMMIT: one fsync pays for all of them
BATCH_OCTETS: Final = 8 * 1024 * 1024  # octets a COMMIT: bounds memory, and the writer's turn at the database
JOIN_OCTETS: Final = 512 * 1024  # a batch up to this may share its COMMIT: sixteen such are one full batch
BATCH_SECONDS: Final = 1.0  # on a slow line, what is fetched becomes durable and visible this often

Report = Callable[[int, int], None]


@dataclass(slots=True)
class _Batch:
    """What was retrieved since the last COMMIT."""

    numbers: list[int] = field(default_factory=list)
    incoming: list[archive.Incoming] = field(default_factory=list)
    octets: int = 0

    def add(self, number: int, incoming: archive.Incoming) -> None:
        self.numbers.append(number)
        self.incoming.append(incoming)
        self.octets += incoming.spool.octets

    def is_full(self) -> bool:
        return len(self.incoming) >= BATCH_MESSAGES or self.octets >= BATCH_OCTETS


class Retrieval:
    """The messages of one session.

    deletable: (message number, ledger id), each proven.  unproven: ids of messages that did not read back equal.  unkept:
    numbers of messages that came and were let go, for they are too large.
    """

    def __init__(
        self,
        name: str,
        pop3: Pop3,
        context: Context,
        result: Result,
        occurrences: dict[int, int],
        *,
        is_over: Callable[[], bool],
        proves_all: bool,
        max_message_octets: int | None,
        forwarding: Forwarding | None = None,
        report: Report,
    ) -> None:
        """occurrences: of equal UIDLs, by message number.  is_over: asked before each message is asked for.

        proves_all: also what is not to be deleted.  max_message_octets: a message that turns out larger is let go.
        forwarding: sends on what is new.
        """
        self.name, self.pop3, self.context, self.result, self.report = name, pop3, context, result, report
        self.occurrences, self._is_over, self._proves_all = occurrences, is_over, proves_all
        self._max_message_octets, self.forwarding = max_message_octets, forwarding
        self.deletable: list[tuple[int, int]] = []
        self.unproven: set[int] = set()
        self.unkept: set[int] = set()

    def run(self, client: pop3_client.Client, entries: tuple[Entry, ...]) -> None:
        """Fetch, in order; a cut is raised once what came whole is durable."""
        batch, refused = _Batch(), []
        committed_at = self.context.monotonic()
        retrieved = client.retrieve(
            itertools.takewhile(lambda _entry: not self._is_over(), entries),
            max_message_octets=self._max_message_octets,
        )
        cut: errors.PostroomError | None = None
        with Writer(self._commit) as writer:
            for done in range(1, len(entries) + 1):
                try:
                    found = next(retrieved, None)
                except (errors.WireError, errors.Pop3Error) as error:
                    cut = error  # what is here whole is kept, so that the next session begins behind it
                    break
                if found is None:
                    break
                entry, got = found
                if isinstance(got, Spool):
                    # Hashed here, and not by the writer: hashlib lets go of Python's lock meanwhile, which this thread gets
                    # back at once, and the writer would only when this thread waits.
                    sha256 = got.sha256
                    # The same holds for compressing small ones; the large ones are worth the writer's wait.
                    packed = self.context.packer.at_once(got.getvalue()) if got.octets <= SMALL_OCTETS else None
                    # A nameless message is known by its content; two of equal content are one message, listed twice.
                    uidl = entry.uidl or f"sha256:{sha256}"
                    occurrence = self.occurrences.get(entry.number, 0)
                    batch.add(
                        entry.number,
                        archive.Incoming(
                            uidl=uidl, occurrence=occurrence, entry_octets=entry.octets, spool=got, packed=packed
                        ),
                    )
                else:
                    refused.append((entry, self.occurrences.get(entry.number, 0), LedgerStatus.REFUSED, got.reply))
                    if not got.reply.startswith("-ERR"):
                        self.unkept.add(entry.number)
                if batch.is_full() or self.context.monotonic() - committed_at >= BATCH_SECONDS:
                    writer.hand_over(batch)
                    batch, committed_at = _Batch(), self.context.monotonic()
                self.report(done, len(entries))
        self._commit(batch)
        if refused:
            self.result.skipped += len(refused)
            with self.context.database.transaction(joins=True) as tx:
                named = [row for row in refused if row[0].uidl is not None]
                ledger.skip(tx, self.name, named, self.context.clock())
            for entry, _occurrence, _status, why in refused:
                trace.message_skipped(account=self.name, uidl=entry.uidl or f"number {entry.number}", reason=why)
        if cut is not None:
            raise cut

    def _commit(self, batch: _Batch) -> None:
        """Make the batch durable, then prove what the policy wants deleted."""
        if not batch.incoming:
            return
        context, now = self.context, self.context.clock()
        context.step(Step.RETRIEVED, account=self.name)
        with context.database.transaction(joins=batch.octets <= JOIN_OCTETS) as tx:
            filed = archive.add(tx, self.name, batch.incoming, now, context.packer)
            if self.forwarding is not None:
                chosen = self.forwarding.chosen(batch.incoming, filed)
                forwards.add(tx, self.name, self.forwarding.target, chosen)
        context.step(Step.COMMITTED, account=self.name)
        self.result.fetched += len(filed)
        self.result.new += sum(one.is_new for one in filed)
        self.result.octets += batch.octets
        for one in batch.incoming:
            one.spool.close()
        allowed = self.pop3.delete.allows
        due = [pair for pair in zip(batch.numbers, filed, strict=True) if allowed(pair[1].first_seen_at, now)]
        # EXPIRE 0 (RFC 2449 section 6.7): QUIT deletes what was retrieved, so all of it is proven.
        wanted = {one.message for one in (filed if self._proves_all else [one for _number, one in due])}
        if not wanted:
            return
        with context.database.reading() as conn:
            self.unproven |= wanted - sources.proven(conn, sorted(wanted))
        context.step(Step.PROVEN, account=self.name)
        self.deletable += [(number, one.ledger) for number, one in due]
