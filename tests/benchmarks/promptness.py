"""From INSERT to the first octet: how long a row waits in a running daemon, idle, while a poll runs, and while what came is indexed.

The daemon is `postroom run`; rows come one by one from this process, by the standard library's sqlite3, each after the verdict on the
one before and, in an idle daemon, a pause of any length. Time begins when INSERT has returned, and is committed; how long it took
itself, with others writing, stands beside it. The relay is here, too, and notes when MAIL reached it.
"""

import random
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from daemon.demo import smtp_server
from tests.benchmarks import letters, resident, senders, sendings
from tests.benchmarks.figures import Series
from tests.benchmarks.ground import Ground, Maildrop
from tests.benchmarks.sendings import Stage, series
from tests.e2e import daemon_process
from tests.servers import dovecot

LETTERS: Final = 5000
IDLE_ROWS: Final = 30
IDLE_PAUSE_SECONDS: Final = 0.3  # at most: nothing of the daemon's own pace is to show
PATIENCE_SECONDS: Final = 60.0
PROMISE_SECONDS: Final = 0.150
PROMISE: Final = "what we promise"
IDLE, POLLING, INDEXING = "idle", "while a poll of 5,000 runs", "while those are indexed"
NOTHING: Final = {"messages": 1, "octets": senders.OCTETS, "cpu": 0.0}


class Clocked(smtp_server.SmtpServer):
    """A relay that notes when each MAIL came."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.arrived = threading.Event()
        super().__init__()

    def _mail(self, session: Any, argument: str) -> None:
        self.came.append(time.monotonic())
        super()._mail(session, argument)


def from_insert_to_octet(stage: Stage) -> Iterator[Series]:
    """One row after another, in every state of the daemon."""
    series_of = {
        state: series(key, f"INSERT to first octet, {state}", PROMISE, "ms")
        for key, state in (("l", IDLE), ("l polling", POLLING), ("l indexing", INDEXING))
    }
    with Ground() as ground:
        maildrop = ground.maildrop("prompt", ground.write("small", letters.small(LETTERS)))
        for number in range(stage.rounds):
            for state, drops in _round(stage, maildrop).items():
                one = series_of[state]
                one.note(PROMISE, {**NOTHING, "wall": PROMISE_SECONDS})
                if not drops:
                    one.note("postroom, median", {"error": f"no row was dropped {state}"})
                    continue
                inserts, waits = zip(*drops, strict=True)
                median, late = statistics.median(waits), sorted(waits)[int(len(waits) * 0.95)]
                one.note("postroom, median", {**NOTHING, "wall": median, "rows": len(waits)})
                one.note("postroom, 95 of 100", {**NOTHING, "wall": late})
                one.note("INSERT itself, median", {**NOTHING, "wall": statistics.median(inserts)})
                shown = f"median {median * 1000:.0f} ms, 95 of 100 below {late * 1000:.0f} ms, {len(waits)} rows"
                print(f"(l) round {number + 1}: {state}: {shown}", file=sys.stderr)
    yield from series_of.values()


def _round(stage: Stage, maildrop: Maildrop) -> dict[str, list[tuple[float, float]]]:
    """Start a daemon on an empty database, whose first poll begins at once; drop rows until it has long been idle."""
    directory = stage.fresh("prompt")
    drops: dict[str, list[tuple[float, float]]] = {IDLE: [], POLLING: [], INDEXING: []}
    with Clocked() as relay:
        known = daemon_process.environment("", **resident.variables(directory, {"bench": maildrop}))
        known |= sendings.variables(directory, relay.port)
        for name in [name for name in known if name.startswith("POSTROOM_ACCOUNTS__HOME__")]:
            del known[name]
        with daemon_process.running(known, directory), closing(_opened(directory / "postroom.db")) as database:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(drops[IDLE]) < IDLE_ROWS and time.monotonic() < deadline:
                state = _state(database)
                if state is None:
                    time.sleep(0.01)
                    continue
                drop = _drop(database, relay)
                if _state(database) == state:
                    drops[state].append(drop)
                if state == IDLE:
                    time.sleep(random.uniform(0, IDLE_PAUSE_SECONDS))
    return drops


def _opened(file: Path) -> sqlite3.Connection:
    """Open the daemon's database as soon as it is made."""
    assert dovecot.PATH is not None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(sqlite3.OperationalError):
            database = sqlite3.connect(f"file:{file}?mode=rw", timeout=30, uri=True, isolation_level=None)
            database.execute("SELECT count(*) FROM polls").fetchone()
            return database
        time.sleep(0.02)
    raise resident.Failed("the daemon has made no database")


def _state(database: sqlite3.Connection) -> str | None:
    """Tell what the daemon is at; None before its first poll."""
    (runs,) = database.execute("SELECT count(*) FROM polls WHERE outcome = 'running'").fetchone()
    if runs:
        return POLLING
    if database.execute("SELECT 1 FROM messages WHERE parser_version = 0 LIMIT 1").fetchone():
        return INDEXING
    (messages,) = database.execute("SELECT count(*) FROM messages").fetchone()
    return IDLE if messages else None


def _drop(database: sqlite3.Connection, relay: Clocked) -> tuple[float, float]:
    """Drop a row; return the seconds that took, and those until its MAIL came, once its verdict is there."""
    came, began = len(relay.came), time.monotonic()
    (row,) = database.execute(
        "INSERT INTO outbox (recipients, subject, body) VALUES (?, ?, ?) RETURNING id",
        (senders.RECIPIENT, "x", senders.BODY),
    ).fetchone()
    dropped = time.monotonic()
    while database.execute("SELECT sent_at FROM outbox WHERE id = ?", (row,)).fetchone()[0] is None:
        if time.monotonic() - dropped > PATIENCE_SECONDS:
            raise resident.Failed("a row was not sent")
        time.sleep(0.002)
    return dropped - began, max(relay.came[came] - dropped, 0.0)
