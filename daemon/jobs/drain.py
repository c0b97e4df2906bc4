"""One visit of the outbox for one account: what is due is claimed, made letters, given to a relay, and each verdict recorded.

The rows' way is in `docket.py`; here is the relay's. A crash before a letter's mark returns its row to the queue; after it the
row is `in_doubt`, which is the truth: the relay may have the letter. A relay that can't be used pauses, the next one of the
account is tried, and rows wait when there is none; a row that can't be made a letter is failed with its reason. None stops
another.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from daemon import errors, trace
from daemon.jobs import letter, session
from daemon.jobs.connections import Pace
from daemon.jobs.context import Context
from daemon.jobs.docket import PATIENCE, SLICE_SECONDS, Docket
from daemon.jobs.step import DrainStep
from daemon.mail.account import Account, Smtp
from daemon.smtp.relay import Relay
from daemon.store import budget, outbox, relays
from daemon.wire.stream import Endpoint

SESSION_SECONDS: Final = 30 * 60.0  # a drain ends by then, whatever the relay does
ALONE_SECONDS: Final = 60.0  # after a relay refused a further connection, none is tried for so long


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

    report: told after each row.  even_paused: try also when the relay was paused after a failure, and go on until nothing is due
    (`postroom send`; the daemon comes again).  is_extra: beside another drain of the account, for speed; it does not probe a relay,
    nor judge one that refuses a second connection.
    """
    result = Result(account=account.name)
    if account.smtp is None:
        result.error = errors.InputInvalid(f"{account.name}: this account has no SMTP settings")
        return result
    _Drain(
        account,
        account.smtp,
        context,
        result,
        report or (lambda _result: None),
        even_paused=even_paused,
        is_extra=is_extra,
    ).run()
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
        even_paused: bool,
        is_extra: bool,
    ) -> None:
        self.account, self.smtp, self.context, self.result, self.report = account, smtp, context, result, report
        self.name, self.even_paused, self.is_extra = account.name, even_paused, is_extra
        self.started = context.monotonic()
        self.relay: Relay | None = None  # of this session
        self.doubted: set[Endpoint] = set()  # relays that have failed, and have taken nothing since
        slice_seconds = float("inf") if even_paused else SLICE_SECONDS
        self.docket = Docket(account, smtp, context, self._ended, slice_seconds=slice_seconds)

    def run(self) -> None:
        """Claim and send until nothing is due, the house stops, or no relay can be used."""
        result = self.result
        try:
            endpoints = self._endpoints()
            for endpoint in endpoints:
                if not self._drain_into(endpoint):
                    break
        except errors.PostroomError as error:
            result.error = error
            trace.job_failed(job=f"drain {self.name}", error=error)
            self._let_go(error)
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

    def _drain_into(self, endpoint: Endpoint) -> bool:
        """Send through a relay, in as many sessions as it takes; True when it has failed, and another one should be tried."""
        self.docket.breaker.close(is_doubted=endpoint in self.doubted)
        while self._has_rows(endpoint):
            came_to = self._session(endpoint)
            if came_to is Next.NOTHING:
                self._is_used_up()
            if came_to is not Next.ANOTHER_SESSION:
                return came_to is Next.ANOTHER_RELAY
        return False

    # --- which relay, and when --------------------------------------------------------------------------------------

    def _endpoints(self) -> list[Endpoint]:
        """Return the relays that may be used now, in their order; what is due waits when there is none."""
        now = self.context.clock()
        with self.context.database.reading() as conn:
            known = relays.standings(conn, self.name)
            until, error = relays.paused_until(conn, self.name), relays.last_error(conn, self.name)
        standing = {one: known.get(str(one), relays.Standing()) for one in self.smtp.endpoints}
        self.doubted = {one for one, its in standing.items() if its.failures}
        usable = [one for one, its in standing.items() if self.even_paused or (its.paused_until or now) <= now]
        if self.is_extra:
            best = usable[:1]
            is_welcome = best and best[0] not in self.doubted and self._pace(best[0]).is_wide(self.context.monotonic())
            return best if is_welcome else []
        if not usable and until is not None:
            self._put_off(until, error or "the relay is paused")
        return usable

    def _has_rows(self, endpoint: Endpoint) -> bool:
        """Tell whether there is something to send: what the last session left, or what is due and within the budget."""
        return not self.docket.is_empty or (not self._is_used_up() and self.docket.claim(self._pace(endpoint).rows))

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
        docket, pace, self.relay = self.docket, self._pace(endpoint), None
        try:
            self.docket.signer = None if self.smtp.dkim is None else letter.signer(self.smtp.dkim)
            with session.relay(
                self.account,
                self.smtp,
                endpoint,
                self.context,
                deadline=self.context.monotonic() + SESSION_SECONDS,
                progress=self._progress,
            ) as relay:
                self.relay, self.result.session = relay, relay.session_id
                self.context.step(DrainStep.CONNECTED, account=self.name)
                self._carry(relay, pace)
                has_more = not relay.usable and docket.answers and not docket.is_over
            if not docket.breaker.in_a_row:
                self.doubted.discard(endpoint)
                self.result.error = None  # of a relay that this one stands in for; its own row has it
                with self.context.database.transaction(joins=True) as tx:
                    relays.succeeded(tx, self.name, str(endpoint), self.context.clock())
            if has_more and not (docket.is_stuck or self.context.stop.is_set()):
                docket.go_on()
                return Next.ANOTHER_SESSION
            docket.put_back("the connection ended before this row's turn")
        except (errors.WireError, errors.SmtpError, errors.SecretUnavailable) as error:
            if self._says_nothing(pace, error):
                docket.put_back(str(error))
                return Next.ANOTHER_SESSION
            return self._relay_failed(endpoint, error)
        except errors.PostroomError as error:
            pace.slacken()
            docket.put_back(str(error))
            raise
        return Next.NOTHING

    def _says_nothing(self, pace: Pace, error: errors.PostroomError) -> bool:
        """Tell whether a failed session says nothing of the relay.

        It was lost while it was idle, or an extension is none, or the relay wants no more letters on one connection.
        """
        relay, docket = self.relay, self.docket
        if relay is None:
            return False
        is_learned = bool(relay.distrusted - pace.without)
        pace.without |= relay.distrusted
        is_full = isinstance(error, errors.RelayRefused) and error.code == 421 and docket.breaker.went > 0
        return is_learned or is_full or (relay.was_kept and not docket.answers)

    def _carry(self, relay: Relay, pace: Pace) -> None:
        docket, well = self.docket, 0
        parcels = docket.parcels(relay, pace)
        with closing(
            relay.carry(parcels, before_end=docket.mark, window=lambda: docket.window(relay, pace))
        ) as carried:
            for parcel, outcomes in carried:
                self.context.step(DrainStep.ANSWERED, account=self.name)
                docket.answer(parcel, outcomes, relay)
                well += 1
                if docket.breaker.in_a_row:
                    pace.ease()
                    well = 0
                elif well >= pace.letters:
                    pace.quicken()
                    well = 0
        if docket.breaker.is_open:  # said when nothing is with the relay any more: what it takes meanwhile is no doubt
            raise errors.RelayRefused(f"{relay.peer}: {docket.breaker}")

    def _let_go(self, error: errors.PostroomError) -> None:
        """Return what is left to the queue, unless the database does not even take verdicts: leases run out by themselves."""
        if not self.docket.is_empty and not self.docket.is_stuck:
            with suppress(errors.StoreError):
                self.docket.put_back(str(error))

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
        if self.is_extra and self.relay is None and isinstance(error, errors.RelayRefused | errors.Unreachable):
            self._pace(endpoint).alone_until = context.monotonic() + ALONE_SECONDS
            self.docket.put_back(str(error))
            return Next.NOTHING
        self._pace(endpoint).slacken()
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
