"""How a visit of a maildrop went, and how it is written down: its row in `polls`, its account, its line in the log."""

from dataclasses import dataclass
from datetime import datetime

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.store import accounts
from daemon.wire.transcript import Transcript


@dataclass(slots=True, kw_only=True)
class Result:
    """How a visit went; the counts hold also when it failed midway.

    seen: marked as seen in the ledger, without being fetched.  missing: asked for by UIDL, and not listed.
    outcome: ok, failed (see `error`), interrupted (by our own stop), or busy (another process visits this account).
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


def record(context: Context, result: Result, poll_id: int | None, transcript: Transcript, *, seconds: float) -> None:
    """Write the visit down and give its lease back; a database that fails here makes the visit a failed one, and is traced.

    poll_id: None if the visit failed before it had a row.  seconds: how long it took.
    """
    next_poll_at: datetime | None = None
    try:
        next_poll_at = _write(context, result, poll_id, context.kept(transcript) if result.error else None)
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


def _write(context: Context, result: Result, poll_id: int | None, transcript: str | None) -> datetime | None:
    """Return when the account is visited again, if it is failing."""
    name, now = result.account, context.clock()
    next_poll_at: datetime | None = None
    with context.database.transaction() as tx:
        if result.error is None:
            accounts.succeeded(tx, name, now)
        elif result.outcome == "failed":
            next_poll_at = context.come_back_at(accounts.failures(tx, name) + 1, result.error)
            accounts.failed(tx, name, str(result.error), now, next_poll_at)
        if poll_id is not None:
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
                error=str(result.error) if result.error else None,
                transcript=transcript,
            )
        accounts.release(tx, name, context.owner)
    return next_poll_at
