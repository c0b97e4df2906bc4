"""Find out what came back for what: reports, answers and copies among the archived messages, written into the very rows.

The indexer queues what may speak of a row (store/reports.py); here each is read, outside any transaction, and compared with the
rows that it proves to know, the strongest proof first:

    the address it came to (VERP, signed) -> the envelope id (signed) -> the Message-ID of the letter that came back
    -> for answers, In-Reply-To and References

A message whose Message-ID is a row's own is a copy: the relay took that letter. A row that is being sent at this moment, or is
another transaction's, is left for the next run. One transaction writes what a batch says and takes it off the queue, so a kill loses nothing and repeats nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.mail import address, report, verp
from daemon.mail.account import Account
from daemon.mail.delivery_status import Fate
from daemon.mail.report import Kind, Report
from daemon.store import keys, reports, sources, suppression
from daemon.store.database import Transaction
from daemon.store.reports import Row, Word

REPORT_OCTETS: Final = (
    4 * 1024 * 1024
)  # of a message that are read: behind them a report has the letter that it returns
MESSAGES_A_TRANSACTION: Final = 20  # written at once: some 50 ms, so that other writers hardly wait

STATUSES: Final = {
    "failed": "bounced",  # for good, whatever class its status has: a relay that gives up after days says 4.x.x
    "delayed": "delayed",
    "delivered": "delivered",
    "relayed": "sent",  # to a server that reports nothing
    "expanded": "sent",  # to a list's members: no report on them comes to us
}


@dataclass(slots=True, kw_only=True)
class Matched:
    """What a run did. messages: looked at.  changed: recipients of whom something new is known."""

    messages: int = 0
    changed: int = 0
    postponed: int = 0


def match(context: Context, accounts: Iterable[Account]) -> Matched:
    """Look at everything in the queue, until nothing is left or the house stops. accounts: their settings say what bounces do."""
    suppressing = {one.name for one in accounts if one.smtp is not None and one.smtp.suppress_bounces}
    matched, last = Matched(), 0
    while not context.stop.is_set():
        with context.database.reading() as conn:
            ids = reports.waiting(conn, last, MESSAGES_A_TRANSACTION)
        if not ids:
            break
        last = ids[-1]
        _write(context, [(one, _read(context, one)) for one in ids], suppressing, matched)
        context.pulse()
    if matched.messages:
        trace.matched(messages=matched.messages, changed=matched.changed, postponed=matched.postponed)
    return matched


def _read(context: Context, message: int) -> Report | None:
    """Read its begin: what a report says stands before the letter that it returns. None if it was pruned meanwhile, or can't be read."""
    try:
        with context.database.reading() as conn:
            raw = sources.span(conn, message, 0, REPORT_OCTETS)
    except (errors.NotFound, errors.OctetsBroken):
        return None
    return report.read(raw)


def _write(
    context: Context, read: Sequence[tuple[int, Report | None]], suppressing: Collection[str], matched: Matched
) -> None:
    """Write what a batch says; if the database refuses it, one by one, so that a message it can't take stops no other."""
    try:
        with context.database.transaction() as tx:
            batch = _Batch(tx, context.clock(), suppressing)
            batch.run(read)
    except errors.RowRefused as error:
        if len(read) > 1:
            for one in read:
                _write(context, [one], suppressing, matched)
            return
        trace.report_unusable(message=read[0][0], error=error)
        with context.database.transaction() as tx:
            reports.done(tx, [read[0][0]])
        return
    matched.messages += len(read)
    matched.changed += len(batch.news)
    matched.postponed += batch.postponed
    for message, row, word in batch.news:
        trace.reported(outbox=row.id, account=row.account, address=word.address, status=word.status, message=message)
    for suppressed in batch.suppressed:
        trace.suppressed(address=suppressed)


