"""What a row costs, by where the time is spent: the profiles of drains, in microseconds a row.

    python -m tests.benchmarks.costs DIRECTORY      (bench_send --profile DIRECTORY prints it too)

Time of the thread that drains, waiting included; cProfile makes what has many small calls look dearer than it is, by about
a half, so compare parts, and tables of one machine. What the interpreter's own functions take is their callers'.
"""

import pstats
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

FEWEST: Final = 500  # rows of a drain that is worth a table: the first ones compile, connect and find their pace

# Part of the file's path, or of a built-in function's name -> what it is for people; the first that fits counts.
PARTS: Final = {
    "'commit' of 'pysqlite3": "SQLite: COMMIT",
    "of 'pysqlite3": "SQLite: statements",
    "'poll' of 'select": "waiting for the relay",
    "of '_socket": "socket calls",
    "sqlalchemy/": "SQLAlchemy",
    "daemon/store/": "store: rows to and from statements",
    "daemon/mail/": "letters: addresses, header, body",
    "daemon/smtp/": "SMTP: session, flight, replies",
    "daemon/wire/": "wire: stream, transcript, lines",
    "daemon/jobs/": "jobs: docket, parcels, verdicts",
}
OTHER: Final = "the rest"

Function = tuple[str, int, str]


def table(directory: Path) -> Iterator[str]:
    """Yield lines of Markdown, for each drain in the directory."""
    for file in sorted(directory.glob("drain-*.prof")):
        stats: Mapping[Function, Any] = pstats.Stats(str(file)).stats  # type: ignore[attr-defined] -- it is what pstats is for
        rows = sum(one[1] for (path, _line, name), one in stats.items() if name == "answer" and "docket" in path)
        if rows < FEWEST:
            continue
        spent = _by_part(stats)
        yield f"\n{rows:,} rows, {file.name}:\n"
        yield "| part | us a row |"
        yield "|---|---|"
        for part, seconds in sorted(spent.items(), key=lambda one: -one[1]):
            yield f"| {part} | {seconds / rows * 1e6:.1f} |"
        yield f"| in all | {sum(spent.values()) / rows * 1e6:.1f} |"


def _by_part(stats: Mapping[Function, Any]) -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    for function, (_primitive, _calls, own, _whole, callers) in stats.items():
        part = _part(function)
        if part is not None or not callers:
            spent[part or OTHER] += own
            continue
        for caller, (_, _, its, _) in callers.items():
            spent[_part(caller) or OTHER] += its
    return spent


def _part(function: Function) -> str | None:
    path, _line, name = function
    where = name if path == "~" else path
    return next((part for known, part in PARTS.items() if known in where), None)


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]))))
