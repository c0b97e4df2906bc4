"""One visit of the outbox for one account: claim rows, make them letters, give them to the relay, record each verdict.

    claim (lease, one transaction) -> compose -> connect -> per row: attempt (transaction) -> MAIL, RCPT, DATA, content
    -> `committing` mark (transaction) -> the final dot -> verdict per recipient (transaction)

No transaction is open while the socket is waited on. A crash before the mark returns the row to the queue; after it the row
is `in_doubt`, which is the truth: the relay may have the letter. A relay that can't be used pauses, and its rows wait; a
row that can't be made a letter is failed with its reason; neither stops the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from daemon import errors, trace
from daemon.jobs import budget, letter, session, verdict
from daemon.jobs.context import Context
from daemon.jobs.letter import Item
from daemon.mail.account import Account, Smtp
from daemon.mail.envelope import Envelope
from daemon.mail.sign import Signer
from daemon.smtp.relay import Relay
from daemon.smtp.replies import Outcome
from daemon.store import accounts, outbox

LEASE: Final = timedelta(minutes=10)  # a claimed row belongs to us this long; renewed for each letter
CLAIM_ROWS: Final = 20  # rows a claim: few enough that a stop or a lost relay gives back little
SESSION_SECONDS: Final = 30 * 60.0  # one connection is used no longer than this, whatever the relay does
RENEW_SECONDS: Final = 60.0  # on progress, the leases of claimed rows are renewed this often


class Step(StrEnum):
    """The named steps of a drain, in order; the kill tests end the process at each of them."""

    CLAIMED = "drain.claimed"
    CONNECTED = "drain.connected"
    PREPARED = "drain.prepared"
    COMMITTING = "drain.committing"
    ANSWERED = "drain.answered"
    RECORDED = "drain.recorded"


@dataclass(slots=True, kw_only=True)
class Result:
    """How a drain went, in rows."""

    account: str
    session: str | None = None
    sent: int = 0
    partial: int = 0
    deferred: int = 0
    failed: int = 0
    in_doubt: int = 0
    put_back: int = 0
    error: errors.PostroomError | None = None

    def count(self, status: str) -> None:
        """Count one row by the status it came to; one that somebody stopped meanwhile (held, cancelled) is put back."""
        name = status if status in {"sent", "partial", "deferred", "failed", "in_doubt"} else "put_back"
        setattr(self, name, getattr(self, name) + 1)

    @property
    def rows(self) -> int:
        """Rows that came to any end."""
        return self.sent + self.partial + self.deferred + self.failed + self.in_doubt + self.put_back


def drain(
    account: Account, context: Context, *, report: Callable[[Result], None] | None = None, even_paused: bool = False
) -> Result:
    """Send what is due for the account; never raises for what a relay, a network, a row or a database can do.

    report: told after each row.  even_paused: try also when the relay was paused after a failure (`postroom send`).
    """
    result = Result(account=account.name)
    if account.smtp is None:
        result.error = errors.InputInvalid(f"{account.name}: this account has no SMTP settings")
        return result
    _Drain(account, account.smtp, context, result, report or (lambda _result: None)).run(even_paused=even_paused)
    return result


class _Drain:
    """One drain, from claim to record."""

    def __init__(
        self, account: Account, smtp: Smtp, context: Context, result: Result, report: Callable[[Result], None]
    ) -> None:
        self.account, self.smtp, self.context, self.result, self.report = account, smtp, context, result, report
        self.name = account.name
        self.started = self.renewed = context.monotonic()
        self.rows: list[outbox.Claimed] = []  # claimed by us and not yet come to an end, the current one first
        self.transcript = context.transcript(account.name)
        self.signer: Signer | None = None

    def run(self, *, even_paused: bool) -> None:
        """Claim and send until nothing is due, the house stops, or the relay fails."""
        result = self.result
        try:
            if not even_paused and self._is_paused():
                return
            if budget.full_until(self.context, self.name, self.smtp.budget, longer_than=budget.PATIENCE) is not None:
                return
            item = self._next()
            if item is not None:
                self._session(item)
        except errors.PostroomError as error:
            result.error = error
            trace.job_failed(job=f"drain {self.name}", error=error)
        if result.rows:
            trace.drain_finished(
                account=self.name,
                session=result.session,
                sent=result.sent + result.partial,
                deferred=result.deferred + result.put_back,
                failed=result.failed,
                in_doubt=result.in_doubt,
                seconds=self.context.monotonic() - self.started,
            )

    def _is_paused(self) -> bool:
        with self.context.database.reading() as conn:
            until = accounts.relay_paused_until(conn, self.name)
        return until is not None and until > self.context.clock()

    def _has_budget(self) -> bool:
        """Wait while the budget is full for a moment; if it is for longer, put back what is claimed until then."""
        while (until := budget.full_until(self.context, self.name, self.smtp.budget)) is not None:
            wait = until - self.context.clock()
            if wait > budget.PATIENCE or self.context.stop.is_set():
                self._put_back(f"the budget of account {self.name!r} is used up", until)
                return False
            self.context.pause(wait)
        return True

    # --- rows into letters ------------------------------------------------------------------------------------------

    def _next(self) -> Item | None:
        """Make the next letter, claiming rows when none is left; None when nothing is due. A row that can't be one is refused.

        One letter at a time: the attachments of twenty rows may be more than memory has.
        """
        context = self.context
        while not context.stop.is_set():
            if not self.rows:
                with context.database.transaction() as tx:
                    self.rows = outbox.claim(
                        tx, owner=context.owner, now=context.clock(), lease=LEASE, limit=CLAIM_ROWS, account=self.name
                    )
                if not self.rows:
                    return None
                context.step(Step.CLAIMED, account=self.name)
            row = self.rows[0]
            try:
                return letter.write(row, letter.enclosed(context.database, row), self.account)
            except errors.InputInvalid as error:
                with context.database.transaction() as tx:
                    outbox.refuse(tx, row.id, str(error), context.clock())
                trace.row_refused(outbox=row.id, error=error)
                self._ended("failed")
        return None

    # --- letters to the relay ---------------------------------------------------------------------------------------

    def _session(self, first: Item) -> None:
        """Give all that is due to one connection; a relay that can't be used pauses, and its rows wait."""
        context = self.context
        self.result.session = self.transcript.session
        try:
            self.signer = None if self.smtp.dkim is None else letter.signer(self.smtp.dkim)
            with session.relay(
                self.account,
                self.smtp,
                context,
                transcript=self.transcript,
                deadline=self.started + SESSION_SECONDS,
                progress=self._progress,
            ) as relay:
                context.step(Step.CONNECTED, account=self.name)
                item: Item | None = first
                while item is not None and not context.stop.is_set() and self._has_budget():
                    self._send(relay, item)
                    item = self._next() if relay.usable else None
                if relay.usable:
                    relay.quit()
            with context.database.transaction() as tx:
                accounts.relay_succeeded(tx, self.name, context.clock())
            self._put_back("the connection ended before this row's turn")
        except (errors.WireError, errors.SmtpError, errors.SecretUnavailable) as error:
            self._relay_failed(error)
        except errors.PostroomError as error:
            self._put_back(str(error))
            raise

    def _send(self, relay: Relay, item: Item) -> None:
        """Carry one row through one attempt; WireError and SmtpError mean the relay is lost, and the row is deferred."""
        context, row, written = self.context, item.row, letter.signed(item.letter, self.signer)
        with context.database.transaction() as tx:
            attempt = outbox.prepare(
                tx,
                row.id,
                message_id=item.message_id,
                recipients=[(one.address, one.field) for one in written.recipients],
                account=self.name,
                relay=f"{self.smtp.endpoint.host}:{self.smtp.endpoint.port}",
                session=self.transcript.session,
                now=context.clock(),
                owner=context.owner,
            )
        context.step(Step.PREPARED, account=self.name)

        def before_final_dot() -> None:
            with context.database.transaction() as tx:
                outbox.committing(tx, [attempt.id], context.clock())
            context.step(Step.COMMITTING, account=self.name)

        if not attempt.id:  # somebody took the row back meanwhile
            self._ended("put_back")
            return
        outcomes: dict[str, Outcome] = {}  # stays empty where every recipient has its verdict already
        try:
            if attempt.addresses:
                outcomes = relay.send(
                    Envelope(sender=written.sender, recipients=attempt.addresses),
                    written.content,
                    smtputf8=written.needs_smtputf8,
                    eightbit=written.needs_8bit,
                    before_final_dot=before_final_dot,
                )
        except errors.Busy:
            self._ended("put_back")  # it is another process's row now, and the dot has not left
            raise
        except (errors.WireError, errors.SmtpError, errors.StoreError) as error:
            # Nothing was accepted: the final dot had not left.
            unsent = [outbox.Verdict(address=to, status="deferred", reply=str(error)) for to in attempt.addresses]
            self._record(row, attempt, unsent)
            raise
        context.step(Step.ANSWERED, account=self.name)
        self._record(row, attempt, [verdict.of(to, outcome) for to, outcome in outcomes.items()])

    def _record(self, row: outbox.Claimed, attempt: outbox.Attempt, verdicts: list[outbox.Verdict]) -> None:
        status = verdict.record(self.context, row, attempt, verdicts, self.transcript)
        self.context.step(Step.RECORDED, account=self.name)
        for one in verdicts:
            if one.status == "in_doubt":
                trace.row_in_doubt(account=self.name, outbox=row.id, address=one.address, reason=one.reply)
        trace.row_finished(
            account=self.name,
            outbox=row.id,
            status=status,
            attempt=row.attempts,
            recipients=len(verdicts),
            session=self.transcript.session,
        )
        self._ended(status)

    # --- around it --------------------------------------------------------------------------------------------------

    def _ended(self, status: str) -> None:
        """Let go of the current row, which has come to an end."""
        del self.rows[0]
        self.result.count(status)
        self.report(self.result)

    def _ids(self) -> list[int]:
        return [row.id for row in self.rows]

    def _progress(self) -> None:
        """Feed the watchdog and keep the leases; the stream calls this whenever octets moved."""
        context = self.context
        context.pulse()
        now = context.monotonic()
        if now - self.renewed < RENEW_SECONDS:
            return
        with context.database.transaction() as tx:
            outbox.renew(tx, self._ids(), context.owner, context.clock() + LEASE)
        self.renewed = now

    def _relay_failed(self, error: errors.PostroomError) -> None:
        """Pause the relay and let its rows wait; after a refused login at the longest wait (accounts get locked)."""
        context, now = self.context, self.context.clock()
        self.result.error = error
        with context.database.transaction() as tx:
            until = context.come_back_at(accounts.relay_failures(tx, self.name) + 1, error)
            accounts.relay_failed(tx, self.name, str(error), now, until)
            outbox.put_back(tx, self._ids(), reason=str(error), next_attempt_at=until, now=now, owner=context.owner)
        context.kept(self.transcript)
        trace.relay_failed(
            account=self.name, session=self.transcript.session, error=error, rows=len(self.rows), paused_until=until
        )
        self.result.put_back += len(self.rows)
        self.rows = []

    def _put_back(self, reason: str, until: datetime | None = None) -> None:
        """Return claimed rows to the queue, due at once or at `until`, without counting an attempt."""
        if not self.rows:
            return
        now = self.context.clock()
        with self.context.database.transaction() as tx:
            outbox.put_back(
                tx, self._ids(), reason=reason, next_attempt_at=until or now, now=now, owner=self.context.owner
            )
        self.result.put_back += len(self.rows)
        self.rows = []
