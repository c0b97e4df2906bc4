"""The daemon as its users have it: a process of its own, ended by its pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.secrets_used import PASSWORD
from tests.suite_log import child_log

REPOSITORY: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 30.0  # two cores, and other tests beside us


def environment(
    database_url: str, *, pop3_port: int | None = None, smtp_port: int | None = None, **more: str
) -> dict[str, str]:
    """Return settings for one account, `home`, on loopback."""
    account = "POSTROOM_ACCOUNTS__HOME__"
    known = {"POSTROOM_DATABASE_URL": database_url, "POSTROOM_TRACE": "all", f"{account}ADDRESS": "anna@example.org"}
    for kind, port in (("POP3", pop3_port), ("SMTP", smtp_port)):
        if port is not None:
            known |= {
                f"{account}{kind}__HOST": "127.0.0.1",
                f"{account}{kind}__PORT": str(port),
                f"{account}{kind}__SECURITY": "plaintext",
            }
    if pop3_port is not None:
        known |= {
            f"{account}POP3__USERNAME": "anna",
            f"{account}POP3__PASSWORD": PASSWORD,
            f"{account}POP3__POLL": "1s",
        }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    return kept | {"PYTHONPATH": str(REPOSITORY)} | known | more


def command(*words: str) -> list[str]:
    """Return the command line of a verb."""
    return [sys.executable, "-W", "error", "-m", "daemon", *words]


@contextmanager
def running(
    settings: dict[str, str], directory: Path, words: list[str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run `postroom run`, or what `words` say, for the length of the block; killed afterwards if it still lives."""
    with child_log() as log:
        process = subprocess.Popen(
            words or command("run"), env=settings, cwd=directory, stdout=log, stderr=log, text=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def terminate(process: subprocess.Popen[str]) -> tuple[int, float]:
    """Send SIGTERM; return the exit code and the seconds it took."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=PATIENCE_SECONDS), time.monotonic() - began


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait until it happened; AssertionError says what did not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)
