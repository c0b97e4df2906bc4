"""Kill a fetch-and-delete run over and over, at random instants; then finish it and count: nothing lost, nothing twice.

    python -m tests.torture fetch [--kills 200] [--messages 2000] [--seed 1]

The server is a real Dovecot, the archive SQLite, the victim `python -m daemon fetch` with DELETE=after_fetch. A few undisturbed
runs are measured first; each kill then falls at a random instant of such a run, counted from the moment when the visit has
its lease. A run takes few messages, so that there is work for all kills; when the maildrop runs low, new letters come. SIGKILL goes
to the process that was started here, by its pid, and to no other.

Prints figures; the exit code is 1 if a promise is broken.
"""

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.real_house import House, digests
from tests.servers import certificates, child, dovecot
from tests.servers.dovecot import Dovecot

USER: Final = "torture"
MEASURED_RUNS: Final = 3
# The span that kills are drawn from follows the machine: about one visit in eight is over before its kill, so that the instants
# cover a visit to its end, whatever else runs beside it.
LONGER, SHORTER = 1.03, 0.8
BEGUN: Final = b"poll.leased"
RECORDED: Final = b"poll.recorded"  # behind it comes the index, which is another job
RUN_SECONDS: Final = 120.0  # a run that lasts longer hangs
LOOK_SECONDS: Final = 0.001
_STEP: Final = re.compile(r"poll\.[a-z_]+")


