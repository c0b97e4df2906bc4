"""A real server as a child process of the tests: found, started in the foreground, waited for, and ended by its pid."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

START_SECONDS: Final = 30.0  # for a server to answer on its ports; two cores may be busy with seven others
STOP_SECONDS: Final = 15.0  # for an orderly end, before it is killed
REQUIRE_SERVERS: Final = os.environ.get("POSTROOM_REQUIRE_SERVERS") == "1"  # read before tests clean the environment
_PORTS: Final = random.SystemRandom()  # not as pytest-randomly seeds it: workers would want the same ones
SBIN: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # where servers are, and where a user's PATH does not look


class ServerError(Exception):
    """A server's binary is here, but it can't be used; the message holds the end of its log."""


def find(name: str, *more: str) -> Path | None:
    """Return the path of a program, looked for in PATH, where servers are, and in `more` directories."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join([*SBIN, *more]))
    return Path(found) if found else None


def need(why_not: str | None) -> None:
    """Skip the test when a server can't be used here; fail it where POSTROOM_REQUIRE_SERVERS says that all must be."""
    if why_not is not None:
        if REQUIRE_SERVERS:
            pytest.fail(f"{why_not}; POSTROOM_REQUIRE_SERVERS=1 asks for it")
        pytest.skip(why_not)


def need_program(name: str) -> None:
    """Skip or fail the test when a program is not on this machine."""
    need(None if find(name) else f"{name} is not installed")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on; all different.

    None that the kernel gives to connections: those that other tests make could take one before its server does.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _PORTS.randrange(16384, 32768)  # Linux gives 32768 and up, IANA names few from 16384
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            ports += [port] if port not in ports else []
    return ports


def directory(prefix: str) -> Path:
    """Make a directory that server users can enter, with a path short enough for sockets (pytest's own are 0700 and long)."""
    made = Path(tempfile.mkdtemp(prefix=f"postroom-{prefix}-", dir="/tmp"))
    made.chmod(0o755)
    return made


class Child:
    """One foreground process in a session of its own; what it says goes to `log`."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def wait_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Wait for the server to be ready; ServerError when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if self.process.poll() is not None:
                raise ServerError(f"{what}: ended with {self.process.returncode}\n{self.said()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"{what}: not ready after {START_SECONDS} s\n{self.said()}")
            time.sleep(0.02)

    def wait_for_ports(self, *ports: int) -> None:
        """Wait until every port accepts a connection."""
        self.wait_until(lambda: all(_answers(port) for port in ports), f"{self.process.args!r} on ports {ports}")

    def said(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self) -> None:
        """End it in order; what does not go is killed, with what it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
