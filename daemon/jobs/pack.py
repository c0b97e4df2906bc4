"""Make what is stored smaller, behind everything else: train a dictionary, rewrite what is not stored as it is set, share what repeats.

Polls compress what comes in; this is for what came before there was a dictionary, or under another setting. Each transaction is
short and whole, each run goes on where the last one was stopped or killed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from daemon import trace
from daemon.jobs import share
from daemon.jobs.context import Context
from daemon.store import archive, dictionaries, repacking, zstd
from daemon.store.repacking import Part, Rewritten

FIRST_LETTERS: Final = 1000  # small letters until the first dictionary: with fewer it knows some of them and no others
GROWTH: Final = 10  # times as many letters until the next one, lest each archive has dozens
SAMPLES: Final = 4000  # letters to train on: beyond them it takes longer and gets no better
SAMPLE_OCTETS: Final = 16 * 1024 * 1024  # of them together, in memory for a second
DICTIONARY_OCTETS: Final = 64 * 1024  # half of it costs a tenth more room, twice of it gains nothing
PARTS_A_TRANSACTION: Final = 200  # small ones: some 10 ms, so that other writers hardly wait
OCTETS_A_TRANSACTION: Final = 8 * 1024 * 1024  # of large ones: some 30 ms
PAUSE_SECONDS: Final = 0.01  # behind each transaction: the next writer's turn


@dataclass(slots=True, kw_only=True)
class Packing:
    """What a run did. before, after: octets as they are stored, of the parts that were rewritten.  is_trained: anew."""

    parts: int = 0
    before: int = 0
    after: int = 0
    is_trained: bool = False

    def count(self, done: Rewritten) -> None:
        """Add what a transaction did."""
        self.parts += done.parts
        self.before += done.before
        self.after += done.after


def pack(context: Context, *, seconds: float = float("inf")) -> Packing:
    """Train if it is time, rewrite and share until nothing is left, the house stops, or so many seconds are over."""
    began, packing = time.monotonic(), Packing()
    packer = context.packer
    with context.database.reading() as conn:
        packer.learn(conn)
        last = archive.last_id(conn)
        is_packed = repacking.done(conn, repacking.COMPRESSING, packer.target) >= last

    def is_over() -> bool:
        return time.monotonic() - began >= seconds

    if not is_packed:
        if packer.is_on and last >= FIRST_LETTERS:
            packing.is_trained = _train(context)
        _rewrite(context, last, packing, is_over=is_over)
    share.share(context, is_over=is_over, report=packing.count)
    if packing.parts:
        trace.packed(parts=packing.parts, before=packing.before, after=packing.after, seconds=time.monotonic() - began)
    return packing


def _train(context: Context) -> bool:
    """Train a dictionary if there are letters enough for the first, or so many more than for the last."""
    with context.database.reading() as conn:
        newest, letters = dictionaries.latest(conn), repacking.small_letters(conn)
        if letters < (FIRST_LETTERS if newest is None else newest.letters * GROWTH):
            return False
        samples, octets = [], 0
        for one in repacking.samples(conn, letters, SAMPLES):
            samples.append(one)
            octets += len(one)
            if octets >= SAMPLE_OCTETS:
                break
    content = zstd.trained(samples, min(DICTIONARY_OCTETS, octets // 10))
    context.pulse()
    if content is None:
        return False
    with context.database.transaction() as tx:
        if dictionaries.latest(tx) != newest:  # another daemon was quicker
            return False
        dictionaries.add(tx, content, letters=letters, now=context.clock())
        context.packer.learn(tx)
    trace.dictionary_trained(letters=letters, octets=len(content))
    return True


def _batches(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Cut them into what one transaction rewrites."""
    batch: list[Part] = []
    octets = 0
    for one in parts:
        if len(batch) == PARTS_A_TRANSACTION or (batch and octets + one.octets > OCTETS_A_TRANSACTION):
            yield batch
            batch, octets = [], 0
        batch.append(one)
        octets += one.octets
    if batch:
        yield batch


def _rewrite(context: Context, until: int, packing: Packing, *, is_over: Callable[[], bool]) -> None:
    """Go through the messages that no pass of this target has seen, up to the id `until`."""
    packer, name = context.packer, repacking.COMPRESSING
    while not is_over() and not context.stop.is_set():
        with context.database.reading() as conn:
            after = repacking.done(conn, name, packer.target)
            page = repacking.page(conn, packer, after, until)
        for some in _batches(page.parts):
            with context.database.transaction() as tx:
                rewritten = repacking.rewrite(tx, packer, some)
                if some[-1] != page.parts[-1]:
                    repacking.note(tx, name, packer.target, some[-1].message - 1, None)
            packing.count(rewritten)
            context.pulse()
            if context.stop.wait(PAUSE_SECONDS) or is_over():
                return
        with context.database.transaction() as tx:
            last = until if page.last is None else page.last
            repacking.note(tx, name, packer.target, last, context.clock() if page.last is None else None)
        if page.last is None:
            return
