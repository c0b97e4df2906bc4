"""A process that is killed over and over, and begins at once: the command `postroom`, loaded already.

As a program (`python -m tests.torture.victim LOG FIRST_STEP VERB`) it loads the command once and forks for each run, which it kills
when it is told to: it is the child's parent, so that the pid is nobody else's. What the run says is in LOG, made anew each time.
A question is a line, the seconds from the run's FIRST_STEP to its kill or nothing; the answer is the exit code as `subprocess` has it.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

LOOK_SECONDS: Final = 0.001
RUN_SECONDS: Final = 120.0  # a run that lasts longer hangs, and is killed
LOADED: Final = (
    "daemon.app",
    "daemon.cli.house",
    "daemon.cli.output",
    "daemon.cli.send",
    "daemon.cli.fetch",
    "pysqlite3",
)


class Victim:
    """The other end. Use as a context manager."""

    def __init__(self, log: Path, first_step: str, verb: str, environment: Mapping[str, str]) -> None:
        """`first_step`: the word in the log that a run's seconds are counted from."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.victim", str(log), first_step, verb],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(RUN_SECONDS)
        self._process.stdout.close()

    def run(self, kill_after: float | None) -> int:
        """Run once; return the exit code, -9 if it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n" if kill_after is None else f"{kill_after}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _run(log: Path, verb: str) -> None:
    """Be the command, in the child."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    from daemon.cli import main

    code = 70
    try:
        main([verb])
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 70
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _kill(child: int, log: Path, first_step: bytes, kill_after: float | None) -> int:
    """Wait for the child, or kill it; return its exit code."""
    end, seconds = time.monotonic() + RUN_SECONDS, kill_after
    while True:
        reaped, status = os.waitpid(child, os.WNOHANG)
        if reaped:
            return os.waitstatus_to_exitcode(status)
        if seconds is not None and first_step in log.read_bytes():
            end, seconds = time.monotonic() + seconds, None
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(LOOK_SECONDS)


def main() -> None:
    """Answer questions until there are no more."""
    log, first_step, verb = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        log.write_bytes(b"")
        child = os.fork()
        if not child:
            _run(log, verb)
        print(_kill(child, log, first_step, float(line) if line.strip() else None), flush=True)


if __name__ == "__main__":
    main()
