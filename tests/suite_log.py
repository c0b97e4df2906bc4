"""Where the suite's traces and logs are gathered, so that one test can grep all of them for the test passwords."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

DIRECTORY: Final = Path(tempfile.gettempdir()) / f"postroom-suite-{os.getpid()}"
_open: list[TextIO] = []


def begin() -> TextIO:
    """Open the file that takes every event traced in this process, and every transcript."""
    DIRECTORY.mkdir(exist_ok=True)
    _open.append((DIRECTORY / "events.log").open("a", encoding="utf-8"))
    return _open[0]


def flush() -> None:
    """Write out what is buffered."""
    for log in _open:
        log.flush()


def end() -> None:
    """Remove the logs."""
    while _open:
        _open.pop().close()
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def keep(text: str) -> None:
    """Add what was captured elsewhere."""
    for log in _open:
        log.write(text)


@contextmanager
def child_log() -> Iterator[TextIO]:
    """Open a file for what a child process says; shown again as the test's own output."""
    DIRECTORY.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="child-", suffix=".log", dir=DIRECTORY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        yield log
    print(Path(name).read_text(encoding="utf-8", errors="replace")[-4000:])
