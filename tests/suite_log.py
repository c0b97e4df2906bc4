"""Where the suite's traces and logs are gathered, so that all of them can be searched for the test passwords.

A run with workers is several processes: they inherit the directory from the one that started them, which alone removes it.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from tests.secrets_used import PASSWORD, TOKEN

DIRECTORY: Final = Path(
    os.environ.setdefault("SUITE_LOG_DIRECTORY", str(Path(tempfile.gettempdir()) / f"postroom-suite-{os.getpid()}"))
)
_open: list[TextIO] = []


def begin() -> TextIO:
    """Open the file that takes every event traced in this process, and every transcript."""
    DIRECTORY.mkdir(exist_ok=True)
    _open.append((DIRECTORY / f"events-{os.getpid()}.log").open("a", encoding="utf-8"))
    return _open[0]


def end() -> None:
    """Close this process's file."""
    while _open:
        _open.pop().close()


def remove() -> None:
    """Remove the logs of all processes."""
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
    os.close(descriptor)
    with Path(name).open("w", encoding="utf-8") as log:  # by its name, which a child may open, too
        yield log
    print(Path(name).read_text(encoding="utf-8", errors="replace")[-4000:])


# --- what must not be in them -----------------------------------------------------------------------------------------


def forms(secret: str) -> set[bytes]:
    """Return the secret as it is, and as SASL PLAIN and LOGIN carry it."""
    octets = secret.encode()
    encoded = {base64.b64encode(octets), base64.b64encode(b"\0anna\0" + octets)}
    return {octets, secret.encode("latin-1"), *encoded, *(one.rstrip(b"=") for one in encoded)}


def leaks() -> list[str]:
    """Name the logs, of every process and so far, that hold a test password in any of its forms."""
    for log in _open:
        log.flush()
    wanted = [form for secret in (PASSWORD, TOKEN) for form in forms(secret)]
    found = []
    for path in sorted(DIRECTORY.glob("*.log")):
        octets = path.read_bytes()
        found += [path.name for form in wanted if form in octets][:1]
    return found
