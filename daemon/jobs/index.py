"""Turn archived octets into columns: read a batch, parse it outside any transaction, write it in one short one.

A thread writes while the next batch is parsed: the database's work, half of all, needs no lock of Python's.

Never in the way of a poll: what is archived is safe whether it is indexed or not, and a run that is stopped or killed goes
on where it was; so does a `reindex`, which writes down how far it came with each batch. Both may run at once, and several of each:
whoever comes second finds what he would write. A message that the parser can't read becomes a row that says so; all others go on. StoreError passes through.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from daemon import errors, trace
from daemon.documents import kinds
from daemon.mail import parse
from daemon.mail.defects import Defect
from daemon.mail.message import Parsed
from daemon.mail.source import Source
from daemon.store import archive, extractions, reports, sources, works
from daemon.store.database import Database, Transaction

MESSAGES_A_TRANSACTION: Final = 200  # written at once: some 20 ms, so that other writers hardly wait
TRANSACTIONS_LISTED: Final = 10  # looked up at once: while one batch is written, the next is parsed
CHARACTERS_A_TRANSACTION: Final = 2_000_000  # of text, which is most of the work of writing: some 200 ms
OCTETS_A_TRANSACTION: Final = 33_554_432  # of sources; each transaction costs as much as writing twenty messages
OCTETS_READ: Final = 8_388_608  # of sources held in memory at once
PART_OCTETS: Final = 4 * 1024 * 1024  # read at once of a message that is never held whole
OCTETS_WHOLE: Final = (
    4_194_304  # of a message that is held whole, one part of the archive; a larger one is read in parts
)
REINDEX: Final = "reindex"  # as it stands in `works`
_REFUSED: Final = Parsed(defects=(Defect.PARSER_FAULT.value,))  # columns that the database would not take


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What a run did. is_complete: False if it was stopped before its end."""

    messages: int
    with_defects: int
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """What both runs are given. mark: writes down the last id that is done."""

    database: Database
    now: Callable[[], datetime]
    stop: threading.Event
    progress: Callable[[], None]
    limit_per_tx: int
    mark: Callable[[Transaction, int], None] = lambda _tx, _done: None


def index(
    database: Database,
    *,
    now: Callable[[], datetime],
    stop: threading.Event,
    progress: Callable[[], None],
    limit_per_tx: int = MESSAGES_A_TRANSACTION,
) -> Indexed:
    """Index what no parser of this version has seen, until nothing is left or `stop` is set."""
    return _run(
        _Surroundings(database=database, now=now, stop=stop, progress=progress, limit_per_tx=limit_per_tx),
        lambda _done: _waiting(database, limit_per_tx * TRANSACTIONS_LISTED),
    )


def reindex(
    database: Database,
    *,
    now: Callable[[], datetime],
    stop: threading.Event,
    progress: Callable[[], None],
    report: Callable[[int, int], None] | None = None,
    limit_per_tx: int = MESSAGES_A_TRANSACTION,
) -> Indexed:
    """Index every message anew, the oldest first; each is found by its old columns until it has its new ones.

    One that did not come to its end is taken up where it was, unless another parser was at it. report: told (messages done, of
    how many), those of the runs before counted.
    """
    with database.transaction() as tx:
        begin = works.begin(tx, REINDEX, parse.PARSER_VERSION, now())
        done, total = archive.count(tx, upto=begin) if begin else 0, archive.count(tx)

    def told(done: int, total: int) -> None:
        if report is not None:
            report(done, max(done, total))

    def mark(tx: Transaction, last: int) -> None:
        works.mark(tx, REINDEX, last)

    around = _Surroundings(
        database=database, now=now, stop=stop, progress=progress, limit_per_tx=limit_per_tx, mark=mark
    )
    told(done, total)
    result = _run(
        around,
        lambda last: _following(database, last, limit_per_tx * TRANSACTIONS_LISTED),
        begin=begin,
        report=lambda messages: told(done + messages, total),
    )
    if result.is_complete:
        with database.transaction() as tx:
            works.end(tx, REINDEX)
    return result


def _waiting(database: Database, limit: int) -> list[tuple[int, int]]:
    with database.reading() as conn:
        return archive.unindexed(conn, parse.PARSER_VERSION, limit)


def _following(database: Database, done: int, limit: int) -> list[tuple[int, int]]:
    with database.reading() as conn:
        return archive.ids_after(conn, done, limit)


