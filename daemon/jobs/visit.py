"""How a visit of a maildrop went, and how it is written down: its row in `polls`, its account, its line in the log.

What an error means for the next visit is decided here: a maildrop in use and a login too soon are no faults of the account
until they repeat ([IN-USE], [LOGIN-DELAY], RFC 2449 section 8.1), most others are backed off from, and a refused login or a
broken server stops the polling (jobs/standstill.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon import errors, trace
from daemon.jobs import standstill
from daemon.jobs.context import Context
from daemon.mail.account import Pop3
from daemon.pop3.replies import Capabilities
from daemon.pop3.retention import Expire
from daemon.store import accounts
from daemon.store.database import Transaction
from daemon.wire.transcript import Transcript


@dataclass(slots=True, kw_only=True)
class Result:
    """How a visit went; the counts hold also when it failed midway.

    seen: marked as seen in the ledger, without being fetched.  missing: asked for by UIDL, and not listed.
    outcome: ok, failed (see `error`), interrupted (by our own stop), busy (another process visits this account), or stopped
    (not visited: see jobs/standstill.py).  logged_in_at: None without a login.  login_delay: seconds, as CAPA says.
    """

    account: str
    outcome: str = "ok"
    session: str | None = None
    listed: int = 0
    fetched: int = 0
    new: int = 0
    seen: int = 0
    octets: int = 0
    skipped: int = 0
    dele_sent: int = 0
    deleted: int = 0
    missing: tuple[str, ...] = ()
    error: errors.PostroomError | None = None
    logged_in_at: datetime | None = None
    login_delay: int | None = None


def logged_in(context: Context, result: Result, pop3: Pop3, capabilities: Capabilities) -> None:
    """Note a login, and warn once of a server that deletes mail by itself in a way that the settings do not want (EXPIRE).

    The time of a login whose server wants pauses is written at once, so that a process killed in this visit keeps to it.
    """
    result.logged_in_at, result.login_delay = context.clock(), capabilities.login_delay
    if result.login_delay:
        with context.database.transaction(joins=True) as tx:
            accounts.logged_in(tx, result.account, result.logged_in_at, result.login_delay)
    expire = Expire.parse(capabilities.expire)
    for concern in expire.concerns(pop3) if expire is not None else ():
        if context.is_news(result.account, concern):
            trace.expiry_noticed(account=result.account, concern=concern)


def record(
    context: Context,
    result: Result,
    pop3: Pop3,
    poll_id: int,
    transcript: Transcript,
    *,
    seconds: float,
    also: Callable[[Transaction], None],
) -> None:
    """Write the visit down and give its lease back; a database that fails here makes the visit a failed one, and is traced.

    seconds: how long it took.  also: what else of it is written, in the same transaction; each one waits for the disk.
    """
    next_poll_at: datetime | None = None
    try:
        next_poll_at = _write(context, result, pop3, poll_id, context.kept(transcript) if result.error else None, also)
    except errors.StoreError as error:
        result.outcome, result.error = "failed", result.error or error
    if result.error is None:
        trace.poll_finished(
            account=result.account,
            session=transcript.session,
            listed=result.listed,
            fetched=result.fetched,
            new=result.new,
            octets=result.octets,
            skipped=result.skipped,
            deleted=result.deleted,
            seconds=seconds,
        )
    else:
        trace.poll_failed(
            account=result.account,
            session=transcript.session,
            error=result.error,
            fetched=result.fetched,
            next_poll_at=next_poll_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What a failure means. fingerprint: given if polling stops now.  next_poll_at: None once it is stopped."""

    text: str
    next_poll_at: datetime | None
    is_failing: bool
    fingerprint: str | None


def _verdict(
    context: Context, error: errors.PostroomError, name: str, before: accounts.Standing, pop3: Pop3
) -> _Verdict:
    is_refused = isinstance(error, errors.AuthFailed)
    fingerprint: str | None = None
    if standstill.is_called_for(error, before.refusals + int(is_refused)):
        fingerprint = standstill.fingerprint(pop3)
    if fingerprint is not None or before.stopped_since is not None:
        text = f"{error}; {standstill.advice(name)}"
        return _Verdict(text=text, next_poll_at=None, is_failing=True, fingerprint=fingerprint)
    next_poll_at = context.come_back_at(before.failures + 1, error)
    if isinstance(error, errors.LoginTooSoon) and before.login_delay:
        next_poll_at = max(next_poll_at, context.clock() + timedelta(seconds=before.login_delay))
    # Once is no fault: somebody else reads this mailbox, or has just done so.
    is_passing = isinstance(error, errors.MaildropLocked | errors.LoginTooSoon) and before.failures == 0
    return _Verdict(text=str(error), next_poll_at=next_poll_at, is_failing=not is_passing, fingerprint=None)


def _write(
    context: Context,
    result: Result,
    pop3: Pop3,
    poll_id: int,
    transcript: str | None,
    also: Callable[[Transaction], None],
) -> datetime | None:
    """Return when the account is visited again, if it is failing and not stopped."""
    name, now, error = result.account, context.clock(), result.error
    verdict: _Verdict | None = (
        None  # made outside the transaction: a stop takes a while, and may run a password command
    )
    if error is not None and result.outcome == "failed":
        with context.database.reading() as conn:
            before = accounts.standing(conn, name)
        verdict = _verdict(context, error, name, before, pop3)
    with context.database.transaction(joins=True) as tx:
        also(tx)
        if result.logged_in_at is not None:
            accounts.logged_in(tx, name, result.logged_in_at, result.login_delay)
        if error is None:
            accounts.succeeded(tx, name, now)
        elif verdict is not None:
            is_refused = isinstance(error, errors.AuthFailed)
            accounts.failed(
                tx, name, verdict.text, now, verdict.next_poll_at, is_failing=verdict.is_failing, is_refused=is_refused
            )
            if verdict.fingerprint is not None:
                accounts.stop(tx, name, verdict.fingerprint, now)
        accounts.end_poll(
            tx,
            poll_id,
            now=now,
            outcome=result.outcome,
            listed=result.listed,
            fetched=result.fetched,
            octets=result.octets,
            skipped=result.skipped,
            dele_sent=result.dele_sent,
            deleted=result.deleted,
            error=str(error) if error else None,
            transcript=transcript,
        )
        accounts.release(tx, name, context.owner)
    if error is not None and verdict is not None and verdict.fingerprint is not None:
        trace.polling_stopped(account=name, error=error, advice=standstill.advice(name))
    return verdict.next_poll_at if verdict is not None else None
