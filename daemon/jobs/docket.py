"""The rows of one drain on their way from claim to verdict, in batches: a COMMIT costs more than fifty rows in it.

    claim (lease) -> letters -> prepare (an attempt each) -> parcels, pulled by the relay -> mark -> the relay's answers -> record

Each arrow into the database is one short transaction for all rows of a batch; none is open while a socket is waited on. How
many rows are claimed at once follows the relay's pace: what is marked and not answered is what a SIGKILL leaves in doubt.
"""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from daemon import errors, trace
from daemon.jobs import letter, verdict
from daemon.jobs.breaker import Breaker
from daemon.jobs.connections import Pace
from daemon.jobs.context import Context
from daemon.jobs.letter import Item
from daemon.jobs.step import DrainStep
from daemon.jobs.work import Work
from daemon.jobs.wrapping import Wrapping
from daemon.mail.account import Account, Smtp
from daemon.mail.envelope import Parcel
from daemon.mail.sign import Signer
from daemon.smtp.relay import Relay
from daemon.smtp.replies import Deferred, Failed, Outcome, Reply, Sent
from daemon.store import budget, keys, outbox, suppression
from daemon.store.database import Transaction

LEASE: Final = timedelta(minutes=10)  # a claimed row belongs to us this long; renewed while there is progress
RENEW_SECONDS: Final = 60.0  # on progress, the leases of claimed rows are renewed this often
PATIENCE: Final = timedelta(seconds=2)  # a budget that has room again this soon is waited for with the line open
LATEST_SECONDS: Final = 0.1  # an answer is written down this soon, however few there are
SLICE_SECONDS: Final = 60.0  # then others have their turn; the connection is kept, and the drain comes again
AHEAD_SECONDS: Final = (
    0.15  # no more rows are claimed at once than leave in so long: others may be sent by another connection
)
AT_FULL_PACE: Final = (
    16  # letters under way, from which on rows are marked as they are prepared, and the next ones claimed then
)
SHOWN_LINES: Final = 100  # of the transcript, kept with an attempt that did not go well


