"""Fuzz a target, or all of them one after the other, with coverage as the guide (atheris).

    python -m tests.fuzz [--runs 200000] [--seconds 60] [session] [replies] [body] [parse] [report]

Each target runs in a process of its own, since libFuzzer ends the one it runs in. What fails is written to a file here,
`crash-…`; a test of its own makes it stay away. The exit code is 1 if anything failed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

NAMES: Final = ("session", "replies", "body", "parse", "report")


def fuzz(target: str, options: list[str]) -> None:
    """Run one target in this process; does not return."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # make fuzz installs it

    with atheris.instrument_imports(include=["daemon"]):  # so nothing of daemon may be imported before
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS
    with tempfile.TemporaryDirectory() as corpus:
        for number, octets in enumerate(seeds(target)):
            Path(corpus, f"seed-{number}").write_bytes(octets)
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[target])
        atheris.Fuzz()


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=list(NAMES), metavar="target")
    parser.add_argument("--runs", type=int, default=200_000, help="of each target")
    parser.add_argument("--seconds", type=int, default=60, help="for each target, at most")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    options = [
        f"-runs={asked.runs}",
        f"-max_total_time={asked.seconds}",
        "-max_len=4000",
        "-timeout=20",
        "-print_final_stats=1",
    ]
    if asked.here:
        fuzz(asked.targets[0], options)
    failed = []
    for target in asked.targets:
        print(f"--- {target}", flush=True)
        again = [
            sys.executable,
            "-m",
            "tests.fuzz",
            "--here",
            target,
            f"--runs={asked.runs}",
            f"--seconds={asked.seconds}",
        ]
        if subprocess.run(again, check=False).returncode:
            failed.append(target)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
