"""One visit of an account's maildrop: fetch what is new, prove it, delete what may go, write down what happened.

The order is the promise (README, "A letter in"):

    lease -> connect, log in -> STAT, UIDL, LIST -> plan -> RETR in batches, one COMMIT a batch -> proof (re-read, re-hash)
    -> DELE -> dele_sent_at -> QUIT -> deleted_at, only after its +OK (RFC 1939 section 6)

DELE is never sent for a message whose proof is missing, and no transaction is open while the socket is waited on. A cut at
any line leaves messages on the server or messages in the archive, never neither; the next visit goes on from there.
Errors of the network, the server and the database end the visit, are recorded in `polls` and `accounts`, and never leave
this module.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from daemon import errors, trace
from daemon.jobs import first, forwarding, headers_only, naming, session, shield, visit
from daemon.jobs.context import Context
from daemon.jobs.recall import Recall
from daemon.jobs.retrieval import Report, Retrieval
from daemon.jobs.step import Step
from daemon.jobs.visit import Result
from daemon.mail.account import Account, DeletePolicy, Pop3
from daemon.mail.maildrop import Entry, LedgerStatus, Listing
from daemon.pop3 import client as pop3_client
from daemon.pop3 import plan as planning
from daemon.pop3.memory import Memory
from daemon.pop3.retention import Expire
from daemon.store import accounts, ledger, sources
from daemon.store.database import Transaction
from daemon.wire.transcript import Transcript

LEASE: Final = timedelta(minutes=10)  # longer than any wait between two renewals; a killed process's lease ends at once
RENEW_SECONDS: Final = 60.0  # on progress, a lease is renewed this often
FETCH_SECONDS: Final = 30 * 60.0  # a visit fetches no longer than this; the rest comes at the next one
SESSIONS_A_VISIT: Final = 100  # after cuts, and for DELETES_PER_SESSION; each must have brought the visit forward
SESSION_SECONDS: Final = FETCH_SECONDS + 10 * 60.0  # then the socket is closed, whatever the server does


def poll(
    account: Account,
    context: Context,
    *,
    report: Report | None = None,
    uidls: frozenset[str] = frozenset(),
    mark_seen: bool = False,
) -> Result:
    """Visit the account once; never raises for what a server, a network or a database can do.

    report: told (messages done, messages planned) as the visit goes on, for a progress bar.  uidls: these messages alone are
    fetched, whole.  mark_seen: nothing is fetched; what is listed, and not known, is marked as seen.
    """
    result = Result(account=account.name)
    if account.pop3 is None:
        result.outcome, result.error = (
            "failed",
            errors.InputInvalid(f"{account.name}: this account has no POP3 settings"),
        )
        return result
    transcript = context.transcript(account.name)
    poll_id, memory, sending_on = 0, None, None
    try:
        with context.database.transaction(joins=True) as tx:
            leased = accounts.lease(tx, account.name, context.owner, context.clock(), LEASE)
            if leased:
                poll_id = accounts.begin_poll(tx, account.name, transcript.session, context.owner, context.clock())
                memory = Memory.parse(accounts.capabilities(tx, account.name))
                context.packer.learn(tx)
        sending_on = forwarding.begin(account, context)
    except errors.StoreError as error:
        trace.poll_failed(account=account.name, session=None, error=error, fetched=0, next_poll_at=None)
        result.outcome, result.error = "failed", error
        return result
    if not leased:
        result.outcome = "busy"
        result.error = errors.Busy(f"{account.name}: another process is visiting this account")
        return result
    one = _Visit(account.name, account.pop3, context, result, report or (lambda _done, _planned: None))
    one.uidls, one.mark_seen, one.memory, one.remembered = uidls, mark_seen, memory, memory
    one.forwarding = sending_on
    one.run(transcript, poll_id)
    return result


class _Visit:
    """One visit, from the lease that is already held to the record."""

    def __init__(self, name: str, pop3: Pop3, context: Context, result: Result, report: Report) -> None:
        self.name, self.pop3, self.context, self.result, self.report = name, pop3, context, result, report
        self.started = self.renewed = context.monotonic()
        self.uidls, self.mark_seen = frozenset[str](), False
        self.occurrences: dict[int, int] = {}
        self.deletable: list[tuple[int, int]] = []  # (message number, ledger id), each proven in this visit
        self.unproven: set[int] = set()  # messages that did not read back equal: then nothing is deleted
        self.recall = self._recalling()
        self.memory: Memory | None = None
        self.remembered: Memory | None = None  # the memory that is in the database
        self.listed_at: datetime | None = None  # a listing that the database does not know of yet
        self.is_held_back = False  # whether this session leaves work to another one, for DELETES_PER_SESSION
        self.unkept: set[int] = set()  # numbers of messages that came and were let go, for they are too large
        self.expire: Expire | None = None
        self.forwarding: forwarding.Forwarding | None = None

    def run(self, transcript: Transcript, poll_id: int) -> None:
        """Hold the session, then record how it went."""
        context, result = self.context, self.result
        result.session = transcript.session
        try:
            context.step(Step.LEASED, account=self.name)
            self._sessions(transcript)
        except errors.PostroomError as error:
            self.memory = None  # a visit that fails forgets
            # Our own stop says nothing about the server: the account is not failing.
            is_ours = isinstance(error, errors.Stopped) and context.stop.is_set()
            result.outcome, result.error = "interrupted" if is_ours else "failed", error
        seconds = context.monotonic() - self.started
        visit.record(context, result, self.pop3, poll_id, transcript, seconds=seconds, also=self._note)
        context.step(Step.RECORDED, account=self.name)

    # --- the session ------------------------------------------------------------------------------------------------

    def _sessions(self, transcript: Transcript) -> None:
        """Hold sessions until the work of the visit is done: mostly one.

        A line that is cut among messages is taken up at the next message, as long as each session brings some. A server that
        wants pauses between logins is left alone until the next visit.
        """
        for _ in range(SESSIONS_A_VISIT):
            before = self.result.fetched + self.result.deleted
            self.deletable, self.occurrences, self.is_held_back = [], {}, False
            cut: errors.WireError | None = None
            try:
                self._session(transcript)
            except (errors.ConnectionLost, errors.TimedOut) as error:
                if self.result.dele_sent > self.result.deleted:
                    raise  # cut between DELE and the reply to QUIT: what the server did, its next listing tells
                cut = error
            goes_on = self.result.fetched + self.result.deleted > before and not self._is_over()
            if not goes_on or (cut is None and not self.is_held_back) or self._waits_between_logins():
                if cut is not None:
                    raise cut
                return
            with self.context.database.transaction(joins=True) as tx:
                self._note(tx)
            transcript.noted("another session" if cut is None else f"{cut}; going on at the next message")

    def _session(self, transcript: Transcript) -> None:
        deadline = self.started + SESSION_SECONDS
        with session.maildrop(
            self.pop3,
            self.context,
            transcript=transcript,
            deadline=deadline,
            progress=self._progress,
            memory=self.memory,
        ) as client:
            visit.logged_in(self.context, self.result, self.pop3, client.capabilities)
            self.context.step(Step.CONNECTED, account=self.name)
            self.recall = self._recalling()
            listing = naming.named(client, self.recall.compare(client.answers(self.recall.read)))
            self.expire = Expire.parse(client.capabilities.expire)
            self.memory = client.memory
            self.occurrences = naming.occurrences(listing)
            self.result.listed = max(self.result.listed, listing.count)
            self.context.step(Step.LISTED, account=self.name)
            self._visit(client, listing)
            if self.unproven:
                self._quit_without_deleting(client)
            if self.unkept and self._is_taken_at_quit:
                trace.left_without_quit(account=self.name, messages=len(self.unkept))
                return  # the socket is closed: without QUIT the server deletes nothing
            self._delete_and_quit(client)

    def _recalling(self) -> Recall:
        all_of_it = self.mark_seen or bool(self.uidls)
        return Recall(self.name, self.context, policy=self.pop3.delete, all_of_it=all_of_it)

    def _note(self, tx: Transaction) -> None:
        """Note the last listing, and what is to be remembered of the server, in whatever transaction comes next."""
        if self.listed_at is not None:
            ledger.seen(tx, self.name, self.listed_at, rows=self.recall.rows)
            self.listed_at = None
        if self.memory != self.remembered:
            accounts.remember(tx, self.name, None if self.memory is None else str(self.memory))
            self.remembered = self.memory

    def _waits_between_logins(self) -> bool:
        return self.memory is not None and self.memory.capabilities.login_delay is not None

    def _is_over(self) -> bool:
        return self.context.stop.is_set() or self.context.monotonic() - self.started > FETCH_SECONDS

    @property
    def _announced(self) -> str | None:
        """What the server says of deleting by itself, for the ledger."""
        return None if self.expire is None or self.expire.is_never else str(self.expire)

    @property
    def _is_taken_at_quit(self) -> bool:
        return self.expire is not None and self.expire.is_at_quit

    def _quit_without_deleting(self, client: pop3_client.Client) -> None:
        """One message that does not read back equal makes the whole archive suspect: every letter stays on the server."""
        trace.proof_missing(account=self.name, messages=len(self.unproven))
        if not self._is_taken_at_quit:  # there, RSET would not keep what was retrieved
            client.reset()
            client.quit()
        some = ", ".join(str(message) for message in sorted(self.unproven)[:5])
        raise errors.ProofMissing(
            f"{len(self.unproven)} archived messages do not read back equal (id {some}); nothing was deleted; run `postroom db verify`"
        )

    def _visit(self, client: pop3_client.Client, listing: Listing) -> None:
        """Plan, write down what needs no RETR, then fetch."""
        context, now = self.context, self.context.clock()
        if self.mark_seen:
            self.result.seen = first.mark(self.name, list(listing.entries), self.occurrences, first.MARKED, context)
            return
        self.result.missing = tuple(sorted(self.uidls - {entry.uidl for entry in listing.entries}))
        if not self.recall.settled:
            marked = first.meet(self.name, self.pop3.first, listing, self.occurrences, client, context)
            if marked:
                self.result.seen += marked
                self.recall.read()
        plan = self._within_a_session(self._planned(client, listing))
        self.result.skipped = len(plan.skip) + len(plan.headers)
        self.listed_at = now
        if plan.gone or plan.returned:
            with context.database.transaction(joins=True) as tx:
                ledger.gone(tx, [one.id for one in plan.gone], now, expire=self._announced)
                ledger.returned(tx, [row.id for _entry, row in plan.returned], now)
                self._note(tx)
        left = headers_only.archive_headers(self.name, plan.headers, self.occurrences, client, context, self._is_over)
        self._skip([*plan.skip, *left])
        self._prove_known(plan)
        self._fetch(client, plan.fetch)

    def _planned(self, client: pop3_client.Client, listing: Listing) -> planning.Plan:
        """Compare the listing with the ledger; names that the server dealt anew are looked through first."""
        examined = shield.Examined(known=self.recall.known)
        if not self.recall.settled:
            examined = shield.examine(
                client, self.context, self.name, listing, examined.known, self.occurrences, self.recall.standing
            )
        known = examined.known
        octets_left = self._left(self.pop3.max_octets_per_poll, self.result.octets)
        policy = planning.Policy(
            delete=self._deletion(),
            max_message_octets=self.pop3.max_message_octets,
            oversize=self.pop3.oversize,
            max_messages=0 if octets_left == 0 else self._left(self.pop3.max_messages_per_poll, self.result.fetched),
            max_octets=octets_left,
            wanted_uidls=self.uidls,
        )
        now = self.context.clock()
        plan = planning.plan(listing, known, policy, now)
        confirmed = shield.confirm_returned(client, self.context.database, plan.returned)
        if len(confirmed) < len(plan.returned):  # another message under a used name is fetched
            doubted = {row.uidl for _entry, row in plan.returned if row.id not in confirmed}
            known = [r for r in known if r.id in confirmed or r.status != LedgerStatus.GONE or r.uidl not in doubted]
            plan = planning.plan(listing, known, policy, now)
        return replace(plan, delete=tuple(pair for pair in plan.delete if pair[1].id not in examined.moved))

    def _deletion(self) -> DeletePolicy:
        """Give what the account wants deleted; by age, nothing while it is not sure what time it is."""
        wanted = self.pop3.delete
        return DeletePolicy(kind="never") if wanted.kind == "age" and self.context.steadiness.doubt else wanted

    @staticmethod
    def _left(limit: int | None, used: int) -> int | None:
        return None if limit is None else max(0, limit - used)

    def _within_a_session(self, plan: planning.Plan) -> planning.Plan:
        """Cut the plan down to what one session may delete; the rest is for the next one of this visit."""
        limit = self.pop3.deletes_per_session
        if limit is None:
            return plan
        delete = plan.delete[:limit]
        fetch = plan.fetch
        if self.pop3.delete.kind == "after_fetch":
            fetch = fetch[: limit - len(delete)]
        self.is_held_back = len(delete) < len(plan.delete) or len(fetch) < len(plan.fetch)
        return replace(plan, delete=delete, fetch=fetch)

    def _skip(self, left: list[tuple[Entry, str]]) -> None:
        """Write down what is left on the server, and why."""
        if not left:
            return
        rows = [(entry, self.occurrences.get(entry.number, 0), LedgerStatus.SKIPPED, why) for entry, why in left]
        with self.context.database.transaction(joins=True) as tx:
            ledger.skip(tx, self.name, rows, self.context.clock())
        for entry, why in left:
            trace.message_skipped(account=self.name, uidl=entry.uidl or f"number {entry.number}", reason=why)

    def _prove_known(self, plan: planning.Plan) -> None:
        """Prove anew what was archived at an earlier visit and may be deleted now."""
        due = [(entry.number, known) for entry, known in plan.delete if known.message is not None]
        if not due:
            return
        messages = {known.message for _number, known in due if known.message is not None}
        with self.context.database.reading() as conn:
            proven = sources.proven(conn, sorted(messages))
        self.unproven |= messages - proven
        self.deletable += [(number, known.id) for number, known in due]

    def _fetch(self, client: pop3_client.Client, entries: tuple[Entry, ...]) -> None:
        retrieval = Retrieval(
            self.name,
            self.pop3,
            self.context,
            self.result,
            self.occurrences,
            is_over=self._is_over,
            proves_all=self._is_taken_at_quit,
            max_message_octets=None
            if self.uidls
            else self.pop3.max_message_octets,  # what is asked for may be of any size
            forwarding=self.forwarding,
            report=self.report,
        )
        try:
            retrieval.run(client, entries)
        finally:
            self.deletable += retrieval.deletable
            self.unproven |= retrieval.unproven
            self.unkept |= retrieval.unkept

    def _delete_and_quit(self, client: pop3_client.Client) -> None:
        context = self.context
        accepted: list[int] = []
        if self.deletable:
            ledger_ids = dict(self.deletable)
            answers = client.delete(sorted(ledger_ids))
            context.step(Step.DELE_SENT, account=self.name)
            accepted = [ledger_ids[number] for number, refused in answers if refused is None]
            with context.database.transaction(joins=True) as tx:
                ledger.dele_sent(tx, accepted, context.clock())
                for number, refused in answers:
                    if refused is not None:
                        ledger.not_deleted(tx, [ledger_ids[number]], refused.reply)
            self.result.dele_sent += len(accepted)
            context.step(Step.DELE_RECORDED, account=self.name)
        client.quit()
        context.step(Step.QUIT, account=self.name)
        if accepted:
            with context.database.transaction(joins=True) as tx:
                ledger.deleted(tx, accepted, context.clock())
            self.result.deleted += len(accepted)

    # --- around it --------------------------------------------------------------------------------------------------

    def _progress(self) -> None:
        """Feed the watchdog and keep the lease; the stream calls this whenever octets moved."""
        self.context.pulse()
        now = self.context.monotonic()
        if now - self.renewed < RENEW_SECONDS:
            return
        with self.context.database.transaction(joins=True) as tx:
            held = accounts.renew(tx, self.name, self.context.owner, self.context.clock(), LEASE)
        if not held:
            raise errors.Busy(f"{self.name}: the lease of this visit ran out and another process took it")
        self.renewed = now
