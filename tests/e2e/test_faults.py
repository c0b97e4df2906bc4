"""A full disk, a locked database, a missing network, a wrong clock: what stands where before, during and after, in a real daemon.

In each the service goes into a state that has a name, says so to systemd and in `postroom status`, keeps what it has, deletes
nothing on a server, and goes on by itself when the fault is over.
"""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from tests.conftest import require_server
from tests.e2e.daemon_process import PATIENCE_SECONDS, command, environment, running, terminate, wait_for
from tests.secrets_used import PASSWORD
from tests.servers import mounted

DISK_OCTETS: Final = 8_388_608


def letter(subject: str) -> bytes:
    return f"From: bob@example.net\r\nSubject: {subject}\r\n\r\n{'Text. ' * 2000}\r\n".encode()


@dataclass(kw_only=True)
class House:
    """A daemon at work. states: each line that systemd was told."""

    directory: Path
    pop3: Pop3Server
    smtp: SmtpServer
    settings: dict[str, str]
    manager: socket.socket
    states: list[str] = field(default_factory=list)

    def hear(self, *, degraded: str | None) -> None:
        """Wait until the status line names this state, or none."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < until, self.states[-5:]
            said = self.manager.recv(10_000).decode()
            if "STATUS=" in said:
                self.states.append(said.partition("STATUS=")[2])
                if (degraded is None and "degraded" not in said) or (degraded and f"degraded: {degraded}" in said):
                    return

    def ask(self, statement: str) -> Any:
        with closing(sqlite3.connect(f"file:{self.directory}/house.db?mode=ro", uri=True, timeout=5)) as database:
            return database.execute(statement).fetchone()[0]

    def drop_row(self) -> None:
        with closing(sqlite3.connect(self.directory / "house.db", timeout=20)) as database, database:
            database.execute(
                "INSERT INTO outbox (recipients, subject, body) VALUES ('bob@example.net', 'row', 'Text.')"
            )

    def status(self) -> tuple[int, str]:
        """Say `postroom status`, as an operator would."""
        said = subprocess.run(
            command("status"), env=self.settings, cwd=self.directory, capture_output=True, text=True, check=False
        )
        return said.returncode, said.stdout

    @property
    def stands(self) -> tuple[int, int, int]:
        """Letters on the server; letters that clients had it delete; letters archived."""
        drop = self.pop3.maildrop("anna")
        return len(drop.messages), len(drop.deleted), self.ask("SELECT count(*) FROM messages")

    def until(self, stands: tuple[int, int, int]) -> None:
        wait_for(lambda: self.stands == stands, f"{stands}")

    def polled(self, times: int) -> None:
        """Wait for so many visits, from connect to the end of the line."""
        before = self.pop3.connections
        wait_for(lambda: self.pop3.connections >= before + times, "visits go on")


@contextmanager
def house(directory: Path, words: list[str] | None = None, **more: str) -> Iterator[House]:
    with (
        Pop3Server({"anna": []}, PASSWORD) as pop3,
        SmtpServer() as smtp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        address = directory.parent / "notify"
        manager.bind(str(address))
        manager.settimeout(PATIENCE_SECONDS)
        settings = environment(f"sqlite:///{directory}/house.db", pop3_port=pop3.port, smtp_port=smtp.port)
        settings |= {
            "NOTIFY_SOCKET": str(address),
            "WATCHDOG_USEC": "500000",
            "POSTROOM_RETRY": "1s..2s",
            "POSTROOM_TRACE": "failures",
            "POSTROOM_ACCOUNTS__HOME__POP3__DELETE": "after_fetch",
            "POSTROOM_ACCOUNTS__HOME__POP3__TIMEOUT": "5",
        } | more  # fmt: skip
        made = House(directory=directory, pop3=pop3, smtp=smtp, settings=settings, manager=manager)
        with running(settings, directory, words) as process:
            wait_for(lambda: b"READY=1" in manager.recv(10_000), "the house is ready")
            yield made
            code, _seconds = terminate(process)
            assert 0 == code
            made.manager.setblocking(False)


# --- the table --------------------------------------------------------------------------------------------------------


@contextmanager
def a_directory(path: Path) -> Iterator[Path]:
    path.mkdir()
    yield path


@contextmanager
def a_small_disk(path: Path) -> Iterator[Path]:
    with mounted.small(path, DISK_OCTETS) as disk:
        require_server("the right to mount a small file system", present=mounted.is_one(disk))
        yield disk


@contextmanager
def full_disk(at: House) -> Iterator[None]:
    ballast = at.directory / "ballast"
    with ballast.open("wb") as file:
        while (room := os.statvfs(ballast)).f_bavail:
            file.write(b"\0" * (room.f_bavail * room.f_frsize))
            file.flush()
    yield
    ballast.unlink()


@contextmanager
def lock(at: House) -> Iterator[None]:
    with closing(sqlite3.connect(at.directory / "house.db", timeout=20, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


@contextmanager
def no_network(at: House) -> Iterator[None]:
    at.pop3.stop()
    at.smtp.stop()
    yield
    at.pop3.start()
    at.smtp.start()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """state: what the status line calls it.  told: what `postroom status` says of it, and its exit code."""

    begin: Callable[[House], Any]
    state: str
    code: int
    told: str
    place: Callable[[Path], AbstractContextManager[Path]] = a_directory


FAULTS: Final = {
    "full disk": Fault(
        begin=full_disk, state="disk full", code=69, told="0 MiB are free where the database lies", place=a_small_disk
    ),
    "locked database": Fault(
        begin=lock, state="database locked", code=69, told="another program holds the database's write lock"
    ),
    "no network": Fault(
        begin=no_network, state="no server reachable", code=75, told="problem   home fetch for "
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_name_costs_nothing_and_ends_by_itself(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    with fault.place(tmp_path / "disk") as directory, house(directory) as at:
        at.pop3.maildrop("anna").add(letter("before"))
        at.until((0, 1, 1))
        assert at.status()[1].startswith(("all is well", "problem   disk: "))
        with fault.begin(at):
            at.pop3.maildrop("anna").add(letter("during"))
            at.hear(degraded=fault.state)
            code, told = at.status()
            assert (fault.code, True) == (code, fault.told in told), told
            assert (1, 1, 1) == at.stands, "what is not archived stays on the server, what is archived stays"
        at.hear(degraded=None)
        at.until((0, 2, 2))
        at.drop_row()
        wait_for(lambda: at.ask("SELECT status FROM outbox") == "sent", "and the outbox goes on, too")


def test_a_clock_that_is_wrong_by_a_month_deletes_and_expires_nothing_and_is_overcome(tmp_path: Path) -> None:
    wrong_by = tmp_path / "by"
    wrong_by.write_text("0", encoding="ascii")
    directory = tmp_path / "house"
    directory.mkdir()
    words = [sys.executable, "-W", "error", "-m", "tests.e2e.wrong_clock", str(wrong_by)]
    with house(directory, words, POSTROOM_ACCOUNTS__HOME__POP3__DELETE="7d") as at:
        at.smtp.answers["MAIL"] = Answer(octets=b"451 4.3.0 not now\r\n")
        at.pop3.maildrop("anna").add(letter("before"))
        at.until((1, 0, 1))
        at.drop_row()
        wait_for(lambda: at.ask("SELECT status FROM outbox") == "deferred", "the row waits")
        wrong_by.write_text(str(30 * 86_400), encoding="ascii")
        at.hear(degraded="clock set")
        at.polled(2)
        assert (1, 0, 1) == at.stands, "older than a week, says the clock"
        assert at.ask("SELECT status FROM outbox") in {"deferred", "sending"}, "older than five days, says the clock"
        wrong_by.write_text("0", encoding="ascii")
        at.hear(degraded=None)
        at.smtp.answers.clear()
        at.pop3.maildrop("anna").add(letter("after"))
        at.until((2, 0, 2))
        wait_for(lambda: at.ask("SELECT status FROM outbox") == "sent", "what a month ahead was planned is due now")