class Docket:
    """What one drain has claimed, and has not come to an end with."""

    def __init__(
        self,
        account: Account,
        smtp: Smtp,
        context: Context,
        ended: Callable[[str], None],
        *,
        slice_seconds: float = SLICE_SECONDS,
    ) -> None:
        """Begin with nothing. ended: told the status that each row comes to; `put_back` for one that goes back to the queue."""
        self._account, self._smtp, self._context, self._ended = account, smtp, context, ended
        self._name, self._slice_seconds = account.name, slice_seconds
        self._keys = itertools.count(1)
        self._claimed: list[outbox.Claimed] = []  # no attempt yet
        self._works: dict[int, Work] = {}  # by row, in the order of sending; an attempt is open
        self._waiting: deque[tuple[Parcel, Work]] = deque()  # for the relay to pull
        self._out: dict[int, tuple[Parcel, Work]] = {}  # by the key of a parcel that is with the relay
        self._answered: list[Work] = []  # and not written down yet
        self._answered_at = self._renewed = self._began = context.monotonic()
        self._is_stuck = False  # the database takes no verdict: tried again when nothing is with the relay
        self.signer: Signer | None = None  # of this session
        self._key = b""  # of addresses that bounces come back to
        self.answers = 0  # that the relay of this session gave
        self._serving_since = 0.0
        self.breaker = Breaker()

    # --- rows into parcels ------------------------------------------------------------------------------------------

    def claim(self, limit: int) -> bool:
        """Take rows that are due, and write down what was answered; False if nothing is due."""
        context, answered, statuses = self._context, self._answered, dict[int, str]()
        if self._claimed or context.stop.is_set():
            self.record()
            return bool(self._claimed)
        try:
            with context.database.transaction(joins=True) as tx:
                if answered:
                    statuses = outbox.record(tx, verdict.finished(context, answered), now=context.clock())
                claimed = self._take(tx, limit)
        except errors.StoreError:
            if not answered:
                raise
            self.record()  # which is worth several tries
            return self.claim(limit)
        self._claimed = claimed
        self._recorded(answered, statuses)
        if claimed:
            context.step(DrainStep.CLAIMED, account=self._name)
        return bool(claimed)

    def _take(self, tx: Transaction, limit: int) -> list[outbox.Claimed]:
        context = self._context
        return outbox.claim(
            tx,
            owner=context.owner,
            now=context.clock(),
            lease=LEASE,
            limit=limit,
            account=self._name,
            name=partial(letter.new_message_id, self._account),
        )

    def parcels(self, relay: Relay, pace: Pace) -> Iterator[Parcel]:
        """Give what is due, claiming as it goes, until nothing is, or the house stops, or others should have their turn."""
        context, self.answers, self.breaker.went = self._context, 0, 0
        self._serving_since = context.monotonic()
        while not context.stop.is_set():
            while self._waiting:
                if self.breaker.is_open or self._is_stuck:
                    return
                parcel, work = self._waiting.popleft()
                self._out[parcel.key] = parcel, work
                yield parcel
                if context.stop.is_set():
                    return
            if self.breaker.is_open or self._is_stuck or self.is_over:
                return
            rows, asked_at = self._rows(pace), context.monotonic()
            if not (self._claimed or self.claim(rows)) or context.stop.is_set():
                return
            if not self._begin(relay, rows, is_fast=pace.letters >= AT_FULL_PACE):
                return
            # A busy database says nothing of the relay's pace; with smaller batches it would be busier still.
            self._serving_since += context.monotonic() - asked_at

    def window(self, relay: Relay, pace: Pace) -> int:
        """Say how many letters the relay is given at once: by DATA, which is one a round trip, not more than leave in a moment."""
        return pace.letters if relay.streams else min(pace.letters, self._rows(pace) + 1)

    def _rows(self, pace: Pace) -> int:
        """Say how many rows to claim: as many as may be under way, and no more than leave in a moment at the speed so far."""
        now, rows = self._context.monotonic(), pace.rows
        if self.answers and now > self._serving_since:
            rows = min(rows, max(1, int(self.answers / (now - self._serving_since) * AHEAD_SECONDS)))
        return rows

    def _begin(self, relay: Relay, rows: int, *, is_fast: bool) -> bool:
        """Begin an attempt at what is claimed, as far as the budget goes; False if there is no budget left to wait for.

        At full pace all that the database is to do for a batch is one transaction: what was answered is written down, these letters
        are marked, since they leave at once, and the next rows are claimed. Else letters are marked when the first is about to end.
        """
        context, answered, statuses, following = self._context, self._answered, dict[int, str](), list[outbox.Claimed]()
        items, refused = letter.written(context.database, self._claimed, self._account)
        with context.database.transaction(joins=True) as tx:
            now = context.clock()
            for row, error in refused:
                outbox.refuse(tx, row.id, str(error), now)
            self._key = self._key or keys.make_return_path(tx)
            wrapping = Wrapping(smtp=self._smtp, relay=relay, signer=self.signer, key=self._key)
            suppressed = suppression.among(tx, [to.address for item in items for to in item.letter.recipients])
            room = budget.reserve(tx, self._name, self._smtp.budget, now)
            taken = letter.within(room.letters, items, suppressed, wrapping.split)
            attempts = outbox.prepare(
                tx,
                [item.begun for item in taken],
                account=self._name,
                relay=relay.peer,
                session=relay.session_id,
                now=now,
                owner=context.owner,
                split=wrapping.split,
                marked=is_fast,
                unasked=suppressed,
            )
            if answered:
                statuses = outbox.record(tx, verdict.finished(context, answered), now=now)
            if is_fast and rows >= AT_FULL_PACE and room.letters is None:
                following = self._take(tx, rows)
        self._recorded(answered, statuses)
        for row, error in refused:
            trace.row_refused(outbox=row.id, error=error)
            self._ended("failed")
        self._claimed = [item.row for item in items[len(taken) :]] + following
        for item in taken:
            attempt = attempts.get(item.row.id)
            if attempt is None:  # somebody took the row back meanwhile, or our lease ran out
                self._ended("put_back")
            else:
                self._works[item.row.id] = self._work(item, attempt, suppressed, wrapping, is_marked=is_fast)
        if taken:
            context.step(DrainStep.PREPARED, account=self._name)
        if room.until is None or taken:
            return True
        return self._wait_for_room(room.until)

    def _work(
        self,
        item: Item,
        attempt: outbox.Attempt,
        suppressed: Mapping[str, str],
        wrapping: Wrapping,
        *,
        is_marked: bool,
    ) -> Work:
        """Put an attempt's letters into the queue; one that has nobody to go to is at its end."""
        work = Work(item=item, attempt=attempt, is_marked=is_marked)
        for address in attempt.addresses:
            if address in suppressed:
                work.outcomes[address] = Failed(Reply.ours(f"suppressed: {suppressed[address] or 'by hand'}"))
        left = [address for address in attempt.addresses if address not in work.outcomes]
        for parcel in wrapping.parcels(item, left, self._keys):
            self._waiting.append((parcel, work))
            work.parts += 1
        if not work.parts:
            self._answered.append(work)
        return work

    def _wait_for_room(self, until: datetime) -> bool:
        context = self._context
        wait = until - context.clock()
        if wait > PATIENCE or context.stop.is_set():
            self._return(f"the budget of account {self._name!r} is used up", until)
            return False
        context.pause(wait)
        return True

    # --- what the relay does ----------------------------------------------------------------------------------------

    def mark(self, key: int) -> None:
        """Make durable that the ends of letters may leave: of this one, and of those that will follow at once."""
        if self._out[key][1].is_marked:
            return
        context = self._context
        unmarked = [work for work in self._works.values() if not work.is_marked]
        with context.database.transaction(joins=True) as tx:
            outbox.committing(tx, [work.attempt.id for work in unmarked], context.clock())
        for work in unmarked:
            work.is_marked = True
        context.step(DrainStep.COMMITTING, account=self._name)

    def answer(self, parcel: Parcel, outcomes: dict[str, Outcome], relay: Relay) -> None:
        """Take the relay's answer; it is written down with others, soon."""
        self.answers += 1
        _, work = self._out.pop(parcel.key)
        work.outcomes |= outcomes
        work.parts -= 1
        if any(not isinstance(one, Sent) for one in outcomes.values()) and self._context.trace_mode != "off":
            work.transcript = relay.transcript.text(last=SHOWN_LINES)
        self.breaker.judge(outcomes)
        if work.parts:
            return
        if not self._answered:
            self._answered_at = self._context.monotonic()
        self._answered.append(work)
        self._record_in_time()

    def _record_in_time(self) -> None:
        """Write down what was answered a while ago. What the database does not take must not cost us the answers to come."""
        if self._is_stuck or not self._answered or self._context.monotonic() - self._answered_at <= LATEST_SECONDS:
            return
        try:
            self.record()
        except errors.StoreError:
            self._is_stuck = True

    def record(self) -> None:
        """Write down what was answered. Raises StoreError; then it is kept, to be tried again."""
        answered = self._answered
        if answered:
            self._recorded(answered, verdict.record(self._context, answered))

    def _recorded(self, answered: list[Work], statuses: Mapping[int, str]) -> None:
        if not answered:
            return
        self._answered, self._is_stuck = [], False
        self._context.step(DrainStep.RECORDED, account=self._name)
        for work in answered:
            del self._works[work.id]
            verdict.tell(self._name, work, statuses[work.id])
            self._ended(statuses[work.id])

    # --- ends -------------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing is claimed."""
        return not (self._claimed or self._works)

    @property
    def is_over(self) -> bool:
        """Whether others should have their turn."""
        return self._context.monotonic() - self._began > self._slice_seconds

    @property
    def is_stuck(self) -> bool:
        """Whether the database did not take what the relay has answered."""
        return self._is_stuck

    def go_on(self) -> None:
        """Let another session carry what this one took, and did not begin with."""
        self._waiting.extendleft(reversed(self._out.values()))
        self._out.clear()

    def _leave(self, reason: str) -> None:
        """Let the recipients wait whose letter was not given to the relay, where other letters of their row were."""
        for work in self._works.values():
            if work.parts and any(not isinstance(one, Failed) or one.reply.code for one in work.outcomes.values()):
                for address in work.attempt.addresses:
                    work.outcomes.setdefault(address, Deferred(Reply.ours(reason)))
                work.parts = 0
                self._answered.append(work)
        self._out.clear()
        self._waiting.clear()

    def _return(self, reason: str, until: datetime) -> None:
        """Return the rows to the queue at which no attempt has begun."""
        rows, self._claimed = self._claimed, []
        self._to_queue([row.id for row in rows], reason, until)

    def _to_queue(self, ids: list[int], reason: str, until: datetime, *, unsent: Collection[int] = ()) -> None:
        context = self._context
        with context.database.transaction() as tx:
            outbox.put_back(
                tx,
                ids,
                reason=reason,
                next_attempt_at=until,
                now=context.clock(),
                owner=context.owner,
                unsent=unsent,
            )
        for _ in ids:
            self._ended("put_back")

    def put_back(self, reason: str, until: datetime | None = None) -> int:
        """Return what has no answer to the queue, due at once or at `until`, without counting an attempt; give how many.

        By now the relay's session has said of each letter whose end left what became of it. What can't be written down of that
        is in doubt; the StoreError that was why is raised at the end.
        """
        self._leave(reason)
        failure: errors.StoreError | None = None
        try:
            self.record()
        except errors.StoreError as error:
            self._is_stuck, failure = True, error
        doubtful = {work.id for work in self._answered}
        ids = [row.id for row in self._claimed] + list(self._works)
        if ids:
            unsent = self._works.keys() - doubtful
            self._to_queue(ids, reason, until or self._context.clock(), unsent=unsent)
        self._claimed, self._answered = [], []
        self._works.clear()
        if failure is not None:
            raise failure
        return len(ids)

    def keep(self) -> None:
        """Keep what is claimed for longer, and write down what was answered a while ago; called on every progress.

        Raises nothing that a database can do: the session would end, and a lease that is lost is noticed before a letter's end leaves.
        """
        context = self._context
        self._record_in_time()
        now = context.monotonic()
        if now - self._renewed < RENEW_SECONDS:
            return
        self._renewed = now
        ids = [row.id for row in self._claimed] + list(self._works)
        with suppress(errors.StoreError), context.database.transaction(joins=True) as tx:
            outbox.renew(tx, ids, context.owner, context.clock() + LEASE)
