"""One visit of an account's maildrop: fetch what is new, prove it, delete what may go, write down what happened.

The order is the promise (README, "A letter in"):

    lease -> connect, log in -> STAT, UIDL, LIST -> plan -> RETR in batches, one COMMIT a batch -> proof (re-read, re-hash)
    -> DELE -> dele_sent_at -> QUIT -> deleted_at, only after its +OK (RFC 1939 section 6)

DELE is never sent for a message whose proof is missing, and no transaction is open while the socket is waited on. A cut at
any line leaves messages on the server or messages in the archive, never neither; the next visit goes on from there.
Errors of the network, the server and the database end the visit, are recorded in `polls` and `accounts`, and never leave
this module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from daemon import errors, trace
from daemon.jobs import naming, session, shield, visit
from daemon.jobs.context import Context
from daemon.jobs.visit import Result
from daemon.mail.account import Account, Pop3
from daemon.mail.maildrop import Entry, LedgerStatus, Listing
from daemon.pop3 import client as pop3_client
from daemon.pop3 import plan as planning
from daemon.store import accounts, archive, ledger
from daemon.wire.spool import Spool
from daemon.wire.transcript import Transcript

LEASE: Final = timedelta(minutes=10)  # longer than any wait between two renewals; a killed process's lease ends at once
RENEW_SECONDS: Final = 60.0  # on progress, a lease is renewed this often
BATCH_MESSAGES: Final = 200  # messages a COMMIT: one fsync pays for all of them
BATCH_OCTETS: Final = 8 * 1024 * 1024  # octets a COMMIT: bounds memory, and the writer's turn at the database
BATCH_SECONDS: Final = 1.0  # on a slow line, what is fetched becomes durable and visible this often
FETCH_SECONDS: Final = 30 * 60.0  # a visit fetches no longer than this; the rest comes at the next one
SESSION_SECONDS: Final = FETCH_SECONDS + 10 * 60.0  # then the socket is closed, whatever the server does

Report = Callable[[int, int], None]


class Step(StrEnum):
    """The named steps of a poll, in order; the kill tests end the process at each of them."""

    LEASED = "poll.leased"
    CONNECTED = "poll.connected"
    LISTED = "poll.listed"
    RETRIEVED = "poll.retrieved"
    COMMITTED = "poll.committed"
    PROVEN = "poll.proven"
    DELE_SENT = "poll.dele_sent"
    DELE_RECORDED = "poll.dele_recorded"
    QUIT = "poll.quit"
    RECORDED = "poll.recorded"


def poll(account: Account, context: Context, *, report: Report | None = None) -> Result:
    """Visit the account once; never raises for what a server, a network or a database can do.

    report: told (messages done, messages planned) as the visit goes on, for a progress bar.
    """
    result = Result(account=account.name)
    if account.pop3 is None:
        result.outcome, result.error = (
            "failed",
            errors.InputInvalid(f"{account.name}: this account has no POP3 settings"),
        )
        return result
    try:
        with context.database.transaction() as tx:
            leased = accounts.lease(tx, account.name, context.owner, context.clock(), LEASE)
    except errors.StoreError as error:
        trace.poll_failed(account=account.name, session=None, error=error, fetched=0, next_poll_at=None)
        result.outcome, result.error = "failed", error
        return result
    if not leased:
        result.outcome = "busy"
        result.error = errors.Busy(f"{account.name}: another process is visiting this account")
        return result
    _Visit(account.name, account.pop3, context, result, report or (lambda _done, _planned: None)).run()
    return result


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


class _Visit:
    """One visit, from the lease that is already held to the record."""

    def __init__(self, name: str, pop3: Pop3, context: Context, result: Result, report: Report) -> None:
        self.name, self.pop3, self.context, self.result, self.report = name, pop3, context, result, report
        self.started = self.renewed = context.monotonic()
        self.occurrences: dict[int, int] = {}
        self.deletable: list[tuple[int, int]] = []  # (message number, ledger id), each proven in this visit
        self.unproven: set[int] = set()  # messages that did not read back equal: then nothing is deleted

    def run(self) -> None:
        """Hold the session, then record how it went."""
        context, result = self.context, self.result
        transcript = context.transcript(self.name)
        result.session = transcript.session
        poll_id: int | None = None
        try:
            context.step(Step.LEASED, account=self.name)
            with context.database.transaction() as tx:
                poll_id = accounts.begin_poll(tx, self.name, transcript.session, context.owner, context.clock())
            self._session(transcript)
        except errors.PostroomError as error:
            # Our own stop says nothing about the server: the account is not failing.
            is_ours = isinstance(error, errors.Stopped) and context.stop.is_set()
            result.outcome, result.error = "interrupted" if is_ours else "failed", error
        visit.record(context, result, poll_id, transcript, seconds=context.monotonic() - self.started)
        context.step(Step.RECORDED, account=self.name)

    # --- the session ------------------------------------------------------------------------------------------------

    def _session(self, transcript: Transcript) -> None:
        deadline = self.started + SESSION_SECONDS
        with session.maildrop(
            self.pop3, self.context, transcript=transcript, deadline=deadline, progress=self._progress
        ) as client:
            self.context.step(Step.CONNECTED, account=self.name)
            listing = naming.named(client, client.listing())
            self.occurrences = naming.occurrences(listing)
            self.result.listed = listing.count
            self.context.step(Step.LISTED, account=self.name)
            self._visit(client, listing)
            if self.unproven:
                self._quit_without_deleting(client)
            self._delete_and_quit(client)

    def _quit_without_deleting(self, client: pop3_client.Client) -> None:
        """One message that does not read back equal makes the whole archive suspect: every letter stays on the server."""
        trace.proof_missing(account=self.name, messages=len(self.unproven))
        client.reset()
        client.quit()
        some = ", ".join(str(message) for message in sorted(self.unproven)[:5])
        raise errors.ProofMissing(
            f"{len(self.unproven)} archived messages do not read back equal (id {some}); nothing was deleted; run `postroom db verify`"
        )

    def _visit(self, client: pop3_client.Client, listing: Listing) -> None:
        """Plan, write down what needs no RETR, then fetch."""
        context, now = self.context, self.context.clock()
        with context.database.reading() as conn:
            known = ledger.known(conn, self.name)
        examined = shield.examine(client, context, self.name, listing, known, self.occurrences)
        known = examined.known
        policy = planning.Policy(
            delete=self.pop3.delete,
            max_message_octets=self.pop3.max_message_octets,
            max_messages=self.pop3.max_messages_per_poll,
        )
        plan = planning.plan(listing, known, policy, now)
        confirmed = shield.confirm_returned(client, context.database, plan.returned)
        if len(confirmed) < len(plan.returned):  # another message under a used name is fetched
            doubted = {row.uidl for _entry, row in plan.returned if row.id not in confirmed}
            known = [r for r in known if r.id in confirmed or r.status != LedgerStatus.GONE or r.uidl not in doubted]
            plan = planning.plan(listing, known, policy, now)
        plan = replace(plan, delete=tuple(pair for pair in plan.delete if pair[1].id not in examined.moved))
        self.result.skipped = len(plan.skip)
        with context.database.transaction() as tx:
            ledger.gone(tx, [one.id for one in plan.gone], now)
            ledger.returned(tx, [row.id for _entry, row in plan.returned], now)
            ledger.seen(tx, self.name, now)
            skipped = [
                (e, self.occurrences.get(e.number, 0), LedgerStatus.SKIPPED, why)
                for e, why in plan.skip
                if e.uidl is not None
            ]
            ledger.skip(tx, self.name, skipped, now)
        for entry, why in plan.skip:
            trace.message_skipped(account=self.name, uidl=entry.uidl or f"number {entry.number}", reason=why)
        self._prove_known(plan)
        self._fetch(client, plan.fetch)

    def _prove_known(self, plan: planning.Plan) -> None:
        """Prove anew what was archived at an earlier visit and may be deleted now."""
        due = [(entry.number, known) for entry, known in plan.delete if known.message is not None]
        if not due:
            return
        messages = {known.message for _number, known in due if known.message is not None}
        with self.context.database.reading() as conn:
            proven = archive.proven(conn, sorted(messages))
        self.unproven |= messages - proven
        self.deletable += [(number, known.id) for number, known in due]

    def _fetch(self, client: pop3_client.Client, entries: tuple[Entry, ...]) -> None:
        batch, refused = _Batch(), []
        committed_at = self.context.monotonic()
        retrieved = client.retrieve(self._while_allowed(entries), max_message_octets=self.pop3.max_message_octets)
        for done, (entry, got) in enumerate(retrieved, start=1):
            if isinstance(got, Spool):
                # A nameless message is known by its content; two of equal content are one message, listed twice.
                uidl = entry.uidl or f"sha256:{got.sha256}"
                occurrence = self.occurrences.get(entry.number, 0)
                batch.add(
                    entry.number,
                    archive.Incoming(uidl=uidl, occurrence=occurrence, entry_octets=entry.octets, spool=got),
                )
            else:
                refused.append((entry, self.occurrences.get(entry.number, 0), LedgerStatus.REFUSED, got.reply))
            if batch.is_full() or self.context.monotonic() - committed_at >= BATCH_SECONDS:
                self._commit(batch)
                batch, committed_at = _Batch(), self.context.monotonic()
            self.report(done, len(entries))
        self._commit(batch)
        if refused:
            self.result.skipped += len(refused)
            with self.context.database.transaction() as tx:
                named = [row for row in refused if row[0].uidl is not None]
                ledger.skip(tx, self.name, named, self.context.clock())
            for entry, _occurrence, _status, why in refused:
                trace.message_skipped(account=self.name, uidl=entry.uidl or f"number {entry.number}", reason=why)

    def _while_allowed(self, entries: tuple[Entry, ...]) -> Iterator[Entry]:
        """Hand out entries until the house stops or the visit has lasted long enough; what is under way is finished."""
        for entry in entries:
            if self.context.stop.is_set() or self.context.monotonic() - self.started > FETCH_SECONDS:
                return
            yield entry

    def _commit(self, batch: _Batch) -> None:
        """Make the batch durable, then prove what the policy wants deleted."""
        if not batch.incoming:
            return
        context, now = self.context, self.context.clock()
        context.step(Step.RETRIEVED, account=self.name)
        with context.database.transaction() as tx:
            filed = archive.add(tx, self.name, batch.incoming, now)
        context.step(Step.COMMITTED, account=self.name)
        self.result.fetched += len(filed)
        self.result.new += sum(one.is_new for one in filed)
        self.result.octets += batch.octets
        for one in batch.incoming:
            one.spool.close()
        due = [
            pair
            for pair in zip(batch.numbers, filed, strict=True)
            if self.pop3.delete.allows(pair[1].first_seen_at, now)
        ]
        if not due:
            return
        with context.database.reading() as conn:
            wanted = {one.message for _number, one in due}
            self.unproven |= wanted - archive.proven(conn, sorted(wanted))
        context.step(Step.PROVEN, account=self.name)
        self.deletable += [(number, one.ledger) for number, one in due]

    def _delete_and_quit(self, client: pop3_client.Client) -> None:
        context = self.context
        accepted: list[int] = []
        if self.deletable:
            ledger_ids = dict(self.deletable)
            answers = client.delete(sorted(ledger_ids))
            context.step(Step.DELE_SENT, account=self.name)
            accepted = [ledger_ids[number] for number, refused in answers if refused is None]
            with context.database.transaction() as tx:
                ledger.dele_sent(tx, accepted, context.clock())
                for number, refused in answers:
                    if refused is not None:
                        ledger.not_deleted(tx, [ledger_ids[number]], refused.reply)
            self.result.dele_sent = len(accepted)
            context.step(Step.DELE_RECORDED, account=self.name)
        client.quit()
        context.step(Step.QUIT, account=self.name)
        if accepted:
            with context.database.transaction() as tx:
                ledger.deleted(tx, accepted, context.clock())
            self.result.deleted = len(accepted)

    # --- around it --------------------------------------------------------------------------------------------------

    def _progress(self) -> None:
        """Feed the watchdog and keep the lease; the stream calls this whenever octets moved."""
        self.context.pulse()
        now = self.context.monotonic()
        if now - self.renewed < RENEW_SECONDS:
            return
        with self.context.database.transaction() as tx:
            held = accounts.renew(tx, self.name, self.context.owner, self.context.clock(), LEASE)
        if not held:
            raise errors.Busy(f"{self.name}: the lease of this visit ran out and another process took it")
        self.renewed = now
