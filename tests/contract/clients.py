"""The programs that drop rows, one table of them: each runs a list of statements on a database, in one process where it can.

In, a line a statement: its SQL, then its parameters, parted by tabs; all in hex, a parameter behind the letter of its type (s
text, b octets, i integer, n NULL). Out, a line a statement: `ok` and the rows, their cells in hex, or `no` and the reason.
"""

import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require_server
from tests.servers import postgres

HERE = Path(__file__).parent / "programs"
JARS = ("/usr/share/java/sqlite-jdbc.jar", "/usr/share/java/postgresql.jar")
CELL, ROW, NULL = "\x1f", "\x1e", "\x1d"

Value = str | bytes | int | None
Statement = tuple[str, tuple[Value, ...]]
Rows = list[tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """A database: an SQLite file, or a database of a cluster by the directory of its socket."""

    kind: str
    path: str
    name: str = "-"


class Refused(str):
    """What a client was told instead of rows."""

    __slots__ = ()


def _wire(statement: Statement) -> str:
    sql, parameters = statement
    words = [sql.encode().hex()]
    for one in parameters:
        letter = {bytes: "b", int: "i", str: "s"}.get(type(one), "n")
        octets = one if isinstance(one, bytes) else b"" if one is None else str(one).encode()
        words.append(letter + octets.hex())
    return "\t".join(words) + "\n"


def _cells(row: str) -> tuple[str | None, ...]:
    return tuple(None if cell == "-" else bytes.fromhex(cell).decode() for cell in row.split(","))


def _said(line: str) -> Rows | Refused:
    verdict, *rest = line.split("\t")
    return [_cells(row) for row in rest] if verdict == "ok" else Refused(bytes.fromhex(rest[0]).decode())


def program(*command: str) -> Callable[[Place, Sequence[Statement]], list[Rows | Refused]]:
    """Make a client of a program that takes a database's kind, place and name."""

    def run(place: Place, statements: Sequence[Statement]) -> list[Rows | Refused]:
        is_java = command[0] == "java" and place.kind == "postgresql"
        with _on_loopback(place) if is_java else nullcontext(place.path) as path:
            done = subprocess.run(
                [*command, place.kind, path, place.name],
                input="".join(map(_wire, statements)),
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
            )
        assert (0, "") == (done.returncode, done.stderr)
        return [_said(line) for line in done.stdout.splitlines()]

    return run


def command_line(
    arguments: Callable[[Place], list[str]],
) -> Callable[[Place, Sequence[Statement]], list[Rows | Refused]]:
    """Make a client of a command that takes one statement, its parameters written into it as people do."""

    def run(place: Place, statements: Sequence[Statement]) -> list[Rows | Refused]:
        heard: list[Rows | Refused] = []
        for sql, parameters in statements:
            literals = iter([_literal(one, place.kind) for one in parameters])
            written = "".join(next(literals) if letter == "?" else letter for letter in sql)
            done = subprocess.run([*arguments(place), written], capture_output=True, check=False, timeout=30)
            rows = done.stdout.decode().removesuffix("\n").removesuffix(ROW)
            if done.returncode:
                heard.append(Refused(done.stderr.decode()))
            else:
                cells = [row.split(CELL) for row in rows.split(ROW)] if rows else []
                heard.append([tuple(None if cell == NULL else cell for cell in row) for row in cells])
        return heard

    return run


def _literal(given: Value, kind: str) -> str:
    if isinstance(given, str):
        return "'" + given.replace("'", "''") + "'"
    if isinstance(given, bytes):
        return f"x'{given.hex()}'" if kind == "sqlite" else rf"'\x{given.hex()}'"
    return "NULL" if given is None else str(given)


def _sqlite3(place: Place) -> list[str]:
    return [
        "sqlite3",
        "-list",
        "-separator",
        CELL,
        "-newline",
        ROW,
        "-nullvalue",
        NULL,
        "-cmd",
        ".timeout 60000",
        place.path,
    ]


def _psql(place: Place) -> list[str]:
    shape = ["-A", "-t", "-F", CELL, "-R", ROW, "-P", f"null={NULL}"]
    return [PSQL, "-X", "-q", *shape, "-h", place.path, "-U", "postgres", "-d", place.name, "-c"]


@contextmanager
def _on_loopback(place: Place) -> Iterator[str]:
    """Give an address for JDBC, which knows no UNIX sockets."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{place.path}/.s.PGSQL.5432")
                back = threading.Thread(target=_carry, args=(server, self.request), daemon=True)
                back.start()
                _carry(self.request, server)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        serving = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        yield f"127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()
        serving.join()


def _carry(source: Any, target: Any) -> None:
    while octets := source.recv(65536):
        target.sendall(octets)
    target.shutdown(socket.SHUT_WR)


@dataclass(frozen=True, slots=True)
class Client:
    """A program, the databases that it can talk to, and a command that succeeds where it is there with all it needs."""

    name: str
    kinds: tuple[str, ...]
    run: Callable[[Place, Sequence[Statement]], list[Rows | Refused]]
    probe: tuple[str, ...]
    is_optional: bool = False  # too large to be installed for this alone

    def ensure_present(self) -> None:
        """Skip the test where the program is not there; fail where it must be."""
        found = shutil.which(self.probe[0]) is not None
        present = found and not subprocess.run(self.probe, capture_output=True, check=False).returncode
        if self.is_optional and not present:
            pytest.skip(f"{self.name} is not installed")
        require_server(self.name, present=present)


# PostgreSQL's own, not Debian's script in front of it, which takes longer than the statements.
PSQL = str((postgres.binaries() or Path("/")) / "psql")
BOTH = ("sqlite", "postgresql")
PHP = "exit(count(array_intersect(['sqlite', 'pgsql'], PDO::getAvailableDrivers())) - 2);"
NODE = ("node", "--disable-warning=ExperimentalWarning")
CLIENTS = [
    Client("sqlite3", ("sqlite",), command_line(_sqlite3), ("sqlite3", "--version")),
    Client("psql", ("postgresql",), command_line(_psql), (PSQL, "--version")),
    Client("Python", BOTH, program(sys.executable, str(HERE / "drop.py")), (sys.executable, "-c", "")),
    Client("PHP", BOTH, program("php", str(HERE / "drop.php")), ("php", "-r", PHP)),
    Client("Node", ("sqlite",), program(*NODE, str(HERE / "drop.js")), ("node", "-e", "require('node:sqlite')")),
    Client("Perl", BOTH, program("perl", str(HERE / "drop.pl")), ("perl", "-MDBD::SQLite", "-MDBD::Pg", "-e", "1")),
    Client(
        "Java",
        BOTH,
        program("java", "-cp", ":".join(JARS), "-XX:TieredStopAtLevel=1", str(HERE / "Drop.java")),
        ("sh", "-c", f"command -v javac && ls {' '.join(JARS)}"),
        is_optional=True,
    ),
]
