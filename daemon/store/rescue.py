"""Attempts that nobody goes on with: their rows go back to the queue, or are in doubt once the letter's end may have left.

All functions take the connection and never commit.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, case, select, update

from daemon.store.dialect import statements
from daemon.store.lease import is_dead
from daemon.store.schema import OUTBOX_STOPPED, outbox, outbox_attempts, outbox_recipients
from daemon.store.settlement import TO_BE_SENT, settle

CLAIMED: Final = (
    "sending",
    "held",
    "cancelled",
)  # somebody may stop a row while it is sent; its sender has it until it is done
DIED: Final = "the process that was sending ended after the letter was given and before the relay's answer was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """How many rows of dead daemons were put right."""

    requeued: int
    in_doubt: int


def put_back(
    tx: Connection,
    outbox_ids: Collection[int],
    *,
    reason: str,
    next_attempt_at: datetime,
    now: datetime,
    owner: str | None = None,
    unsent: Collection[int] = (),
) -> None:
    """Return claimed rows: their relay can't be used, or the house stops. An attempt left open past its mark is a doubt.

    A claim that no attempt followed does not count as one.  owner: who claimed them; a row that is another's by now is left
    alone.  unsent: rows whose letter was marked and did not leave, as their sender knows: no doubt about them, and no attempt.
    """
    t = outbox.c
    query = select(t.id, t.lease_owner).where(t.id.in_(list(outbox_ids)), t.status.in_(CLAIMED)).order_by(t.id)
    found = tx.execute(statements.for_update(tx, query))
    ours = [row.id for row in found if row.lease_owner is not None and owner in {None, row.lease_owner}]
    opened, _doubted = _close_attempts(tx, ours, now, unsent=unsent)
    uncounted = [key for key in ours if key not in opened or key in unsent]
    ends = {key: (next_attempt_at, reason if key in opened or next_attempt_at > now else None) for key in ours}
    settle(tx, ends, now=now, uncounted=uncounted)


def _close_attempts(
    tx: Connection, outbox_ids: Collection[int], now: datetime, *, unsent: Collection[int] = ()
) -> tuple[set[int], set[int]]:
    """End the attempts that nobody goes on with; return the rows where there were any, and those where one is in doubt."""
    a, r = outbox_attempts.c, outbox_recipients.c
    query = select(a.id, a.outbox_id, a.committing_at).where(a.outbox_id.in_(list(outbox_ids)), a.finished_at.is_(None))
    opened = tx.execute(query).all()
    doubted = {one.id: one.outbox_id for one in opened if one.committing_at is not None and one.outbox_id not in unsent}
    ended = update(outbox_attempts).where(a.id.in_([one.id for one in opened]))
    if opened:
        letters = case((a.id.in_(list(doubted)), a.letters), else_=0)  # what did not leave is in no budget
        tx.execute(ended.values(finished_at=now, outcome="interrupted", letters=letters))
    if doubted:
        theirs = update(outbox_attempts).where(a.id.in_(list(doubted)))
        tx.execute(theirs.values(outcome="in_doubt", reply=DIED))
        waited = update(outbox_recipients).where(r.attempt.in_(list(doubted)), r.status.in_([*TO_BE_SENT, "in_doubt"]))
        tx.execute(
            waited.values(
                status="in_doubt", reply=DIED, code=None, enhanced_code=None, attempts=r.attempts + 1, updated_at=now
            )
        )
    return {one.outbox_id for one in opened}, set(doubted.values())


def rescue(tx: Connection, now: datetime) -> Rescued:
    """Return the rows of processes that are dead or whose lease ran out; those past the mark are in doubt."""
    t, dead = outbox.c, list[int]()
    for is_claimed in (t.status == "sending", OUTBOX_STOPPED):  # an index each
        query = select(t.id, t.status, t.lease_owner, t.lease_until).where(is_claimed).order_by(t.id)
        dead += [
            key
            for key, status, owner, until in tx.execute(statements.for_update(tx, query, skip_locked=True))
            if status in CLAIMED and (owner is None or until is None or until <= now or is_dead(owner))
        ]
    opened, doubted = _close_attempts(tx, dead, now)
    ends = {key: (now, DIED if key in doubted else None) for key in dead}
    settle(tx, ends, now=now, uncounted=set(dead) - opened)
    return Rescued(requeued=len(dead) - len(doubted), in_doubt=len(doubted))
