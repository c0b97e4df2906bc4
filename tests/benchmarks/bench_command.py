"""How long a person waits for the command: `--help`, and `status` on a migrated database, as whole processes.

    python -m tests.benchmarks.bench_command

Medians of eleven; a bare interpreter beside them, since its start is not ours to change. Prints Markdown; fails nothing.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Final

ROUNDS: Final = 11
COMMANDS: Final = {
    "python, doing nothing": ["-c", "pass"],
    "postroom --help": ["-m", "daemon", "--help"],
    "postroom status": ["-m", "daemon", "status"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {
            "POSTROOM_DATABASE_URL": f"sqlite:///{directory}/postroom.db",
            "PYTHONPATH": os.getcwd(),  # noqa: PTH109 -- what make runs it in
        }

        def run(*arguments: str) -> float:
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], cwd=directory, env=environment, check=True, capture_output=True
            )
            return time.perf_counter() - began

        run("-m", "daemon", "db", "upgrade")
        print("\n| command | milliseconds, median | fastest |\n|---|---|---|")
        for name, arguments in COMMANDS.items():
            took = [run(*arguments) for _ in range(ROUNDS)]
            print(f"| {name} | {statistics.median(took) * 1000:.0f} | {min(took) * 1000:.0f} |")


if __name__ == "__main__":
    main()
