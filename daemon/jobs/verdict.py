"""What the relay said of each recipient, written down; worth several tries, since what is not written becomes a doubt."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, assert_never

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.jobs.work import Work
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Sent
from daemon.store import outbox

TRIES: Final = 4  # the database may be locked or full for a moment
WAIT: Final = timedelta(seconds=1)  # doubled between the tries


def of(address: str, outcome: Outcome) -> outbox.Verdict:
    """Turn the engine's outcome for one recipient into the row that records it."""
    match outcome:
        case Sent(reply=reply):
            status = "sent"
        case Deferred(reply=reply):
            status = "deferred"
        case Failed(reply=reply):
            status = "failed"
        case InDoubt(reason=reason):
            return outbox.Verdict(address=address, status="in_doubt", reply=reason)
        case _:
            assert_never(outcome)
    return outbox.Verdict(
        address=address, status=status, code=reply.code or None, enhanced=reply.enhanced, reply=reply.text
    )


def doubts(outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, str]]:
    """Give the recipients in doubt, and why."""
    for address, outcome in outcomes.items():
        if isinstance(outcome, InDoubt):
            yield address, outcome.reason


def tell(account: str, work: Work, status: str) -> None:
    """Say how an attempt ended."""
    for address, reason in doubts(work.outcomes):
        trace.row_in_doubt(account=account, outbox=work.id, address=address, reason=reason)
    trace.row_finished(
        account=account,
        outbox=work.id,
        status=status,
        attempt=work.item.row.attempts,
        recipients=len(work.outcomes),
        session=work.attempt.session,
    )


def record(context: Context, works: Sequence[Work]) -> dict[int, str]:
    """Write the verdicts of attempts; give the status that each row comes to. Raises StoreError after the last try."""
    wait = WAIT
    for tries_left in range(TRIES - 1, 0, -1):
        try:
            return _record_once(context, works)
        except errors.StoreError as error:
            trace.verdict_not_recorded(outbox=works[0].id, error=error, tries_left=tries_left)
            context.pause(wait)
            wait *= 2
    return _record_once(context, works)


def finished(context: Context, works: Sequence[Work]) -> list[outbox.Finished]:
    """Turn attempts and what was answered into what is written down."""
    now = context.clock()
    return [
        outbox.Finished(
            attempt=work.attempt,
            verdicts=[of(to, outcome) for to, outcome in work.outcomes.items()],
            next_attempt_at=None
            if all(isinstance(one, Sent) for one in work.outcomes.values())
            else context.backoff.next_attempt(work.item.row.attempts, now, context.jitter()),
            transcript=work.transcript,
        )
        for work in works
    ]


def _record_once(context: Context, works: Sequence[Work]) -> dict[int, str]:
    with context.database.transaction(joins=True) as tx:
        return outbox.record(tx, finished(context, works), now=context.clock())
