"""The keeper: READY when the clock runs, the watchdog fed by progress, new settings taken whole or not at all."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from daemon import app, errors, hands
from daemon import settings as reading
from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.jobs.context import Context
from daemon.keeper import Keeper
from daemon.schedule import Schedule
from daemon.service import Notifier
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.store import accounts
from daemon.store.database import Database
from tests.doubles import house
from tests.e2e.daemon_process import environment
from tests.secrets_used import PASSWORD
from tests.servers.postgres import Cluster

PATIENCE_SECONDS = 20.0
LETTER = b"From: bob@example.net\r\nSubject: Hello\r\n\r\nText.\r\n"
HOME, WORK = "POSTROOM_ACCOUNTS__HOME__", "POSTROOM_ACCOUNTS__WORK__"


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


class House:
    """A keeper at work in a thread; `variables` are what it reads, `said` what systemd heard."""

    def __init__(self, url: str, manager: socket.socket, variables: dict[str, str]) -> None:
        self.variables, self.manager, self.said = variables, manager, ""
        self.database = Database(url)
        self.clock = house.Clock()
        self.context = house.context(self.database, self.clock)
        settings = self.read()
        self.schedule = Schedule(self.context, settings.accounts.values())
        self.signals = Signals(threading.Event(), reloads=True)
        # Twice a tenth of a second: how often the watchdog is fed.
        self.keeper = Keeper(
            replace(settings, watchdog_seconds=0.2),
            self.context,
            self.schedule,
            Notifier(manager.getsockname()),
            self.signals,
            self.read,
        )
        self._thread = threading.Thread(target=self.keeper.keep)

    def read(self) -> Settings:
        return reading.load(self.variables, None)

    def hear(self, text: str) -> None:
        """Wait until systemd is told something that holds the text; what came before is let go."""
        until = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said:
            assert time.monotonic() < until, self.said
            self.said = self.manager.recv(10_000).decode()

    def reload(self, **changes: str | None) -> None:
        for name, value in changes.items():
            self.variables.pop(name, None)
            if value is not None:
                self.variables[name] = value
        self.signals._asked(signal.SIGHUP, None)
        self.hear("RELOADING=1\nMONOTONIC_USEC=")
        self.hear("READY=1")

    def __enter__(self) -> Self:
        self.schedule.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.signals.stop.set()
        self._thread.join()
        assert self.schedule.stop(5.0)
        self.database.dispose()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_SECONDS)
        yield listening


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server({"anna": [LETTER], "bob": [LETTER]}, PASSWORD) as made:
        yield made


def of(server: Pop3Server, prefix: str = HOME, user: str = "anna") -> dict[str, str]:
    home = environment("", pop3_port=server.port)
    named = {prefix + name.removeprefix(HOME): value for name, value in home.items() if name.startswith(HOME)}
    return named | {f"{prefix}POP3__USERNAME": user, f"{prefix}POP3__POLL": "1h"}


@contextmanager
def held(server: Pop3Server, user: str) -> Iterator[threading.Event]:
    """Keep the user's sessions waiting at RETR until the event is set."""
    gate = threading.Event()

    def hook(seen: Seen) -> Answer | None:
        if seen.user == user:
            gate.wait(PATIENCE_SECONDS)
        return None

    server.answers["RETR"] = hook
    yield gate
    gate.set()


def last_error(database: Database, name: str) -> tuple[str | None, int]:
    with database.reading() as conn:
        standing = next(row for row in accounts.all(conn) if row.name == name)
    return standing.last_error, standing.failures


