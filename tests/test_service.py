"""What systemd hears: datagrams to the socket that it named, and nothing when it named none."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import service
from daemon.service import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_ready_carries_the_status(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).ready("all well")
    assert b"READY=1\nSTATUS=all well" == manager.recv(1000)


def test_the_watchdog_is_fed_and_the_status_told(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    notifier.alive()
    notifier.status("2 rows wait")
    assert [b"WATCHDOG=1", b"STATUS=2 rows wait"] == [manager.recv(1000), manager.recv(1000)]


def test_stopping_asks_for_the_time_that_sessions_need(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).stopping(9.0)
    assert b"EXTEND_TIMEOUT_USEC=9000000" in manager.recv(1000)


def test_a_reload_carries_the_time_at_which_it_began(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    Notifier(manager.getsockname()).reloading()
    told = dict(line.split("=", 1) for line in manager.recv(1000).decode().splitlines())
    assert "1" == told["RELOADING"]
    assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_manager_that_reads_nothing_holds_nobody_up(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE_SECONDS", 0.001)
    for _ in range(20):
        Notifier(manager.getsockname()).alive()


def test_no_core_is_dumped_and_nobody_but_root_reads_the_memory() -> None:
    """In a process of its own: it can't be taken back."""
    program = (
        "import ctypes, resource; from daemon import service; service.forbid_core_dumps();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "(0, 0) 0\n" == done.stdout


def test_an_abstract_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0postroom-test-notify")
        listening.settimeout(5)
        Notifier("@postroom-test-notify").alive()
        assert b"WATCHDOG=1" == listening.recv(1000)


@pytest.mark.parametrize("address", [None, "/nowhere/notify"])
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    Notifier(address).ready("unheard")