@dataclass(slots=True, kw_only=True)
class Figures:
    """What a campaign did, and what it found. broken: promises that were not kept, a sentence each."""

    kills: int = 0
    undisturbed: int = 0  # runs that were done before their kill came
    delivered: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)  # by the last step the run had named
    poll_seconds: float = 0.0  # of a whole visit, from the lease to the record; median
    finishing_runs: int = 0
    refused_runs: int = 0  # runs that ended by themselves with an error: the server still held the killed session
    unconfirmed: int = (
        0  # ledger rows of letters whose DELE and QUIT arrived, and whose confirmation the kill took away
    )
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Markdown."""
        steps = "\n".join(f"| {step} | {count} |" for step, count in self.killed_at.most_common())
        return (
            f"{self.kills} kills (and {self.undisturbed} runs that were faster) in {self.seconds:.0f} s; a visit takes "
            f"{self.poll_seconds * 1000:.0f} ms; {self.delivered} letters delivered; {self.finishing_runs} runs to finish; "
            f"{self.refused_runs} runs ended with an error of their own; {self.unconfirmed} letters whose deletion was not confirmed.\n\n"
            f"| killed after | times |\n|---|---|\n{steps}\n\n" + ("\n".join(self.broken) or "Every promise was kept.")
        )


class Campaign:
    """One Dovecot maildrop, one archive, and a process to kill."""

    def __init__(self, server: Dovecot, ca_file: Path, folder: Path, *, user: str, seed: int) -> None:
        """`folder`: for the archive and the victim's words."""
        self._server, self._user = server, user
        self._random = random.Random(seed)
        self._log = folder / "victim.log"
        self.house = House(f"sqlite:///{folder}/torture.db", ca_file).with_pop3(
            user, server.pop3s_port, "tls", delete="after_fetch"
        )
        self.letters: list[bytes] = []
        self.figures = Figures()

    def run(self, *, kills: int, messages: int, a_visit: int) -> Figures:
        """Deliver, kill so many times, finish, verify. a_visit: messages that one run takes at most."""
        figures, began = self.figures, time.monotonic()
        self.house.with_pop3(
            self._user, self._server.pop3s_port, "tls", delete="after_fetch", max_messages_per_poll=str(a_visit)
        )
        self.house.database.dispose()  # made and migrated, so that every run begins alike
        whole = []
        for _ in range(MEASURED_RUNS):
            self._deliver(a_visit)
            whole.append(self._visit(None))
        span = figures.poll_seconds = statistics.median(whole)
        self._deliver(messages - len(self.letters))
        while figures.kills < kills:
            if len(self._server.files(self._user)) < a_visit:
                self._deliver(5 * a_visit)
            self._visit(self._random.uniform(0, span))
            span *= SHORTER if RECORDED in self._log.read_bytes() else LONGER
        while figures.finishing_runs < len(self.letters) and (
            self._server.files(self._user) or not figures.finishing_runs
        ):
            self._visit(None)
            figures.finishing_runs += 1
        self._visit(None)
        figures.delivered, figures.seconds = len(self.letters), time.monotonic() - began
        self._verify()
        return figures

    def _deliver(self, count: int) -> None:
        new = [
            f"From: bob@example.net\r\nSubject: {n}\r\nMessage-ID: <{n}@torture.example>\r\n\r\n{'Some text. ' * (n % 300)}\r\n".encode()
            for n in range(len(self.letters), len(self.letters) + count)
        ]
        # The names of new files go on behind those of the deleted ones, so that the server's order stays.
        self._server.fill(self._user, new, start=len(self.letters))
        self.letters += new

    def _visit(self, kill_after: float | None) -> float:
        """Run the command; kill it so many seconds after it has its lease. Return how long an undisturbed visit lasted."""
        figures = self.figures
        environment = self.house.environment | {"POSTROOM_LOG_LEVEL": "debug", "POSTROOM_TRACE": "failures"}
        with self._log.open("wb") as log:
            victim = subprocess.Popen(
                [sys.executable, "-m", "daemon", "fetch"], env=environment, stdout=log, stderr=log
            )
        self._wait(victim, BEGUN)
        began = time.monotonic()
        if kill_after is None:
            self._wait(victim, RECORDED)
        lasted = time.monotonic() - began
        try:
            victim.wait(RUN_SECONDS if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace")
        if victim.returncode == -signal.SIGKILL:
            if kill_after is None:
                figures.broken.append(f"a run hung; it said {said[-2000:]}")
            figures.kills += kill_after is not None
            figures.killed_at[next(reversed(_STEP.findall(said)), "the start")] += 1
        elif victim.returncode:
            figures.refused_runs += 1
            if victim.returncode not in {69, 75}:
                figures.broken.append(f"a run ended with {victim.returncode}: {said[-2000:]}")
        else:
            figures.undisturbed += kill_after is not None
        return lasted

    def _wait(self, victim: subprocess.Popen[bytes], word: bytes) -> None:
        end = time.monotonic() + RUN_SECONDS
        while victim.poll() is None and word not in self._log.read_bytes() and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)

    def _verify(self) -> None:
        house, broken = self.house, self.figures.broken
        if digests(self.letters) != house.digests():
            missing, extra = digests(self.letters) - house.digests(), house.digests() - digests(self.letters)
            broken.append(f"archive: {missing.total()} letters are missing, {extra.total()} are there too often")
        if left := len(self._server.files(self._user)):
            broken.append(f"{left} letters are still on the server")
        rows = house.rows(
            "SELECT status, dele_sent_at IS NOT NULL AS sent, deleted_at IS NOT NULL AS deleted, message IS NOT NULL AS archived,"
            " count(*) AS rows FROM ledger GROUP BY 1, 2, 3, 4"
        )
        found = {(r["status"], bool(r["sent"]), bool(r["deleted"]), bool(r["archived"])): r["rows"] for r in rows}
        # A kill between the server's +OK to QUIT and our COMMIT leaves a letter whose deletion was never confirmed to us.
        self.figures.unconfirmed = found.get(("gone", True, False, True), 0)
        if odd := {
            one: n
            for one, n in found.items()
            if one not in {("deleted", True, True, True), ("gone", True, False, True)}
        }:
            broken.append(f"ledger: rows that are neither deleted nor gone after our DELE: {odd}")
        if sum(found.values()) != len(self.letters):
            broken.append(f"ledger: {sum(found.values())} rows for {len(self.letters)} letters")
        if leases := house.rows("SELECT name FROM accounts WHERE lease_owner IS NOT NULL"):
            broken.append(f"{len(leases)} leases are held by nobody")
        if running := house.rows("SELECT id FROM polls WHERE outcome = 'running'"):
            broken.append(f"{len(running)} visits are running for ever")
        verify = [sys.executable, "-m", "daemon", "db", "verify"]
        if subprocess.run(verify, env=house.environment, capture_output=True, check=False).returncode:
            broken.append("`db verify` finds faults")


def main(words: Sequence[str]) -> int:
    """Run a campaign as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="fetch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--a-visit", type=int, default=100, help="messages that one run takes at most")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    if reason := dovecot.why_not():
        print(reason, file=sys.stderr)
        return 1
    folder = child.directory("torture")
    try:
        made = certificates.make(folder)
        with Dovecot(made) as server:
            campaign = Campaign(server, made.ca_file, folder, user=USER, seed=asked.seed)
            figures = campaign.run(kills=asked.kills, messages=asked.messages, a_visit=asked.a_visit)
            campaign.house.close()
    finally:
        shutil.rmtree(folder)
    print(figures)
    return bool(figures.broken)