def test_ready_is_said_with_how_it_stands_and_the_watchdog_is_fed(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with House(sqlite_url, manager, of(server)) as made:
        made.hear("READY=1\nSTATUS=")
        assert "0 to send" in made.said
        made.hear("WATCHDOG=1")


def test_an_account_comes_in_while_the_session_of_another_goes_on(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with held(server, "anna") as gate, House(sqlite_url, manager, of(server)) as made:
        wait_for(lambda: "RETR 1" in server.commands)
        made.reload(**of(server, WORK, "bob"))
        wait_for(lambda: last_poll(made.database, "work") == "ok")
        assert "running" == last_poll(made.database, "home")
        gate.set()
        wait_for(lambda: last_poll(made.database, "home") == "ok")
        assert 1 == server.commands.count("STAT") - 1, "each has had one session"


def last_poll(database: Database, name: str) -> object:
    with database.reading() as conn:
        return conn.exec_driver_sql(
            f"SELECT outcome FROM polls WHERE account = '{name}' ORDER BY id DESC LIMIT 1"
        ).scalar()


def test_a_changed_account_s_session_is_ended_without_blame_and_begun_anew(
    sqlite_url: str, manager: socket.socket, server: Pop3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "PARTING_SECONDS", 0.0)
    server.answers["STAT"] = Answer(octets=b"", then=Then.STALL)
    with House(sqlite_url, manager, of(server)) as made:
        wait_for(lambda: "STAT" in server.commands)
        server.answers.clear()
        made.reload(**{f"{HOME}POP3__DELETE": "after_fetch"})
        wait_for(lambda: last_poll(made.database, "home") == "ok")
        assert (None, 0) == last_error(made.database, "home")
        with made.database.reading() as conn:
            outcomes = conn.exec_driver_sql("SELECT outcome FROM polls ORDER BY id").scalars().all()
        assert ["interrupted", "ok"] == outcomes
        assert [] == server.maildrop("anna").contents, "the new settings are in force"


def test_a_session_goes_on_when_only_the_time_of_the_next_one_changes(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with held(server, "anna") as gate, House(sqlite_url, manager, of(server)) as made:
        wait_for(lambda: "RETR 1" in server.commands)
        made.reload(**{f"{HOME}POP3__POLL": "2h"})
        gate.set()
        wait_for(lambda: last_poll(made.database, "home") == "ok")
        with made.database.reading() as conn:
            assert "interrupted" not in conn.exec_driver_sql("SELECT outcome FROM polls").scalars().all()


def test_a_removed_account_is_visited_no_more_and_fails_no_more(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    work = of(server, WORK, "bob") | {f"{WORK}POP3__PASSWORD": "wrong"}
    with House(sqlite_url, manager, of(server) | work) as made:
        wait_for(lambda: last_poll(made.database, "work") == "failed")
        made.reload(**dict.fromkeys(work))
        assert "failing" not in made.said
        wait_for(lambda: not made.schedule.busy())
        made.schedule._polls.ask("poll work")
        assert "poll work" not in made.schedule.busy()
        assert {"poll home"} == set(made.schedule._jobs)


def test_one_mistake_keeps_all_settings_from_before(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with House(sqlite_url, manager, of(server)) as made:
        made.reload(**of(server, WORK, "bob"), **{f"{HOME}POP3__PORT": "many"})
        assert f"STATUS=new settings refused: {HOME}POP3__PORT takes a port number, not 'many'" in made.said
        assert {"poll home"} == set(made.schedule._jobs)
        made.reload(**{f"{HOME}POP3__PORT": str(server.port)})
        assert "refused" not in made.said
        assert {"poll home", "poll work"} == set(made.schedule._jobs)


def test_a_house_is_not_emptied_by_a_file_that_lost_its_accounts(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with House(sqlite_url, manager, of(server)) as made:
        made.reload(**dict.fromkeys(of(server)))
        assert "new settings refused: no account is set any more" in made.said
        assert {"poll home"} == set(made.schedule._jobs)


def test_another_database_waits_for_a_restart_and_the_status_says_so(
    sqlite_url: str, manager: socket.socket, server: Pop3Server
) -> None:
    with House(sqlite_url, manager, of(server)) as made:
        made.reload(POSTROOM_DATABASE_URL="sqlite:///other.db")
        assert "restart for a new POSTROOM_DATABASE_URL" in made.said


def test_a_password_that_was_rotated_is_tried_at_once_after_a_reload(
    sqlite_url: str, manager: socket.socket, server: Pop3Server, tmp_path: Path
) -> None:
    """Also where the old one has stopped the account: without a reload a file is looked at every minute."""
    file = tmp_path / "password"
    file.write_text("the old one", encoding="utf-8")
    file.chmod(0o600)
    server.answers["PASS"] = server.answers["AUTH"] = Answer(octets=b"-ERR [AUTH] wrong\r\n")
    with House(
        sqlite_url,
        manager,
        of(server) | {f"{HOME}POP3__PASSWORD": "", f"{HOME}POP3__PASSWORD_FILE": str(file)},
    ) as made:
        wait_for(lambda: last_poll(made.database, "home") == "failed")
        server.answers.clear()
        file.write_text(PASSWORD, encoding="utf-8")
        made.clock.forward(seconds=1)
        made.reload()
        wait_for(lambda: last_poll(made.database, "home") == "ok")


def test_the_database_s_trouble_is_in_the_status(sqlite_url: str, manager: socket.socket, server: Pop3Server) -> None:
    with House(sqlite_url, manager, of(server)) as made:
        made.hear("READY=1")

        def full(_context: Context) -> errors.PostroomError:
            return errors.DatabaseFull("the disk is full")

        made.schedule._hands.register("sweep", full, 60.0)
        made.schedule._hands.ask("sweep")
        wait_for(made.schedule.troubles)
        made.reload()
        assert "STATUS=degraded: disk full: the disk is full; " in made.said
        made.schedule._hands.register("sweep", made.schedule._sweep, 60.0)
        made.schedule._hands.ask("sweep")
        wait_for(lambda: not made.schedule.troubles())


@pytest.mark.parametrize("part", ["clock", "outbox watcher", "poll home"])
def test_what_does_not_get_on_stops_the_feeding_of_the_watchdog(
    sqlite_url: str, manager: socket.socket, server: Pop3Server, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that lives is no progress: the clock does not tick, the watcher does not look, a job is silent."""
    now = 0.0
    database = Database(sqlite_url)
    context = house.context(database, house.Clock(), monotonic=lambda: now)
    schedule = Schedule(context, reading.load(of(server), None).accounts.values())
    assert [] == schedule.stuck()
    running, go_on = threading.Event(), threading.Event()

    def silent(own: Context) -> None:
        own.pulse()
        running.set()
        go_on.wait(PATIENCE_SECONDS)

    if part == "poll home":
        schedule._polls.register(part, silent, 1e9, patience_seconds=360.0)
        schedule._polls.ask(part)
        assert running.wait(PATIENCE_SECONDS)
    for at, expected in ((359.0, []), (361.0, [part])):
        now = at
        schedule.ticked_at = schedule.watched_at = at
        if part == "clock":
            schedule.ticked_at = at if not expected else at - 10.0
        if part == "outbox watcher":
            schedule.watched_at = at if not expected else at - 300.0
        assert expected == schedule.stuck()
    go_on.set()
    wait_for(lambda: not schedule.busy())
    schedule.ticked_at = schedule.watched_at = now
    assert [] == schedule.stuck()
    context.stop.set()
    for pool in schedule._pools:
        pool._context = replace(context, monotonic=house.real_monotonic)
        assert pool.stop(5.0)
    database.dispose()


# --- before it is ready ---------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_under_systemd_a_database_that_does_not_answer_yet_is_waited_for(
    cluster: Cluster, manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY waits for the first migration; meanwhile systemd hears why, and is asked for more time."""
    monkeypatch.setattr(app, "START_AGAIN_SECONDS", 0.05)
    cluster.sql("CREATE DATABASE late")
    there = cluster.url("late").partition("host=")[2]
    database = Database(cluster.url("late").replace(there, str(tmp_path / "socket")))
    done: list[bool] = []
    signals = Signals(threading.Event())
    thread = threading.Thread(
        target=lambda: done.append(app._migrate(database, Notifier(manager.getsockname()), signals))
    )
    thread.start()
    heard = ""
    while "EXTEND_TIMEOUT_USEC=300050000" not in heard:
        heard += manager.recv(10_000).decode() + "\n"
    assert "STATUS=degraded: database postgresql" in heard
    assert "READY" not in heard
    (tmp_path / "socket").symlink_to(there)
    thread.join(PATIENCE_SECONDS)
    assert [True] == done
    database.dispose()


def test_without_systemd_a_database_that_does_not_answer_ends_the_start(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://postgres@/late?host={tmp_path}")
    with pytest.raises(errors.StoreError, match="No such file"):
        app._migrate(database, Notifier(None), Signals(threading.Event()))
    database.dispose()
