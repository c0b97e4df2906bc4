"""Octets of a database for one octet of mail: raw, derived columns and search index together, on SQLite.

    python -m tests.benchmarks.bench_size [--letters 4000] [--attachments 100]

The archive is filled, indexed and packed as a daemon does it, from empty, and again with letters that come when there is a
dictionary. Prints Markdown, with what stands in the file; fails nothing.
"""

import argparse
import tempfile
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from daemon.jobs import index, pack
from daemon.jobs.context import Context
from daemon.store import archive, sizes, upgrade
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests import corpus
from tests.benchmarks import letters
from tests.doubles import house

STORED_AT_ONCE: Final = 200
TARGETS: Final = {"small": 1.6, "attachments": 0.85}  # issue 5


class Ratio(NamedTuple):
    """Octets for one of mail. database: of the whole file.  used: without what is free in it.  stored: of the messages' own octets.
    text: of body_text, as plain UTF-8."""

    database: float
    used: float
    stored: float
    text: float


def measured(contents: Iterable[bytes], *, settled: bool = False) -> Ratio:
    """Fill an archive, index and pack it, and look at its size. settled: it has a dictionary when the first letter comes."""
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/archive.db")
        upgrade.upgrade(database)
        context = house.context(database, house.Clock())
        whole = iter(contents)
        if settled:
            _work(context, islice(whole, pack.FIRST_LETTERS))
        _work(context, whole)
        with database.reading() as conn:
            found = sizes.sizes(conn)
            text = conn.exec_driver_sql("SELECT sum(length(CAST(body_text AS BLOB))) FROM messages").scalar() or 0
        database.dispose()
    raw = found.raw_octets
    return Ratio(
        found.database_octets / raw,
        (found.database_octets - found.unused_octets) / raw,
        found.stored_octets / raw,
        text / raw,
    )


def _work(context: Context, contents: Iterator[bytes]) -> None:
    """Archive, index and pack, as a visit and what follows it do."""
    number = 0
    while some := list(islice(contents, STORED_AT_ONCE)):
        incoming = [archive.Incoming(uidl=f"u{number + n}", spool=Spool.of(one)) for n, one in enumerate(some)]
        number += len(some)
        with context.database.transaction() as tx:
            context.packer.learn(tx)
            archive.add(tx, "home", incoming, house.NOW, context.packer)
    index.index(context.database, now=context.clock, stop=threading.Event(), progress=lambda: None)
    pack.pack(context)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--letters", type=int, default=4000)
    asked.add_argument("--attachments", type=int, default=100)
    given = asked.parse_args()
    print("| mail | database | used | octets stored | body_text | target |")
    print("|---|---|---|---|---|---|")
    for name, kind, contents, settled in (
        ("small text (tests/corpus), from empty", "small", corpus.small(given.letters), False),
        ("small text (tests/corpus), later", "small", corpus.small(given.letters), True),
        ("small (tests/benchmarks), later", "small", letters.small(given.letters), True),
        ("with attachments", "attachments", letters.mixed(given.attachments), False),
        ("one of 1 MB that comes 20 times", "attachments", letters.repeated(20), False),
    ):
        ratio = measured(contents, settled=settled)
        print(f"| {name} | {' | '.join(f'{one:.3f}' for one in ratio)} | {TARGETS[kind]} |", flush=True)


if __name__ == "__main__":
    main()
