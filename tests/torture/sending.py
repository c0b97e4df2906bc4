"""Kill a drain over and over, at random instants; then finish it and count: everybody got the letter, twice only after a doubt.

    python -m tests.torture send [--kills 200] [--rows 2000] [--seed 1]

The relay lives here and survives the kills; the database is SQLite, the victim `postroom send`. Each kill falls at a
random instant of a run, counted from its first claim; the span that instants are drawn from follows the machine. After each
kill the table is put right by a sweep, as the next run would, and asked which rows are in doubt: only those may arrive twice,
once more for each time, and of rows with on_doubt=hold none at all.

Prints figures; the exit code is 1 if a promise is broken.
"""

import argparse
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from daemon.demo.smtp_server import Received, SmtpServer
from daemon.jobs.context import Context
from daemon.jobs.step import DrainStep
from daemon.jobs.sweep import sweep
from daemon.store import upgrade
from daemon.store.database import Database
from daemon.store.lease import Owner
from tests.doubles import house
from tests.e2e import daemon_process
from tests.servers import child
from tests.torture.campaign import LONGER, SHORTER
from tests.torture.victim import Victim

FIRST_STEP: Final = next(iter(DrainStep)).value
FIRST_SPAN_SECONDS: Final = 0.2
MOST_ROWS: Final = 40  # that wait for one run; as many as are claimed at a time, and some
FINISHING_RUNS: Final = 20
SLOWEST_SECONDS: Final = 0.004  # that the relay takes over a letter before it answers, so that kills fall there too
_STEP: Final = re.compile(r"drain\.[a-z_]+")


