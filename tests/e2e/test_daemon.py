"""`postroom run` as a process: polls, sends what others drop, stops in order, is alone on its SQLite file."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.store.database import Database
from tests.e2e.daemon_process import PATIENCE_SECONDS, command, environment, running, terminate, wait_for
from tests.secrets_used import PASSWORD

LETTER = b"From: bob@example.net\r\nSubject: Hello\r\n\r\nText.\r\n"


@pytest.fixture
def servers() -> Iterator[tuple[Pop3Server, SmtpServer]]:
    with Pop3Server({"anna": [LETTER]}, PASSWORD) as pop3, SmtpServer() as smtp:
        yield pop3, smtp


@pytest.fixture
def settings(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer]) -> dict[str, str]:
    pop3, smtp = servers
    return environment(f"sqlite:///{tmp_path}/house.db", pop3_port=pop3.port, smtp_port=smtp.port)


def value(directory: Path, statement: str) -> object:
    database = sqlite3.connect(f"file:{directory}/house.db?mode=ro", uri=True, timeout=5)
    try:
        row = database.execute(statement).fetchone()
        return None if row is None else row[0]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    finally:
        database.close()


def exists(directory: Path) -> bool:
    return (directory / "house.db").exists() and value(directory, "SELECT count(*) FROM postroom_version") == 1


def drop_row(directory: Path, subject: str) -> None:
    database = sqlite3.connect(directory / "house.db", timeout=5)
    with database:
        database.execute(
            "INSERT INTO outbox (recipients, subject, body) VALUES ('bob@example.net', ?, 'Text.')", (subject,)
        )
    database.close()


def test_it_fetches_indexes_and_sends_and_stops_in_order(
    tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], database_url: str, database: Database
) -> None:
    def ask(statement: str) -> object:
        with database.reading() as conn:
            return conn.execute(text(statement)).scalar()

    pop3, smtp = servers
    with running(environment(database_url, pop3_port=pop3.port, smtp_port=smtp.port), tmp_path) as process:
        wait_for(lambda: ask("SELECT count(*) FROM messages WHERE parser_version > 0") == 1, "indexed")
        pop3.maildrop("anna").add(LETTER.replace(b"Hello", b"Again"))
        wait_for(lambda: ask("SELECT count(*) FROM messages WHERE parser_version > 0") == 2, "polled again")
        with database.transaction() as tx:
            tx.execute(text("INSERT INTO outbox (recipients, subject, body) VALUES ('bob@example.net', 'Hi', 'Text.')"))
        dropped = time.monotonic()
        assert smtp.wait_for(1)
        assert time.monotonic() - dropped < PATIENCE_SECONDS
        wait_for(lambda: ask("SELECT status FROM outbox") == "sent", "the verdict is written")
        code, seconds = terminate(process)
    assert 0 == code
    assert seconds < 10
    assert "ok" == ask("SELECT outcome FROM polls ORDER BY id DESC LIMIT 1")


def test_rows_dropped_by_another_process_leave_within_a_second(
    tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], settings: dict[str, str]
) -> None:
    with running(settings, tmp_path) as process:
        wait_for(lambda: exists(tmp_path), "the database is made")
        wait_for(lambda: value(tmp_path, "SELECT count(*) FROM polls"), "the schedule runs")
        waits = []
        for number in range(5):
            drop_row(tmp_path, str(number))
            dropped = time.monotonic()
            assert servers[1].wait_for(number + 1)
            waits.append(time.monotonic() - dropped)
        terminate(process)
    # The promise is of the product, not of this machine's speed: one slow turn of a busy machine is not a broken promise.
    assert sorted(waits)[2] < 1.0


def test_sighup_reads_the_env_file_again(
    tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], settings: dict[str, str]
) -> None:
    """What the file says is taken; what the environment says wins, as at a start."""
    servers[0].add_user("bob", PASSWORD).add(LETTER)
    names = [name for name in settings if name.startswith("POSTROOM_ACCOUNTS__")]
    home = "".join(f"{name}={settings.pop(name)!r}\n" for name in names)
    work = home.replace("__HOME__", "__WORK__").replace("anna", "bob")
    (tmp_path / ".env").write_text(home, encoding="utf-8")
    with running(settings, tmp_path) as process:
        wait_for(lambda: exists(tmp_path), "the database is made")
        wait_for(lambda: value(tmp_path, "SELECT count(*) FROM polls WHERE outcome = 'ok'"), "home is polled")
        (tmp_path / ".env").write_text(home + work, encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: value(tmp_path, "SELECT count(*) FROM messages WHERE account = 'work'") == 1, "so is work")
        assert 0 == terminate(process)[0]


def test_a_second_run_on_the_same_file_is_refused(tmp_path: Path, settings: dict[str, str]) -> None:
    with running(settings, tmp_path) as first:
        wait_for(lambda: exists(tmp_path), "the database is made")
        second = subprocess.run(
            command("run"), env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
        assert errors.EX_TEMPFAIL == second.returncode
        assert f"pid {first.pid}" in second.stderr
        assert first.poll() is None
        terminate(first)


HANGING = ["STAT", "RETR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """A daemon that was asked to end while the server left this verb of its session without an answer."""

    directory: Path
    left: list[bytes]
    code: int
    seconds: float


@pytest.fixture(scope="module")
def terminated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Terminated]:
    """Side by side, for each waits eight seconds for its server."""
    # Made here: pytest's first temporary directory, asked for by two threads at once, is deleted by the second.
    directories = [tmp_path_factory.mktemp(verb.lower()) for verb in HANGING]

    def end(verb: str, directory: Path) -> Terminated:
        with Pop3Server({"anna": [LETTER]}, PASSWORD) as server, SmtpServer() as smtp:
            server.answers[verb] = Answer(octets=b"", then=Then.STALL)
            settings = environment(f"sqlite:///{directory}/house.db", pop3_port=server.port, smtp_port=smtp.port)
            with running(settings, directory) as process:
                wait_for(lambda: any(line.startswith(verb) for line in server.commands), "the session hangs")
                code, seconds = terminate(process)
            left = server.maildrop("anna").contents
        return Terminated(directory=directory, left=left, code=code, seconds=seconds)

    with ThreadPoolExecutor(len(HANGING)) as both:
        return dict(zip(HANGING, both.map(end, HANGING, directories), strict=True))


@pytest.mark.parametrize("verb", HANGING)
def test_sigterm_ends_a_session_that_hangs_within_ten_seconds(terminated: dict[str, Terminated], verb: str) -> None:
    end = terminated[verb]
    assert 0 == end.code
    assert end.seconds < 10
    assert [LETTER] == end.left
    assert "interrupted" == value(end.directory, "SELECT outcome FROM polls")
    assert 0 == value(end.directory, "SELECT failures FROM accounts"), "the server is not to blame"


def test_a_daemon_killed_with_sigkill_is_succeeded_at_once(
    tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], settings: dict[str, str]
) -> None:
    servers[0].answers["STAT"] = Answer(octets=b"", then=Then.STALL)
    with running(settings, tmp_path) as process:
        wait_for(lambda: "STAT" in servers[0].commands, "the session holds its lease")
        process.kill()
        process.wait()
    servers[0].answers.clear()
    with running(settings, tmp_path) as process:
        wait_for(lambda: value(tmp_path, "SELECT count(*) FROM messages") == 1, "the lease of the dead is free")
        terminate(process)
    assert "interrupted" == value(tmp_path, "SELECT outcome FROM polls ORDER BY id LIMIT 1")


def test_a_broken_account_and_a_dead_relay_leave_the_rest_running(
    tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], settings: dict[str, str]
) -> None:
    work = "POSTROOM_ACCOUNTS__WORK__"
    settings |= {
        f"{work}ADDRESS": "work@example.org",
        f"{work}POP3__HOST": "127.0.0.1",
        f"{work}POP3__PORT": str(servers[0].port),
        f"{work}POP3__SECURITY": "plaintext",
        f"{work}POP3__PASSWORD": "not-the-password",
        f"{work}SMTP__HOST": "127.0.0.1",
        f"{work}SMTP__PORT": "9",
        f"{work}SMTP__SECURITY": "plaintext",
    }
    with running(settings, tmp_path) as process:
        wait_for(lambda: exists(tmp_path), "the database is made")
        wait_for(lambda: value(tmp_path, "SELECT failures FROM accounts WHERE name = 'work'"), "the failure shows")
        database = sqlite3.connect(tmp_path / "house.db", timeout=5)
        with database:
            database.execute("INSERT INTO outbox (recipients, body, account) VALUES ('bob@example.net', 'x', 'work')")
        database.close()
        drop_row(tmp_path, "from home")
        wait_for(lambda: value(tmp_path, "SELECT status FROM outbox WHERE id = 2") == "sent", "home still sends")
        wait_for(lambda: value(tmp_path, "SELECT status FROM outbox WHERE id = 1") == "deferred", "work waits")
        wait_for(
            lambda: value(tmp_path, "SELECT count(*) FROM messages WHERE account = 'home'") == 1, "home still fetches"
        )
        assert "connection refused" in str(value(tmp_path, "SELECT last_error FROM outbox WHERE id = 1"))
        terminate(process)
