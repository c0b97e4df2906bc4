"""What the relay said of each recipient, written down; worth several tries, since what is not written becomes a doubt."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, assert_never

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Sent
from daemon.store import outbox
from daemon.wire.transcript import Transcript

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


def record(
    context: Context,
    row: outbox.Claimed,
    attempt: outbox.Attempt,
    verdicts: Sequence[outbox.Verdict],
    transcript: Transcript,
) -> str:
    """Write the verdicts of one attempt; return the status that the row comes to. Raises StoreError after the last try.

    transcript: its text is kept where not every recipient was taken, unless traces are off.
    """
    untroubled = all(one.status == "sent" for one in verdicts)
    kept = None if untroubled or context.trace_mode == "off" else transcript.text()
    wait = WAIT
    for tries_left in range(TRIES - 1, 0, -1):
        try:
            return _record_once(context, row, attempt, verdicts, kept)
        except errors.StoreError as error:
            trace.verdict_not_recorded(outbox=row.id, error=error, tries_left=tries_left)
            context.pause(wait)
            wait *= 2
    return _record_once(context, row, attempt, verdicts, kept)


def _record_once(
    context: Context,
    row: outbox.Claimed,
    attempt: outbox.Attempt,
    verdicts: Sequence[outbox.Verdict],
    transcript: str | None,
) -> str:
    now = context.clock()
    with context.database.transaction() as tx:
        return outbox.record(
            tx,
            attempt.id,
            verdicts,
            now=now,
            next_attempt_at=context.backoff.next_attempt(row.attempts, now, context.jitter()),
            transcript=transcript,
        )