def _run(
    around: _Surroundings,
    more: Callable[[int], list[tuple[int, int]]],
    *,
    begin: int = 0,
    report: Callable[[int], None] = lambda _messages: None,
) -> Indexed:
    """Index batch after batch. more: the last id done, at first `begin` -> (id, octets) of what comes next, empty at the end."""
    began = time.monotonic()
    messages = with_defects = 0
    done = begin
    with ThreadPoolExecutor(1, "index-writer") as writer:
        while not around.stop.is_set() and (listed := more(done)):
            writing: Future[None] | None = None
            for parsed in _parsed(around, listed):
                if writing is not None:
                    writing.result()
                done = parsed[-1][0]
                writing = writer.submit(_write, around, parsed, done)
                messages += len(parsed)
                with_defects += _tell(parsed)
                around.progress()
                report(messages)
            if not around.stop.is_set():
                done = listed[-1][0]  # which may be pruned by now
            if writing is not None:
                writing.result()  # before the next are listed, or these would be among them
    if messages:
        trace.indexed(messages=messages, with_defects=with_defects, seconds=time.monotonic() - began)
    return Indexed(messages=messages, with_defects=with_defects, is_complete=not around.stop.is_set())


def _parsed(around: _Surroundings, listed: list[tuple[int, int]]) -> Iterator[list[tuple[int, Parsed]]]:
    """Read and parse (id, octets), and give what is to be written at once. A message pruned meanwhile is left out."""
    parsed: list[tuple[int, Parsed]] = []
    characters = read = 0
    for some in _read_at_once(listed, around.limit_per_tx):
        if around.stop.is_set():
            break
        with around.database.reading() as conn:
            whole = sources.several(conn, [message for message, octets in some if octets <= OCTETS_WHOLE])
        for message, octets in some:
            with contextlib.suppress(errors.NotFound):
                raw = whole.pop(message, None) if octets <= OCTETS_WHOLE else _in_parts(around, message)
                if raw is not None:
                    parsed.append((message, parse.parse(raw)))
                    characters += len(parsed[-1][1].body_text)
                    read += octets
            around.progress()
            if (
                len(parsed) == around.limit_per_tx
                or characters > CHARACTERS_A_TRANSACTION
                or read > OCTETS_A_TRANSACTION
            ):
                yield parsed
                parsed, characters, read = [], 0, 0
    if parsed:
        yield parsed


def _read_at_once(listed: list[tuple[int, int]], limit: int) -> Iterator[list[tuple[int, int]]]:
    """Cut a list of (id, octets) into pieces of at most `limit`, and so that what is held of each fits into memory."""
    batch: list[tuple[int, int]] = []
    held = 0
    for message, octets in listed:
        needed = octets if octets <= OCTETS_WHOLE else 0  # a large one is read when its turn comes
        if len(batch) == limit or (batch and held + needed > OCTETS_READ):
            yield batch
            batch, held = [], 0
        batch.append((message, octets))
        held += needed
    if batch:
        yield batch


def _in_parts(around: _Surroundings, message: int) -> Source:
    """Give a large message as something that reads its parts, each in a transaction of its own."""

    def read(part: int) -> bytes:
        around.progress()
        with around.database.reading() as conn:
            try:
                return sources.span(conn, message, part * PART_OCTETS, part * PART_OCTETS + octets[part])
            except errors.OctetsBroken:  # `db verify` names it; what is left is worth finding
                return bytes(octets[part])

    with around.database.reading() as conn:
        whole = sum(sources.part_octets(conn, message))
    # Parts of our own: where those in the database begin may change between the reads.
    octets = [min(PART_OCTETS, whole - begin) for begin in range(0, whole, PART_OCTETS)]
    return Source(octets, read)


def _write(around: _Surroundings, parsed: list[tuple[int, Parsed]], done: int) -> None:
    """Write a batch; if the database refuses it, one by one, so that a row it can't take stops no other.

    done: the last id of the batch, which is marked in the same transaction.
    """
    try:
        with around.database.transaction() as tx:
            archive.write_all_parsed(tx, parsed, parse.PARSER_VERSION, around.now())
            reports.note(tx, parsed)
            extractions.note(tx, [message for message, one in parsed if _has_documents(one)])
            around.mark(tx, done)
    except errors.RowRefused:
        if len(parsed) > 1:
            for one in parsed:
                _write(around, [one], one[0])
        elif parsed[0][1] != _REFUSED:
            _write(around, [(parsed[0][0], _REFUSED)], done)
        else:
            raise


def _has_documents(parsed: Parsed) -> bool:
    return any(kinds.kind_of(one.filename, one.content_type) for one in parsed.attachments)


def _tell(parsed: list[tuple[int, Parsed]]) -> int:
    """Name the defects of those that have some, and count them."""
    broken = [(message, one) for message, one in parsed if one.defects]
    for message, one in broken:
        trace.message_indexed_with_defects(message=message, defects=one.defects)
    return len(broken)
