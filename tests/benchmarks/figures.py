"""What was measured: runs, their medians, their ratios to a reference of the same rounds, and the table that shows them."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Unit = Literal["messages/s", "MB/s", "ms", "MB"]
IS_BETTER_HIGH: Final[dict[Unit, bool]] = {"messages/s": True, "MB/s": True, "ms": False, "MB": False}
HEADINGS: Final = (
    "scenario",
    "client",
    "figure",
    "wall s (min to max)",
    "CPU s",
    "ratio",
    "CPU ratio",
    "target",
    "met",
    "runs",
)
# What we promise ourselves, as ratios to the reference; of a poll and of memory, the lower the better.
TARGETS: Final[dict[tuple[str, str], float]] = {
    ("a", "postroom, stored"): 3.5,
    ("a", "postroom, until searchable"): 1.0,
    ("b", "postroom, stored"): 1.0,
    ("c", "postroom, stored"): 1.8,
    ("d", "postroom, stored"): 2.8,
    ("e none", "postroom, poll in the daemon"): 1.0,
    ("e one", "postroom, poll in the daemon"): 1.0,
    ("g", "postroom, 50 accounts at once"): 0.8,
    ("i", "postroom, one connection"): 1.0,
    ("i smtplib", "postroom, one connection"): 1.7,
    ("j", "postroom, one connection"): 3.7,
    ("j one", "postroom, four"): 3.5,
    ("k", "postroom, one connection"): 60.0,
    ("l", "postroom, median"): 1.0,
    ("l polling", "postroom, median"): 1.0,
}


@dataclass(slots=True, kw_only=True)
class Series:
    """One table's worth of rounds: everybody did the same thing in turns.

    runs: client -> its runs, each with wall and cpu (seconds), messages, octets, memory (octets), or with error (a sentence).
    """

    key: str
    title: str
    unit: Unit
    reference: str
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def note(self, client: str, run: dict[str, Any]) -> None:
        """Add a run."""
        self.runs.setdefault(client, []).append(run)

    def good(self, client: str) -> list[dict[str, Any]]:
        """Return the runs of a client that did what they should."""
        return [run for run in self.runs.get(client, []) if "error" not in run]

    def figure(self, client: str) -> float | None:
        """Return the median, in the series' unit; None if no run was good."""
        good = self.good(client)
        return statistics.median(self._figure(run) for run in good) if good else None

    def _figure(self, run: dict[str, Any]) -> float:
        if self.unit == "messages/s":
            return float(run["messages"] / run["wall"])
        if self.unit == "MB/s":
            return float(run["octets"] / run["wall"] / 1e6)
        return float(run["wall"] * 1000 if self.unit == "ms" else run["memory"] / 1e6)

    def ratio(self, client: str) -> float | None:
        """Return the client's figure over the reference's."""
        mine, theirs = self.figure(client), self.figure(self.reference)
        return mine / theirs if mine is not None and theirs else None

    def cpu(self, client: str) -> float | None:
        """Return the median CPU seconds."""
        good = self.good(client)
        return statistics.median(run["cpu"] for run in good) if good else None

    def cpu_ratio(self, client: str) -> float | None:
        """Return the client's CPU time for a message over the reference's; for a poll that fetches nothing, for the poll."""
        mine, theirs = self.cpu(client), self.cpu(self.reference)
        if mine is None or not theirs:
            return None
        each = [max(1, self.good(one)[0]["messages"]) for one in (client, self.reference)]
        return (mine / each[0]) / (theirs / each[1])

    def is_met(self, client: str) -> bool | None:
        """Tell whether the ratio meets its target; None if there is no target or no ratio."""
        target, ratio = TARGETS.get((self.key, client)), self.ratio(client)
        if target is None or ratio is None:
            return None
        return ratio >= target if IS_BETTER_HIGH[self.unit] else ratio <= target

    def errors(self) -> list[str]:
        """Return what went wrong, a sentence each."""
        return [f"({self.key}) {run['error']}" for runs in self.runs.values() for run in runs if "error" in run]

    def summary(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        clients = {
            one: {
                "figure": self.figure(one),
                "ratio": self.ratio(one),
                "cpu_ratio": self.cpu_ratio(one),
                "target": TARGETS.get((self.key, one)),
                "met": self.is_met(one),
                "runs": self.runs[one],
            }
            for one in self.runs
        }
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "reference": self.reference,
            "clients": clients,
        }


def table(series: Iterable[Series]) -> list[str]:
    """Return the lines of one Markdown table over all series."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    for one in series:
        lines += [f"| {' | '.join(_cells(one, client))} |" for client in one.runs]
    return lines


def _cells(series: Series, client: str) -> list[str]:
    where, runs, good = f"({series.key}) {series.title}", series.runs[client], series.good(client)
    if not good:
        return [where, client, "failed: " + str(runs[-1]["error"]), *[""] * (len(HEADINGS) - 4), f"0 of {len(runs)}"]
    figure, cpu, met = series.figure(client), series.cpu(client), series.is_met(client)
    assert figure is not None
    target = TARGETS.get((series.key, client))
    sign = "≥" if IS_BETTER_HIGH[series.unit] else "≤"
    walls = [run["wall"] for run in good]
    few = f"; {good[0]['messages']:,} letters" if good[0]["messages"] != _most(series) else ""
    return [
        where,
        client,
        f"{figure:,.0f} {series.unit}",
        f"{statistics.median(walls):.3f} ({min(walls):.3f} to {max(walls):.3f})",
        "" if cpu is None else f"{cpu:.3f}",
        *("" if ratio is None else f"{ratio:.2f}" for ratio in (series.ratio(client), series.cpu_ratio(client))),
        "" if target is None else f"{sign} {target:g}",
        "" if met is None else "yes" if met else "NO",
        (str(len(good)) if len(good) == len(runs) else f"{len(good)} of {len(runs)}") + few,
    ]


def _most(series: Series) -> int:
    return max(run["messages"] for client in series.runs for run in series.good(client))
