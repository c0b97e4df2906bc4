"""One visit of the outbox for one account: what is due is claimed, made letters, given to a relay, and each verdict recorded.

The rows' way is in `docket.py`; here is the relay's. A crash before a letter's mark returns its row to the queue; after it the
row is `in_doubt`, which is the truth: the relay may have the letter. A relay that can't be used pauses, the next one of the
account is tried, and rows wait when there is none; a row that can't be made a letter is failed with its reason. None stops
another.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from daemon import errors, trace
from daemon.jobs import letter, session
from daemon.jobs.connections import Pace
from daemon.jobs.context import Context
from daemon.jobs.docket import PATIENCE, Docket
from daemon.jobs.step import DrainStep
from daemon.mail.account import Account, Smtp
from daemon.smtp.relay import Relay
from daemon.store import budget, outbox, relays
from daemon.wire.stream import Endpoint

SESSION_SECONDS: Final = 30 * 60.0  # a drain ends by then, whatever the relay does
BROKEN_AFTER: Final = (
    20  # letters in a row that the relay put off for reasons of its own: then it is left alone for a while
)


class Next(Enum):
    """What a session leaves to be done."""

    NOTHING = auto()
    ANOTHER_SESSION = auto()
    ANOTHER_RELAY = auto()


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
    account: Account,
    context: Context,
    *,
    report: Callable[[Result], None] | None = None,
    even_paused: bool = False,
    is_extra: bool = False,
) -> Result:
    """Send what is due for the account; never raises for what a relay, a network, a row or a database can do.

    report: told after each row.  even_paused: try also when the relay was paused after a failure (`postroom send`).
    is_extra: beside another drain of the account, for speed; it does not probe a relay, nor judge one that refuses a second
    connection.
    """
    result = Result(account=account.name)
    if account.smtp is None:
        result.error = errors.InputInvalid(f"{account.name}: this account has no SMTP settings")
        return result
    _Drain(account, account.smtp, context, result, report or (lambda _result: None), is_extra=is_extra).run(
        even_paused=even_paused
    )
    return result


class _Drain:
    """One drain, from claim to record."""

    def __init__(
        self,
        account: Account,
        smtp: Smtp,
        context: Context,
        result: Result,
        report: Callable[[Result], None],
        *,
        is_extra: bool,
    ) -> None:
        self.account, self.smtp, self.context, self.result, self.report = account, smtp, context, result, report
        self.name, self.is_extra = account.name, is_extra
        self.started = context.monotonic()
        self.relay: Relay | None = None  # the last one
        self.docket = Docket(account, smtp, context, self._ended)

    def run(self, *, even_paused: bool) -> None:
        """Claim and send until nothing is due, the house stops, or no relay can be used."""
        result = self.result
        try:
            endpoints = self._endpoints(even_paused=even_paused)
            while endpoints and not self._is_used_up() and self.docket.claim(self._pace(endpoints[0]).rows):
                came_to = self._session(endpoints[0])
                if came_to is Next.NOTHING:
                    self._is_used_up()
                    break
                if came_to is Next.ANOTHER_RELAY:
                    del endpoints[0]
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

    # --- which relay, and when --------------------------------------------------------------------------------------

    def _endpoints(self, *, even_paused: bool) -> list[Endpoint]:
        """Return the relays that may be used now, in their order; what is due waits when there is none."""
        now = self.context.clock()
        with self.context.database.reading() as conn:
            known = relays.standings(conn, self.name)
            until, error = relays.paused_until(conn, self.name), relays.last_error(conn, self.name)
        usable, doubtful = list[Endpoint](), False
        for one in self.smtp.endpoints:
            standing = known.get(str(one), relays.Standing())
            doubtful = doubtful or standing.failures > 0
            if even_paused or standing.paused_until is None or standing.paused_until <= now:
                usable.append(one)
        if self.is_extra and doubtful:
            return []
        if not usable and until is not None:
            self._put_off(until, error or "the relay is paused")
        return usable

    def _is_used_up(self) -> bool:
        """Tell whether the budget is used up for longer than a moment; what is due waits then, and says so."""
        now = self.context.clock()
        with self.context.database.reading() as conn:
            room = budget.room(conn, self.name, self.smtp.budget, now)
        if room.until is None or room.until - now <= PATIENCE:
            return False
        self._put_off(room.until, f"the budget of account {self.name!r} is used up")
        return True

    def _put_off(self, until: datetime, reason: str) -> None:
        while not self.context.stop.is_set():
            with self.context.database.transaction() as tx:
                rows = outbox.put_off(tx, self.name, until, reason, self.context.clock())
            if not rows:
                return
            for _ in range(rows):
                self._ended("put_back")

    def _pace(self, endpoint: Endpoint) -> Pace:
        return self.context.connections.pace((self.name, str(endpoint)))

    # --- letters to the relay ---------------------------------------------------------------------------------------

    def _session(self, endpoint: Endpoint) -> Next:
        """Give all that is due to one connection; where the relay can't be used, it pauses, and its rows are put back."""
        try:
            self.docket.signer = None if self.smtp.dkim is None else letter.signer(self.smtp.dkim)
            with session.relay(
                self.account,
                self.smtp,
                endpoint,
                self.context,
                deadline=self.started + SESSION_SECONDS,
                progress=self._progress,
            ) as relay:
                self.relay, self.result.session = relay, relay.session_id
                self.context.step(DrainStep.CONNECTED, account=self.name)
                self._carry(relay, self._pace(endpoint))
            with self.context.database.transaction() as tx:
                relays.succeeded(tx, self.name, str(endpoint), self.context.clock())
            self.docket.put_back("the connection ended before this row's turn")
            self.result.error = None  # of a relay that this one stands in for; its own row has it
        except (errors.WireError, errors.SmtpError, errors.SecretUnavailable) as error:
            self.docket.lost(error)
            if self._says_nothing(endpoint):
                self.docket.put_back(str(error))
                return Next.ANOTHER_SESSION
            self._pace(endpoint).slacken()
            return self._relay_failed(endpoint, error)
        except errors.PostroomError as error:
            self._pace(endpoint).slacken()
            self.docket.put_back(str(error), in_order=False)
            raise
        return Next.NOTHING

    def _says_nothing(self, endpoint: Endpoint) -> bool:
        """Tell whether a failed session says nothing of the relay: it was lost while it was idle, or an extension is none."""
        relay, pace = self.relay, self._pace(endpoint)
        self.relay = None
        if relay is None:
            return False
        is_learned = bool(relay.distrusted - pace.without)
        pace.without |= relay.distrusted
        return is_learned or (relay.was_kept and not self.docket.answers)

    def _carry(self, relay: Relay, pace: Pace) -> None:
        docket, well = self.docket, 0
        parcels = docket.parcels(relay, pace)
        with closing(relay.carry(parcels, before_end=docket.mark, window=lambda: pace.letters)) as carried:
            for parcel, outcomes in carried:
                self.context.step(DrainStep.ANSWERED, account=self.name)
                docket.answer(parcel, outcomes, relay)
                well += 1
                if well >= pace.letters:
                    pace.quicken()
                    well = 0
                if docket.put_off_in_a_row >= BROKEN_AFTER:
                    raise errors.RelayRefused(
                        f"{relay.peer}: it put off the last {BROKEN_AFTER} letters for reasons of its own: {docket.put_off}"
                    )
        docket.record()

    # --- around it --------------------------------------------------------------------------------------------------

    def _ended(self, status: str) -> None:
        self.result.count(status)
        self.report(self.result)

    def _progress(self) -> None:
        """Feed the watchdog, keep the leases, let no verdict wait; called whenever octets moved, and while they do not."""
        self.context.pulse()
        self.docket.keep()

    def _relay_failed(self, endpoint: Endpoint, error: errors.PostroomError) -> Next:
        """Pause the relay and let its rows go to another, or wait; after a refused login at the longest wait (accounts get locked)."""
        context, now = self.context, self.context.clock()
        if self.is_extra and isinstance(error, errors.RelayRefused | errors.Unreachable):
            self.docket.put_back(str(error))
            return Next.NOTHING
        self.result.error = error
        others = [str(one) for one in self.smtp.endpoints if one != endpoint]
        with context.database.transaction() as tx:
            failures = relays.standings(tx, self.name).get(str(endpoint), relays.Standing()).failures + 1
            until = context.come_back_at(failures, error)
            again = relays.failed(tx, self.name, str(endpoint), str(error), now, until, others=others)
        rows = self.docket.put_back(str(error), again)
        if again is not None:
            self._put_off(again, str(error))
        trace.relay_failed(account=self.name, session=self.result.session, error=error, rows=rows, paused_until=until)
        return Next.ANOTHER_RELAY
