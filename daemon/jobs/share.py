"""Store attachments that repeat once, behind everything else: a pass over the attachments, each message in its transaction.

Whatever attachment an earlier one is equal to is looked for in the octets of its message, and these are cut anew. A message that
can't be read stays as it is. A run goes on where the last one was stopped or killed.
"""

from collections.abc import Callable
from typing import Final

from daemon import errors
from daemon.jobs.context import Context
from daemon.mail import segments
from daemon.mail.source import Source
from daemon.store import repacking, sharing, sources
from daemon.store.packing import ZSTD
from daemon.store.repacking import Rewritten
from daemon.store.sharing import SHARING

PAUSE_SECONDS: Final = 0.01  # behind each transaction: the next writer's turn


def share(context: Context, *, is_over: Callable[[], bool], report: Callable[[Rewritten], None]) -> None:
    """Go on with the pass until it is done, the house stops, or it is over. report: told what each transaction did.

    Where octets are not compressed they are to be read by plain SQL, and nothing is shared: the pass is to begin again then.
    """
    target = ZSTD if context.packer.is_on else "none"
    with context.database.reading() as conn:
        last = sharing.last_attachment(conn)
        done = repacking.done(conn, SHARING, target)
    if not context.packer.is_on and done < last:
        _note(context, target, last)
    while context.packer.is_on and done < last and not is_over() and not context.stop.is_set():
        with context.database.reading() as conn:
            page = sharing.page(conn, done)
        seen = set[int]()
        for repeated in page.found:
            for message in repeated.messages:
                if message not in seen:
                    seen.add(message)
                    report(_share(context, message))
                    context.pulse()
                    context.stop.wait(PAUSE_SECONDS)
            if context.stop.is_set() or is_over():
                _note(context, target, repeated.id)
                return
        done = last if page.last is None else page.last
        _note(context, target, done)


def _note(context: Context, target: str, done: int) -> None:
    with context.database.transaction() as tx:
        repacking.note(tx, SHARING, target, done, context.clock())


def _share(context: Context, message: int) -> Rewritten:
    """Cut a message so that it shares what it has in common with others."""
    try:
        with context.database.reading() as conn:
            now = sharing.cut(conn, message)
            raw = Source(now.octets, lambda number: sources.part(conn, message, number))
            pieces = sharing.pieces(now, segments.of_parts(raw, sharing.repeated_parts(conn, message)))
        if sharing.Cut.of(pieces) == now:
            return Rewritten(0, 0, 0)
        with context.database.transaction() as tx:
            return sharing.recut(tx, context.packer, message, now, pieces)
    except (errors.NotFound, errors.OctetsBroken, errors.RowRefused):
        return Rewritten(0, 0, 0)
