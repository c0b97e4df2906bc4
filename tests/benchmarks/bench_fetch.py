"""How fast mail comes in: ourselves, as the resident daemon polls, beside mpop, fetchmail and getmail6 where they are installed.

    python -m tests.benchmarks.bench_fetch [--only a,c] [--rounds 5] [--json out.json] [--alone] [--profile DIRECTORY]

a  5,000 small letters on loopback, kept and deleted     e  a poll of 20,000 known letters, and of one new one beside them
b  300 letters with attachments, 150 MB                  f  peak memory for one letter of 200 MB
c  500 small letters over a round trip of 50 ms          g  50 accounts at once against one
d  (a) over TLS                                          h  the command as a whole process, 20,000 letters

All fetch the same octets from the same Dovecot in turns, round after round; the table shows medians, and ratios to mpop
writing an mbox, of the same rounds (in g: to one account). Ours is timed in a process that has polled before, from the
connection to the recorded QUIT, `stored` with synchronous=FULL; `until searchable` adds the index. The others are whole
processes. A busy machine flatters us: the others wait for a disk at every letter; the ratios of CPU seconds travel better, and
the load average is printed beside the table. What arrived is counted; a wrong count is an error, and makes the exit code 1. Prints Markdown.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import extremes, figures, scenarios
from tests.benchmarks.figures import Series
from tests.benchmarks.ground import Ground
from tests.benchmarks.scenarios import Stage
from tests.servers import dovecot

SCENARIOS: Final[dict[str, Callable[[Stage], Iterator[Series]]]] = {
    "a": scenarios.many_small,
    "b": scenarios.with_attachments,
    "c": scenarios.far_away,
    "d": scenarios.many_small_tls,
    "e": extremes.all_known,
    "f": extremes.one_huge,
    "g": extremes.fifty_accounts,
    "h": extremes.whole_process,
}


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="letters of scenarios, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for every run")
    parser.add_argument("--profile", type=Path, help="a directory for cProfile files of each of our polls; slows them")
    parser.add_argument("--alone", action="store_true", help="without the others: no ratios, but quick")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",")
    if set(wanted) - SCENARIOS.keys():
        parser.error(f"--only takes {', '.join(SCENARIOS)}")
    why_not = dovecot.why_not()
    if why_not is not None:
        print(f"nothing to measure against: {why_not}")
        return 0
    if chosen.profile:
        chosen.profile.mkdir(parents=True, exist_ok=True)
    measured: list[Series] = []
    load = os.getloadavg()[0]
    with Ground() as ground:
        stage = Stage(ground=ground, rounds=chosen.rounds, profile=chosen.profile, alone=chosen.alone)
        for key in wanted:
            for one in SCENARIOS[key](stage):
                measured.append(one)
                if chosen.json:
                    chosen.json.write_text(json.dumps([each.summary() for each in measured], indent=1))
    print(
        f"\nDovecot on loopback, medians of {chosen.rounds} rounds; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after:\n"
    )
    print("\n".join(figures.table(measured)))
    wrong = [error for one in measured for error in one.errors()]
    for error in wrong:
        print(f"error: {error}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
