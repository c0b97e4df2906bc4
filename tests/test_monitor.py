"""What monitors are told: whether the daemon gets on, whether it can work, figures; and a dead man's switch that falls silent."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from daemon import errors, monitor
from daemon.store import accounts, archive
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.doubles import house

DASHBOARD = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboard.json"


@pytest.fixture
def wrong() -> dict[str, list[str]]:
    return {"stuck": [], "troubles": []}


@pytest.fixture
def told(database: Database, wrong: dict[str, list[str]]) -> monitor.House:
    return monitor.House(
        database=database,
        version="1.2.3",
        now=lambda: house.NOW,
        stuck=lambda: wrong["stuck"],
        troubles=lambda: wrong["troubles"],
    )


def ask(place: Path | tuple[str, int], path: str, verb: str = "GET") -> tuple[int, str]:
    """Ask as any client would; give the code and the body."""
    kind = socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        client.connect(str(place) if isinstance(place, Path) else place)
        client.sendall(f"{verb} {path} HTTP/1.0\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, _, body = said.partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_it_says_whether_the_daemon_gets_on_and_whether_it_can_work(
    tmp_path: Path, told: monitor.House, wrong: dict[str, list[str]]
) -> None:
    place = tmp_path / "http.sock"
    with monitor.monitored(told, place, None):
        assert (200, "ok\n") == ask(place, "/livez") == ask(place, "/readyz?verbose")
        assert (200, "") == ask(place, "/readyz", "HEAD")
        assert 404 == ask(place, "/")[0]
        assert 501 == ask(place, "/livez", "POST")[0]
        wrong["troubles"] = ["the disk is full"]
        assert ((200, "ok\n"), (503, "the disk is full\n")) == (ask(place, "/livez"), ask(place, "/readyz"))
        wrong["stuck"] = ["poll work"]
        assert (503, "poll work\n") == ask(place, "/livez")
        assert (503, "poll work\nthe disk is full\n") == ask(place, "/readyz")
    assert not place.exists()


def test_a_database_that_is_gone_is_not_ready_and_its_metrics_say_so(tmp_path: Path) -> None:
    gone = Database(f"sqlite:///{tmp_path}/nowhere/mail.db")
    told = monitor.House(database=gone, version="1", now=lambda: house.NOW, stuck=list, troubles=list)
    place = tmp_path / "http.sock"
    with monitor.monitored(told, place, None):
        assert 200 == ask(place, "/livez")[0]
        assert 503 == ask(place, "/readyz")[0]
        assert "\npostroom_database_up 0.0\n" in ask(place, "/metrics")[1]
    gone.dispose()


def test_metrics_tell_how_the_house_stands(
    tmp_path: Path, database: Database, told: monitor.House, wrong: dict[str, list[str]]
) -> None:
    now = house.NOW
    with database.transaction() as tx:
        accounts.register(tx, [("work", "anna@example.org")])
        archive.add(tx, "work", [archive.Incoming(uidl="1", spool=Spool.of(b"Subject: x\r\n\r\ntext"))], now)
        tx.exec_driver_sql(
            "UPDATE accounts SET stopped_since = '2026-11-23T10:00:00.000Z', failing_since = '2026-11-23T10:00:00.000Z'"
        )
        tx.exec_driver_sql("INSERT INTO outbox (recipients, body) VALUES ('bob@example.net', 'x')")
        tx.exec_driver_sql("UPDATE outbox SET next_attempt_at = '2026-11-23T11:59:00.000Z'")
    wrong["troubles"] = ["trouble"]
    place = tmp_path / "http.sock"
    with monitor.monitored(told, place, None):
        code, page = ask(place, "/metrics")
    assert 200 == code
    for line in (
        'postroom_build_info{version="1.2.3"} 1.0',
        "postroom_degraded 1.0",
        "postroom_database_up 1.0",
        "postroom_messages_total 1.0",
        "postroom_outbox_rows_inserted_total 1.0",
        'postroom_account_messages{account="work"} 1.0',
        'postroom_account_failing{account="work",direction="fetch"} 1.0',
        'postroom_account_failing{account="work",direction="send"} 0.0',
        'postroom_account_stopped{account="work"} 1.0',
        'postroom_outbox_rows{status="queued"} 1.0',
        "postroom_outbox_oldest_due_seconds 60.0",
        'postroom_problems{account="work",mended_by="person",what="fetch"} 1.0',
    ):
        assert f"\n{line}\n" in f"\n{page}"
    assert re.search(r"^process_resident_memory_bytes \d", page, re.MULTILINE)


def test_each_figure_of_the_dashboard_is_one_that_is_told(tmp_path: Path, told: monitor.House) -> None:
    place = tmp_path / "http.sock"
    with monitor.monitored(told, place, None):
        known = set(re.findall(r"^# TYPE (\w+)", ask(place, "/metrics")[1], re.MULTILINE))
    shown = set(
        re.findall(
            r"\b(?:postroom|process)_\w+", json.dumps(json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"])
        )
    )
    unknown_to_an_sqlite_file = {"postroom_disk_free_octets"}
    assert set() == shown - known - unknown_to_an_sqlite_file
    assert len(shown) > 10


def test_it_listens_on_loopback_and_says_where_it_can_not(told: monitor.House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(errors.SettingsInvalid, match=f"can't listen at 127.0.0.1:{port}: Address already in use"),
            monitor.monitored(told, ("127.0.0.1", port), None),
        ):
            pass
    for host in ("127.0.0.1", "::1"):
        with monitor.monitored(told, (host, port), None):
            assert (200, "ok\n") == ask((host, port), "/readyz")


class Switch:
    """A dead man's switch: counts those who ask for it."""

    def __init__(self, code: int = 200) -> None:
        self.asked = threading.Semaphore(0)
        switch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.end_headers()
                switch.asked.release()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/s3cr3t-uuid"


@contextmanager
def switched(switch: Switch) -> Iterator[Switch]:
    thread = threading.Thread(target=switch.server.serve_forever)
    thread.start()
    try:
        yield switch
    finally:
        switch.server.shutdown()
        thread.join()
        switch.server.server_close()


def test_a_dead_mans_switch_is_told_while_all_goes_on_and_not_when_it_does_not(
    told: monitor.House, wrong: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "PING_SECONDS", 0.01)
    with switched(Switch()) as switch, monitor.monitored(told, None, switch.url):
        assert switch.asked.acquire(timeout=10)
        assert switch.asked.acquire(timeout=10)
        wrong["troubles"] = ["the disk is full"]
        while switch.asked.acquire(timeout=0.5):  # those that were on their way
            pass
        wrong["troubles"] = []
        assert switch.asked.acquire(timeout=10)


def test_a_switch_that_refuses_is_told_of_once_without_its_address(
    told: monitor.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "PING_SECONDS", 0.01)
    said: list[object] = []
    monkeypatch.setattr("daemon.trace.ping_failed", lambda *, reason: said.append(reason))
    with switched(Switch(500)) as switch, monitor.monitored(told, None, switch.url):
        for _ in range(3):
            assert switch.asked.acquire(timeout=10)
    assert ["Internal Server Error"] == said
