"""One soak: the house as a process, the world around it, and the hours that pass."""

import contextlib
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from tests.servers import mounted
from tests.soak import verdict
from tests.soak.disasters import SHARE, Disasters, environment, retry
from tests.soak.verdict import Books, Sample
from tests.soak.world import World

DISK_OCTETS: Final = 268_435_456
LETTERS_AN_HOUR: Final = 0.8  # an account
ROWS_AN_HOUR: Final = 8
REST_SECONDS: Final = 120.0  # for the house to come to rest once everything is mended
STOP_SECONDS: Final = 20.0


@dataclass(slots=True, kw_only=True)
class Figures:
    """What a soak was, and what it found. broken: promises that were not kept, a sentence each."""

    hours: int = 0
    letters: int = 0
    rows: int = 0
    visits: int = 0
    reports: Counter[str] = field(default_factory=Counter)  # of visits, by how they ended
    faults: Counter[str] = field(default_factory=Counter)
    disasters: Counter[str] = field(default_factory=Counter)
    doubts: int = 0
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Markdown."""
        shown = self.samples[:: max(1, len(self.samples) // 7)]
        lines = [
            f"{self.hours / 24:.1f} days in {self.seconds:.0f} s: {self.visits} visits ({_told(self.reports)}).",
            f"{self.letters} letters, {self.rows} rows, {self.doubts} attempts in doubt.",
            f"On the line: {_told(self.faults)}. Disasters: {_told(self.disasters)}.",
            "| hour | memory | descriptors | threads |\n|---|---|---|---|",
            *(f"| {one.hour} | {one.rss_octets / 1e6:.0f} MB | {one.descriptors} | {one.threads} |" for one in shown),
            "",
            "\n".join(self.broken) or "Every promise was kept.",
        ]
        return "\n".join(lines)


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "none"


class Campaign:
    """A house and its world in one folder."""

    def __init__(self, folder: Path, random: Random, *, accounts: int, disasters_share: float = SHARE) -> None:
        """`disasters_share`: of the hours in which one begins."""
        self._folder, self._share = folder, disasters_share
        self._world = World(folder, random, accounts=accounts)
        self.figures = Figures()

    def run(self, *, days: float, minutes: float) -> Figures:
        """Let so many days pass in about so many minutes; come to rest, verify."""
        began = time.monotonic()
        with mounted.small(self._folder / "disk", DISK_OCTETS) as disk, self._world.pop3, self._world.smtp:
            self._database = disk / "soak.db"
            settings = self._world.settings(f"sqlite:///{self._database}")
            self._database.with_name(".env").write_text(settings, encoding="utf-8")
            log_path = self._folder / "house.log"
            words = [sys.executable, "-m", "tests.soak.house", str(days * 86_400), str(minutes * 60)]
            pipe = subprocess.PIPE
            with (
                log_path.open("w", encoding="utf-8") as log,
                subprocess.Popen(
                    words, cwd=disk, env=environment(), stdin=pipe, stdout=pipe, stderr=log, text=True
                ) as house,
            ):
                try:
                    self._live(house, hours=int(days * 24))
                finally:
                    if house.poll() is None:
                        house.kill()
            self._verify()
            crashes = [
                line
                for line in log_path.read_text(encoding="utf-8").splitlines()
                if "job_crashed" in line or "Traceback" in line
            ]
            self.figures.broken += [f"a job crashed: {line[:2000]}" for line in crashes[:3]]
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def _live(self, house: subprocess.Popen[str], *, hours: int) -> None:
        assert house.stdin is not None
        assert house.stdout is not None
        stdin = house.stdin

        def order(what: str) -> None:
            with contextlib.suppress(BrokenPipeError):  # that it ended by itself is told below
                stdin.write(f"{what}\n")
                stdin.flush()

        world, figures = self._world, self.figures
        disasters = Disasters(world, house, self._database, order)
        while figures.hours < hours and (line := house.stdout.readline()):
            hour, seconds = line.split()[1:]
            figures.hours, now = int(hour), datetime.fromtimestamp(int(seconds), UTC)
            world.deliver(round(len(world.accounts) * LETTERS_AN_HOUR))
            if figures.hours:
                world.drop_rows(self._database, ROWS_AN_HOUR, now)
                disasters.maybe(self._share)
            figures.samples.append(Sample.of(house.pid, figures.hours))
        world.calm = True
        disasters.mend()
        figures.disasters, figures.faults = disasters.counted, world.faults
        self._rest(house)
        house.terminate()
        try:
            code = house.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            figures.broken.append("the house did not stop")
        else:
            if code:
                figures.broken.append(f"the house ended with {code}")

    def _rest(self, house: subprocess.Popen[str]) -> None:
        """Wait until nothing is left to do; polling that stopped is told to go on, as an operator would."""
        books, until = Books(self._database), time.monotonic() + REST_SECONDS
        for row in books.rows("SELECT name FROM accounts WHERE stopped_since IS NOT NULL OR failing_since IS NOT NULL"):
            retry(house, self._database.parent, row["name"])
        while unrest := books.unrest(self._world):
            if time.monotonic() > until or house.poll() is not None:
                self.figures.broken.append(f"the house did not come to rest: {'; '.join(unrest)}")
                return
            time.sleep(0.5)

    def _verify(self) -> None:
        figures, books = self.figures, Books(self._database)
        figures.letters = books.rows("SELECT count(*) FROM messages")[0][0]
        figures.rows = len(self._world.sent)
        figures.reports = Counter(
            {row[0]: row[1] for row in books.rows("SELECT outcome, count(*) FROM polls GROUP BY outcome")}
        )
        figures.visits = figures.reports.total()
        figures.doubts = books.rows("SELECT count(*) FROM outbox_attempts WHERE outcome = 'in_doubt'")[0][0]
        figures.broken += verdict.broken(self._world, books)
        grew = verdict.growth(figures.samples) if figures.hours >= verdict.WARM_HOURS else {}
        for what, grown in grew.items():
            if grown > verdict.MOST_GROWTH[what]:
                figures.broken.append(f"{what} grew by {grown:,.0f}")
        verify = subprocess.run([sys.executable, "-m", "daemon", "db", "verify"], cwd=self._database.parent, env=environment(), capture_output=True, text=True, check=False)  # fmt: skip
        if verify.returncode:
            figures.broken.append(f"`db verify` finds faults: {verify.stdout[-1000:]}{verify.stderr[-1000:]}")
