"""Messages per second of the indexer on a fresh SQLite archive, and of its parser alone.

    python -m tests.benchmarks.bench_index [MESSAGES]

CPU seconds are those of all threads; wall seconds tell how much runs at once. Prints Markdown; fails nothing.
"""

import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from typing import Final

from daemon.jobs import index
from daemon.mail import parse
from daemon.store import archive, upgrade
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests import corpus

NOW: Final = datetime(2026, 11, 24, tzinfo=UTC)
ROUNDS: Final = 3
STORED_AT_ONCE: Final = 200


def measure(contents: list[bytes]) -> tuple[float, float]:
    """Archive and index the messages; give the wall and CPU seconds of the indexing."""
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/archive.db")
        upgrade.upgrade(database)
        for start in range(0, len(contents), STORED_AT_ONCE):
            incoming = [
                archive.Incoming(uidl=f"u{start}.{number}", spool=Spool.of(content))
                for number, content in enumerate(contents[start : start + STORED_AT_ONCE])
            ]
            with database.transaction() as tx:
                archive.add(tx, "home", incoming, NOW)
        wall, cpu = time.perf_counter(), time.process_time()
        index.index(database, now=lambda: NOW, stop=threading.Event(), progress=lambda: None)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        database.dispose()
    return spent


def main() -> None:
    contents = list(corpus.small(int(next(iter(sys.argv[1:]), "5000"))))
    print("| | wall, messages/s | CPU, messages/s |\n|---|---|---|")
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        for content in contents:
            parse.parse(content)
        parsing = time.perf_counter() - wall, time.process_time() - cpu
        for name, spent in (("parse", parsing), ("index", measure(contents))):
            print(f"| {name} | {' | '.join(f'{len(contents) / seconds:,.0f}' for seconds in spent)} |", flush=True)


if __name__ == "__main__":
    main()
