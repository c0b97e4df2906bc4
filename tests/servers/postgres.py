"""A throw-away PostgreSQL cluster on a UNIX socket, for one run of the suite, and one database in it for test after test.

Works as root too (initdb refuses root: it is then run as the user `postgres`), listens on no port, and keeps nothing.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, LiteralString, Self

import psycopg

START_SECONDS: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def _end_with_parent() -> None:
    """Have the server shut down at once when the suite's process dies without stopping it, as by a time limit."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def binaries() -> Path | None:
    """Give the directory of initdb and postgres: $PG_BINDIR, Debian's newest, or that on the PATH."""
    candidates = [Path(os.environ["PG_BINDIR"])] if "PG_BINDIR" in os.environ else []
    candidates += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int("0" + path.parent.name.partition(".")[0]),
        reverse=True,
    )
    found = shutil.which("initdb")
    candidates += [Path(found).parent] if found else []
    return next((path for path in candidates if (path / "initdb").exists() and (path / "postgres").exists()), None)


class Cluster:
    """A running server; `url(name)` addresses one of its databases."""

    def __init__(self) -> None:
        place = binaries()
        assert place is not None, "PostgreSQL is not installed"
        self._bin = place
        # Not pytest's directory: it is 0700, and the path of a socket ends at 107 octets.
        self.directory = Path(tempfile.mkdtemp(prefix="postroom-pg-", dir="/tmp"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, **self._as)
        assert 0 == done.returncode, done.stderr.decode()

    def start(self) -> Self:
        files = str(self.directory / "files")
        self._run(
            str(self._bin / "initdb"),
            *("-D", files, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", files, *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- the suite forks this from its main thread
                **self._as,
            )
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self.directory], check=False).returncode:
            assert self._server.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)
        return self

    def url(self, name: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.directory}"

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        """Open a connection in which every statement is a transaction of its own."""
        return psycopg.connect(dbname=name, host=str(self.directory), user="postgres", autocommit=True)

    def sql(self, statement: LiteralString, name: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        with self.connect(name) as connection:
            connection.execute(statement)

    def psql(self, name: str = "postgres") -> list[str]:
        """Give the command line of psql on one of the databases; statements follow, or come on its stdin."""
        return [
            str(self._bin / "psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.directory),
            "-U",
            "postgres",
            "-d",
            name,
        ]

    def dump_schema(self, name: str) -> str:
        """Give the schema of a database as pg_dump prints it."""
        command = [str(self._bin / "pg_dump"), "-s", "-h", str(self.directory), "-U", "postgres", name]
        done = subprocess.run(command, capture_output=True, check=True, cwd="/")
        return done.stdout.decode()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                server.send_signal(number)
                try:
                    server.wait(5)
                    break
                except subprocess.TimeoutExpired:
                    continue
        shutil.rmtree(self.directory, ignore_errors=True)
