"""Several daemons on one PostgreSQL drain one outbox through one relay: every row has its verdict, nobody gets a letter twice.

    python -m tests.torture nodes [--daemons 2,4] [--rows 5000] [--connections 2]

Each daemon is `postroom run` in a process of its own. Half of the rows come at once when all are up, the rest while they work.
They send from different addresses, so that the relay can tell who sent what; one that sent nothing is a fault too.

Prints figures; the exit code is 1 if a promise is broken.
"""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import text

from daemon.demo.smtp_server import SmtpServer
from daemon.store import upgrade
from daemon.store.database import Database
from tests.e2e import daemon_process
from tests.servers import child, postgres

PATIENCE_SECONDS: Final = 90.0  # without any progress; four daemons take their time to start on two busy cores
SLOWLY_SECONDS: Final = 0.001  # that the relay takes over a letter, so that none is done before the others look
PORTION: Final = 100  # rows that come in one transaction while the daemons work
INSERT: Final = (
    "INSERT INTO outbox (recipients, subject, body)"
    " SELECT 'r' || n || '@example.net', 'Number ' || n, repeat('Some text. ', 20) FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n"
)


@dataclass(slots=True, kw_only=True)
class Figures:
    """What was found. sent_by: daemon's address -> letters.  broken: promises that were not kept, a sentence each."""

    rows: int
    sent_by: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One paragraph."""
        shares = ", ".join(str(count) for _who, count in sorted(self.sent_by.items()))
        return f"{len(self.sent_by)} daemons sent {self.rows} rows ({shares}) in {self.seconds:.1f} s. " + (
            " ".join(self.broken) or "No letter twice, every verdict there."
        )


def drain_together(url: str, folder: Path, *, daemons: int, rows: int, connections: int = 2) -> Figures:
    """Let so many daemons drain so many rows of a migrated, empty database."""
    figures, database = Figures(rows=rows), Database(url)
    account = "POSTROOM_ACCOUNTS__HOME__"
    try:
        with SmtpServer() as relay, ExitStack() as running:
            relay.on_letter = lambda _letter: time.sleep(SLOWLY_SECONDS)
            for number in range(daemons):
                more = {f"{account}ADDRESS": f"node{number}@example.org"}
                more |= {
                    f"{account}SMTP__MAX_CONNECTIONS": str(connections),
                    "POSTROOM_LOG_LEVEL": "warning",
                    "POSTROOM_TRACE": "off",
                }
                known = daemon_process.environment(url, smtp_port=relay.port) | more
                running.enter_context(daemon_process.running(known, folder))
            _wait_for(database, daemons)
            began = time.monotonic()
            _insert(database, 1, rows // 2)
            for first in range(rows // 2 + 1, rows + 1, PORTION):
                _insert(database, first, min(first + PORTION - 1, rows))
            _wait(database, relay)
            figures.seconds = time.monotonic() - began
        figures.sent_by = Counter(letter.sender for letter in relay.received)
        _verify(figures, database, relay, daemons)
    finally:
        database.dispose()
    return figures


def _insert(database: Database, first: int, last: int) -> None:
    with database.transaction() as tx:
        tx.execute(text(INSERT), {"first": first, "last": last})


def _wait_for(database: Database, daemons: int) -> None:
    """Wait until so many daemons are at work: one that is up a second before the others would do all of it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with database.reading() as conn:
            if conn.execute(text("SELECT count(*) FROM daemons")).scalar_one() == daemons:
                return
        time.sleep(0.1)


def _wait(database: Database, relay: SmtpServer) -> None:
    """Wait until every row has come to an end, or nothing moves any more."""
    had, until = -1, 0.0
    while time.monotonic() < until or len(relay.received) != had:
        if len(relay.received) != had:
            had, until = len(relay.received), time.monotonic() + PATIENCE_SECONDS
        with database.reading() as conn:
            if not conn.execute(text("SELECT count(*) FROM outbox WHERE sent_at IS NULL")).scalar_one():
                return
        time.sleep(0.1)


def _verify(figures: Figures, database: Database, relay: SmtpServer, daemons: int) -> None:
    got = Counter(to for letter in relay.received for to in letter.recipients)
    if again := [to for to, count in got.items() if count > 1]:
        figures.broken.append(f"{len(again)} recipients got their letter more than once, such as {again[:3]}.")
    if missing := figures.rows - len(got):
        figures.broken.append(f"{missing} recipients got nothing.")
    with database.reading() as conn:
        verdicts = conn.execute(
            text(
                "SELECT o.status, r.status AS to_status, o.attempts, r.attempts AS tries, count(*) AS rows FROM outbox o"
                " LEFT JOIN outbox_recipients r ON r.outbox_id = o.id GROUP BY 1, 2, 3, 4"
            )
        ).all()
        attempts = conn.execute(text("SELECT outcome, count(*) AS rows FROM outbox_attempts GROUP BY 1")).all()
    if [("sent", "sent", 1, 1, figures.rows)] != [tuple(row) for row in verdicts]:
        figures.broken.append(f"The verdicts are {verdicts}.")
    if [("sent", figures.rows)] != [tuple(row) for row in attempts]:
        figures.broken.append(f"The attempts are {attempts}.")
    if len(figures.sent_by) != daemons:
        figures.broken.append(f"Only {len(figures.sent_by)} of {daemons} daemons have sent anything.")


def main(words: Sequence[str]) -> int:
    """Run as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="nodes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--daemons", default="2,4", help="how many, one run for each number")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=2, help="of each daemon")
    asked = parser.parse_args(words)
    if postgres.binaries() is None:
        print("PostgreSQL is not installed", file=sys.stderr)
        return 1
    folder, cluster = child.directory("nodes"), postgres.Cluster()
    is_broken = False
    try:
        cluster.start()
        for number in asked.daemons.split(","):
            cluster.sql(f"CREATE DATABASE nodes_{number}")
            database = Database(cluster.url(f"nodes_{number}"))
            upgrade.upgrade(database)
            database.dispose()
            figures = drain_together(
                cluster.url(f"nodes_{number}"),
                folder,
                daemons=int(number),
                rows=asked.rows,
                connections=asked.connections,
            )
            print(figures)
            is_broken |= bool(figures.broken)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    return is_broken
