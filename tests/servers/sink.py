"""Postfix's smtp-sink as a child process: takes every letter, keeps none, and counts them (no STARTTLS, no CHUNKING)."""

import os
import re
import shutil
import time
from typing import Final, Self

from tests.servers import child

PATH: Final = child.find("smtp-sink")
UNPRIVILEGED: Final = "nobody"  # root has to name a user
BACKLOG: Final = "100"
COUNTED_SECONDS: Final = 5.0  # for the counter to show what was acknowledged
_COUNTER: Final = re.compile(rb"mesg=(\d+)\r")


def why_not() -> str | None:
    """Say why it can't be used here, or None if it can."""
    return None if PATH else "smtp-sink is not installed (Debian: postfix)"


class Sink:
    """One running sink; use as a context manager."""

    def __init__(self) -> None:
        """Nothing runs before `with`."""
        self._directory = child.directory("sink")
        (self.port,) = child.free_ports(1)
        self._child: child.Child | None = None

    def __enter__(self) -> Self:
        assert PATH is not None
        user = ["-u", UNPRIVILEGED] if os.geteuid() == 0 else []
        command: list[str] = [str(PATH), *user, "-c", f"127.0.0.1:{self.port}", BACKLOG]
        self._child = child.Child(command, self._directory / "counters")
        self._child.wait_for_ports(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child is not None
        self._child.stop()
        shutil.rmtree(self._directory)

    def count(self, *, at_least: int = 0) -> int:
        """Return how many letters it has taken since it began; waits a little for so many."""
        assert self._child is not None
        deadline = time.monotonic() + COUNTED_SECONDS
        while True:
            found = _COUNTER.findall(self._child.log.read_bytes()[-4000:])
            count = int(found[-1]) if found else 0
            if count >= at_least or time.monotonic() > deadline:
                return count
            time.sleep(0.01)