@dataclass(slots=True, kw_only=True)
class Figures:
    """What a campaign did, and what it found. broken: promises that were not kept, a sentence each."""

    kills: int = 0
    undisturbed: int = 0  # runs that were done before their kill came
    rows: int = 0
    recipients: int = 0
    twice: int = 0  # recipients that got the letter more than once
    doubts: int = 0  # rows found in doubt, summed over the kills
    most_doubts: int = 0  # after one kill
    held: int = 0  # rows that stay in doubt, as they asked
    held_missing: int = 0  # recipients of those that have no letter
    killed_at: Counter[str] = field(default_factory=Counter)  # by the last step the run had named
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Markdown."""
        steps = "\n".join(f"| {step} | {count} |" for step, count in self.killed_at.most_common())
        return (
            f"{self.kills} kills (and {self.undisturbed} runs that were faster) in {self.seconds:.0f} s; {self.rows} rows for "
            f"{self.recipients} recipients, {self.twice} of which got theirs again; {self.doubts} rows were found in doubt, "
            f"{self.most_doubts} at most after one kill; {self.held} were held there, for {self.held_missing} recipients rightly.\n\n"
            f"| killed after | times |\n|---|---|\n{steps}\n\n" + ("\n".join(self.broken) or "Every promise was kept.")
        )


class Campaign:
    """One relay, one outbox, and a process to kill."""

    def __init__(self, folder: Path, relay: SmtpServer, *, seed: int) -> None:
        """`folder`: for the database and the victim's words."""
        self._relay, self._random = relay, random.Random(seed)
        relay.on_letter = self._take_time
        self._log = folder / "victim.log"
        url = f"sqlite:///{folder}/sending.db"
        self._environment = daemon_process.environment(url, smtp_port=relay.port, POSTROOM_LOG_LEVEL="debug")
        self._environment["POSTROOM_TRACE"] = "failures"
        self.database = Database(url)
        upgrade.upgrade(self.database)
        self._context = Context(database=self.database, owner=str(Owner.current()), backoff=house.BACKOFF)
        self._doubts: Counter[int] = Counter()  # row -> how often it was shown as in doubt
        self.figures = Figures()

    def run(self, *, kills: int, rows: int) -> Figures:
        """Kill so many times while so many rows drain (more, if they run out), finish, verify."""
        began = time.monotonic()
        with Victim(self._log, FIRST_STEP, "send", self._environment) as self._victim:
            self._kill_and_finish(kills, rows)
        self.figures.seconds = time.monotonic() - began
        self._verify()
        self.database.dispose()
        return self.figures

    def _kill_and_finish(self, kills: int, rows: int) -> None:
        figures, span = self.figures, FIRST_SPAN_SECONDS
        while figures.kills < kills:
            self._insert(min(MOST_ROWS, max(self._random.randint(1, MOST_ROWS), rows // kills) - self._waiting()))
            was_killed = self._drain(self._random.uniform(0, span))
            span *= LONGER if was_killed else SHORTER
        self._insert(rows - figures.rows)
        for _ in range(FINISHING_RUNS):
            if not self._waiting():
                break
            self._drain(None)

    def _take_time(self, _letter: Received) -> None:
        time.sleep(random.uniform(0, SLOWEST_SECONDS))

    def _rows(self, statement: str) -> Sequence[Any]:
        with self.database.reading() as conn:
            return conn.execute(text(statement)).all()

    def _waiting(self) -> int:
        return int(
            self._rows("SELECT count(*) FROM outbox WHERE next_attempt_at IS NOT NULL OR status = 'sending'")[0][0]
        )

    def _insert(self, count: int) -> None:
        """Put in rows for one to three recipients; every second would rather be missing than twice."""
        for _ in range(count):
            number = self.figures.rows = self.figures.rows + 1
            to = ", ".join(f"{name}.{number}@example.net" for name in "abc"[: self._random.randint(1, 3)])
            values = {"to": to, "body": "Some text.\n" * (number % 300), "doubt": "hold" if number % 2 else "retry"}
            with self.database.transaction() as tx:
                tx.execute(
                    text("INSERT INTO outbox (recipients, subject, body, on_doubt) VALUES (:to, 'x', :body, :doubt)"),
                    values,
                )

    # --- one run ----------------------------------------------------------------------------------------------------

    def _drain(self, kill_after: float | None) -> bool:
        """Run the command; kill it so many seconds after its first claim. Return whether it was."""
        figures = self.figures
        code = self._victim.run(kill_after)
        said = self._log.read_text(encoding="utf-8", errors="replace")
        was_killed = code == -signal.SIGKILL
        if was_killed and kill_after is None:
            figures.broken.append(f"a run hung; it said {said[-2000:]}")
        elif was_killed:
            figures.kills += 1
            figures.killed_at[next(reversed(_STEP.findall(said)), "the start")] += 1
            self._look()
        elif code:
            figures.broken.append(f"a run ended with {code}: {said[-2000:]}")
        else:
            figures.undisturbed += kill_after is not None
        return was_killed

    def _look(self) -> None:
        """Put right what the dead left, and take down which rows the table now shows as in doubt, and did not before."""
        sweep(self._context)
        found = self._rows(
            "SELECT o.id, o.status, count(*) AS times FROM outbox o JOIN outbox_attempts a ON a.outbox_id = o.id"
            " WHERE a.outcome = 'in_doubt' GROUP BY o.id, o.status"
        )
        new = [row for row in found if row.times > self._doubts[row.id]]
        self._doubts = Counter({row.id: row.times for row in found})
        self.figures.doubts += len(new)
        self.figures.most_doubts = max(self.figures.most_doubts, len(new))
        if hidden := [row for row in new if row.status != "in_doubt"]:
            self.figures.broken.append(f"{len(hidden)} doubts do not show, such as {hidden[:3]}")

    # --- behind it --------------------------------------------------------------------------------------------------

    def _verify(self) -> None:
        figures, broken = self.figures, self.figures.broken
        got = Counter(to for letter in self._relay.received for to in letter.recipients)
        rows = {row.id: row for row in self._rows("SELECT id, status, on_doubt, lease_owner FROM outbox")}
        table = self._rows("SELECT outbox_id, address, status FROM outbox_recipients")
        figures.recipients = len(table)
        figures.twice = sum(1 for count in got.values() if count > 1)

        def complain(what: str, found: Iterable[object]) -> None:
            if listed := list(found):
                broken.append(f"{len(listed)} {what}, such as {listed[:3]}")

        held = {key for key, row in rows.items() if (row.status, row.on_doubt) == ("in_doubt", "hold")}
        figures.held = len(held)
        figures.held_missing = sum(1 for one in table if one.outbox_id in held and not got[one.address])
        complain("rows have no verdict", (r for k, r in rows.items() if r.status != "sent" and k not in held))
        complain("rows are in somebody's hands", (row for row in rows.values() if row.lease_owner))
        complain("recipients got nothing", (r for r in table if r.outbox_id not in held and not got[r.address]))
        complain("recipients of nobody's", got.keys() - {one.address for one in table})
        complain(
            "recipients got more copies than there were doubts",
            (one for one in table if got[one.address] > 1 + self._doubts[one.outbox_id]),
        )
        complain(
            "recipients got it twice though their row says hold",
            (one for one in table if got[one.address] > 1 and rows[one.outbox_id].on_doubt == "hold"),
        )
        complain("attempts have no end", self._rows("SELECT id FROM outbox_attempts WHERE finished_at IS NULL"))


def main(words: Sequence[str]) -> int:
    """Run a campaign as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="send", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    folder = child.directory("sending")
    try:
        with SmtpServer() as relay:
            campaign = Campaign(folder, relay, seed=asked.seed)
            figures = campaign.run(kills=asked.kills, rows=asked.rows)
    finally:
        shutil.rmtree(folder)
    print(figures)
    return bool(figures.broken)
