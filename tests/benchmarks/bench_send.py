"""How fast mail goes out: ourselves, as the resident daemon drains, beside smtplib, msmtp and Postfix's smtp-source.

    python -m tests.benchmarks.bench_send [--only i,l] [--rounds 5] [--json out.json] [--alone] [--profile DIRECTORY]

i  2,000 rows of 3 kB on loopback, into smtp-sink, on one connection and on four
j  200 over a round trip of 50 ms, into smtp-sink (which has PIPELINING, and DATA only), on one, four and sixteen
k  1,000 over 50 ms, into a real Postfix (PIPELINING and CHUNKING), on one
l  from INSERT to the first octet at the relay of a running daemon, idle and while a poll of 5,000 letters runs

Ours are rows of SQLite with synchronous=FULL, claimed, composed, sent and recorded, timed in a process that has sent before,
from the connection to the last verdict; the others are given the letter ready made and record nothing. Who is slow gets fewer
letters: compare rates. Ratios are of medians of the same rounds. What arrived is counted at the relay; a wrong count is an error,
and makes the exit code 1. Prints Markdown.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import costs, figures, promptness, sendings
from tests.benchmarks.figures import Series
from tests.benchmarks.sendings import Stage
from tests.servers import child, sink

SCENARIOS: Final[dict[str, Callable[[Stage], Iterator[Series]]]] = {
    "i": sendings.loopback,
    "j": sendings.far_away,
    "k": sendings.far_postfix,
    "l": promptness.from_insert_to_octet,
}


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="letters of scenarios, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for every run")
    parser.add_argument(
        "--profile",
        type=Path,
        help="a directory for cProfile files of each of our drains, and a table of what a row costs; slows them",
    )
    parser.add_argument("--alone", action="store_true", help="without the others: no ratios, but quick")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",")
    if set(wanted) - SCENARIOS.keys():
        parser.error(f"--only takes {', '.join(SCENARIOS)}")
    if (why_not := sink.why_not()) is not None:
        print(f"nothing to measure against: {why_not}")
        return 0
    if chosen.profile:
        chosen.profile.mkdir(parents=True, exist_ok=True)
    measured: list[Series] = []
    load = os.getloadavg()[0]
    directory = child.directory("bench")
    with Stage(directory, rounds=chosen.rounds, profile=chosen.profile, alone=chosen.alone) as stage:
        for key in wanted:
            for one in SCENARIOS[key](stage):
                measured.append(one)
                if chosen.json:
                    chosen.json.write_text(json.dumps([each.summary() for each in measured], indent=1))
    print(f"\nMedians of {chosen.rounds} rounds; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after:\n")
    print("\n".join(figures.table(measured)))
    if chosen.profile:
        print("\n".join(costs.table(chosen.profile)))
    wrong = sorted({error for one in measured for error in one.errors()})
    for error in wrong:
        print(f"error: {error}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