class _Batch:
    """What some messages say, within one transaction."""

    def __init__(self, tx: Transaction, now: datetime, suppressing: Collection[str]) -> None:
        self._tx, self._now, self._suppressing = tx, now, suppressing
        self._key = keys.return_path(tx)
        self._rows: dict[
            int, Row | None
        ] = {}  # locked by now: a row of ten thousand recipients may have as many reports
        self.news: list[tuple[int, Row, Word]] = []
        self.suppressed: list[str] = []
        self.postponed = 0

    def run(self, read: Sequence[tuple[int, Report | None]]) -> None:
        """Compare each with the rows, and take it off the queue."""
        archived = reports.take(self._tx, [message for message, _ in read])
        finished = []
        for message, one in read:
            if message not in archived:
                continue
            if one is None or self._told(message, one, archived[message]):
                finished.append(message)
            else:
                self.postponed += 1
        reports.done(self._tx, finished)

    def _told(self, message: int, one: Report, archived_at: datetime) -> bool:
        """Write down what one message says; False if one of its rows is being sent, or another transaction's, now."""
        marked = self._marked(one)
        envelope = self._envelope(one)
        by_id = reports.rows_of(self._tx, [key for key in (one.message_id, *one.returned, *one.answers) if key])
        wanted = {key for ids in by_id.values() for key in ids} | set(marked) | ({envelope} if envelope else set())
        rows = self._locked(wanted)
        if rows is None:
            return False
        copied = [rows[key] for key in by_id.get(one.message_id or "", ()) if key in rows]
        copied = [row for row in copied if row.copies_from is not None]
        for row in copied:
            if row.copies_from is not None and row.copies_from <= archived_at:
                taken = reports.in_doubt(self._tx, row.id)
                self._record(message, row, [(Word(address=to, status="sent"), None) for to in taken])
        if copied:  # our own letter; what it answers is not for it to say
            return True
        if marked:
            for key in set(marked) & set(rows):
                fixed = [to for to in rows[key].recipients.values() if self._is_marked(to, marked[key])]
                self._record(message, rows[key], list(_words(one, rows[key], fixed)))
            return True
        for key in _proven(one, by_id, envelope):
            if key in rows:
                self._record(message, rows[key], list(_words(one, rows[key], None)))
        return True

    def _locked(self, wanted: set[int]) -> dict[int, Row] | None:
        """Give the rows that there are, ours until the end; None if not all of them can be had."""
        self._rows |= reports.lock(self._tx, wanted - self._rows.keys())
        found = {key: self._rows[key] for key in wanted if key in self._rows}
        rows = {key: row for key, row in found.items() if row is not None and row.status != "sending"}
        return rows if len(rows) == len(found) else None

    def _marked(self, one: Report) -> dict[int, str]:
        """Give the rows that the address says it came to, with the mark of the recipient."""
        if self._key is None:
            return {}
        found = (verp.read(path, self._key) for path in one.return_paths)
        return {marked.outbox_id: marked.recipient for marked in found if marked is not None}

    def _is_marked(self, recipient: str, mark: str) -> bool:
        return self._key is not None and verp.mark(recipient, self._key) == mark

    def _envelope(self, one: Report) -> int | None:
        return None if self._key is None else report.read_envelope_id(one.envelope_id, self._key)

    def _record(self, message: int, row: Row, words: list[tuple[Word, Fate | None]]) -> None:
        news = reports.record(self._tx, row.id, [word for word, _ in words], message=message, now=self._now)
        self.news += [(message, row, word) for word in news]
        for word, fate in words:
            is_hard = fate is not None and word.status == "bounced" and fate.status in suppression.HARD
            if is_hard and word in news and row.account in self._suppressing:
                reason = " ".join(str(part) for part in (word.code, word.enhanced, word.reply) if part)
                self.suppressed += suppression.add(
                    self._tx, [word.address], now=self._now, reason=reason, by="bounce", report=message
                )


def _proven(one: Report, by_id: dict[str, list[int]], envelope: int | None) -> list[int]:
    """Give the rows that a message proves to know, by its strongest proof."""
    if one.kind in {Kind.AUTOMATIC, Kind.ANSWER}:
        known = one.answers
    elif envelope is not None:
        return [envelope]
    else:
        # The field of the letter that came back; else, as Gmail and Exchange write them, the report's own In-Reply-To.
        # Of what was sent on, that is its Resent-Message-ID: the rest of it may have been a letter of ours, too.
        returned = next((message_id for message_id in one.returned if message_id in by_id), None)
        if returned is not None:
            return by_id[returned]
        known = one.answers
    return next((by_id[message_id] for message_id in known if message_id in by_id), [])


def _words(one: Report, row: Row, fixed: Sequence[str] | None) -> Iterator[tuple[Word, Fate | None]]:
    """Turn what a message says into words on the row's recipients. fixed: it is about these, whomever it names."""
    match one.kind:
        case Kind.REPORT | Kind.RECEIPT | Kind.COMPLAINT:
            for fate in one.fates:
                for to in _recipients(fate.recipients, row) if fixed is None else fixed:
                    yield _word(to, fate), fate
        case Kind.UNCLEAR:  # it came to an address that only a bounce comes to, and no relay says that all is well
            yield from ((Word(address=to, status="bounced", reply=""), None) for to in fixed or ())
        case Kind.AUTOMATIC | Kind.ANSWER:
            status = "replied" if one.kind is Kind.ANSWER else "delivered"  # a machine answers what has arrived
            is_ours = address.folded(one.sender) in row.senders
            found = _recipients((one.sender,), row, or_sole=not is_ours) if fixed is None else fixed
            yield from ((Word(address=to, status=status), None) for to in found)
        case Kind.OTHER:
            pass


def _recipients(named: Sequence[str], row: Row, *, or_sole: bool = True) -> list[str]:
    """Give the recipient that is named; else the only one, whose mail may go on to another address."""
    for one in named:
        if (found := row.recipients.get(address.folded(one))) is not None:
            return [found]
    return list(row.recipients.values()) if or_sole and len(row.recipients) == 1 else []


def _word(to: str, fate: Fate) -> Word:
    return Word(
        address=to,
        status=STATUSES[fate.action],
        code=fate.code,
        enhanced=fate.status or None,
        reply=fate.diagnostic,
    )
