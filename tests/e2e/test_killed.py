"""SIGKILL at each named step of a poll and of a drain, then a restart: nothing lost, nothing twice, doubts shown as doubts."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs.step import DrainStep, Step
from daemon.store import zstd
from tests.secrets_used import PASSWORD
from tests.suite_log import child_log

KILLED = Path(__file__).with_name("killed.py")
LETTERS = [f"From: bob@example.net\r\nSubject: {n}\r\n\r\n{'text ' * n}\r\n".encode() for n in range(1, 8)]


@pytest.fixture
def servers() -> Iterator[tuple[Pop3Server, SmtpServer]]:
    with Pop3Server({"anna": LETTERS}, PASSWORD) as pop3, SmtpServer() as smtp:
        yield pop3, smtp


@pytest.fixture
def environment(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], sqlite_template: Path) -> dict[str, str]:
    shutil.copyfile(sqlite_template, tmp_path / "killed.db")
    account = "POSTROOM_ACCOUNTS__HOME__"
    return {
        **os.environ,
        "POSTROOM_DATABASE_URL": f"sqlite:///{tmp_path}/killed.db",
        "POSTROOM_TRACE": "all",
        "POSTROOM_LOG_LEVEL": "debug",
        f"{account}ADDRESS": "anna@example.org",
        f"{account}POP3__HOST": "127.0.0.1",
        f"{account}POP3__PORT": str(servers[0].port),
        f"{account}POP3__SECURITY": "plaintext",
        f"{account}POP3__USERNAME": "anna",
        f"{account}POP3__PASSWORD": PASSWORD,
        f"{account}POP3__DELETE": "after_fetch",
        f"{account}SMTP__HOST": "127.0.0.1",
        f"{account}SMTP__PORT": str(servers[1].port),
        f"{account}SMTP__SECURITY": "plaintext",
    }


class Runner:
    """A process that has loaded the daemon once, and forks for each run: loading takes longer than what is run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(KILLED)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def go(self, what: str, step: str, environment: dict[str, str], directory: Path) -> int:
        """Return the exit code of a run, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with child_log() as log:
            asked = {"what": what, "step": step, "environment": environment, "directory": str(directory)}
            self._process.stdin.write(json.dumps(asked | {"log": log.name}) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def end(self) -> None:
        """End it, with a run that hangs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    started = Runner()
    yield started
    started.end()


def query(directory: Path, statement: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(directory / "killed.db")
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


@pytest.mark.parametrize("what", ["run", "fetch"])
@pytest.mark.parametrize("step", list(Step))
def test_a_poll_killed_at_any_step_is_finished_by_the_next(
    step: Step,
    what: str,
    tmp_path: Path,
    servers: tuple[Pop3Server, SmtpServer],
    runner: Runner,
    environment: dict[str, str],
) -> None:
    maildrop = servers[0].maildrop("anna")
    assert -signal.SIGKILL == runner.go(what, step, environment, tmp_path)
    archived = query(tmp_path, "SELECT count(*) FROM messages")[0][0]
    assert archived == len(LETTERS) or LETTERS == maildrop.contents, "each letter is in the archive or on the server"

    assert 0 == runner.go("fetch", "-", environment, tmp_path)
    assert [] == maildrop.messages
    stored = query(tmp_path, "SELECT octets, encoding, content FROM message_sources ORDER BY message, part")
    sources = [
        zstd.decompressed(content, octets) if encoding == "zstd" else content for octets, encoding, content in stored
    ]
    assert Counter(LETTERS) == Counter(sources)
    assert [(len(LETTERS), 0)] == query(
        tmp_path, "SELECT count(DISTINCT message), sum(message IS NULL) FROM ledger WHERE account = 'home'"
    )
    assert [(0,)] == query(tmp_path, "SELECT count(*) FROM polls WHERE outcome = 'running'")


@pytest.mark.parametrize("step", [Step.RETRIEVED, Step.COMMITTED, Step.DELE_SENT, Step.QUIT, Step.RECORDED])
def test_visits_at_once_that_are_killed_together_are_finished_by_the_next(
    step: Step, tmp_path: Path, runner: Runner, environment: dict[str, str]
) -> None:
    names = [f"anna{number}" for number in range(6)]
    letters = {name: [letter.replace(b"bob", name.encode()) for letter in LETTERS] for name in names}
    with Pop3Server(letters, PASSWORD) as server:
        alike = {key: value for key, value in environment.items() if "__HOME__POP3__" in key}
        environment = {key: value for key, value in environment.items() if "__HOME__" not in key}
        for name in names:
            environment |= {key.replace("__HOME__", f"__{name.upper()}__"): value for key, value in alike.items()}
            account = f"POSTROOM_ACCOUNTS__{name.upper()}__"
            environment[f"{account}ADDRESS"] = f"{name}@example.org"
            environment |= {f"{account}POP3__PORT": str(server.port), f"{account}POP3__USERNAME": name}
        assert -signal.SIGKILL == runner.go("run", step, environment, tmp_path)
        archived = {sha256 for (sha256,) in query(tmp_path, "SELECT sha256 FROM messages")}
        for name in names:
            gone = set(letters[name]) - set(server.maildrop(name).contents)
            assert {hashlib.sha256(letter).hexdigest() for letter in gone} <= archived, name

        assert 0 == runner.go("fetch", "-", environment, tmp_path)
        assert [] == [letter for name in names for letter in server.maildrop(name).messages]
    there = Counter(sha256 for (sha256,) in query(tmp_path, "SELECT sha256 FROM messages"))
    assert Counter(hashlib.sha256(letter).hexdigest() for name in names for letter in letters[name]) == there
    assert [(0,)] == query(tmp_path, "SELECT count(*) FROM polls WHERE outcome = 'running'")


@pytest.mark.parametrize("on_doubt", ["retry", "hold"])
@pytest.mark.parametrize("step", list(DrainStep))
def test_a_drain_killed_at_any_step_loses_nothing_and_doubles_only_what_it_doubted(
    step: DrainStep,
    on_doubt: str,
    tmp_path: Path,
    servers: tuple[Pop3Server, SmtpServer],
    runner: Runner,
    environment: dict[str, str],
) -> None:
    smtp = servers[1]
    database = sqlite3.connect(tmp_path / "killed.db")
    with database:
        database.executemany(
            "INSERT INTO outbox (recipients, subject, body, on_doubt) VALUES (?, 'Hello', 'Text.', ?)",
            [(f"r{n}@example.net", on_doubt) for n in range(5)],
        )
    database.close()
    assert -signal.SIGKILL == runner.go("run", step, environment, tmp_path)
    before = Counter(to for letter in smtp.received for to in letter.recipients)

    assert 0 == runner.go("send", "-", environment, tmp_path)
    after = Counter(to for letter in smtp.received for to in letter.recipients)
    doubted = step in {DrainStep.COMMITTING, DrainStep.ANSWERED}
    statuses = Counter(status for (status,) in query(tmp_path, "SELECT status FROM outbox"))
    if doubted and on_doubt == "hold":
        assert {"sent": 4, "in_doubt": 1} == statuses
        assert [("in_doubt",)] == query(
            tmp_path,
            "SELECT r.status FROM outbox_recipients r JOIN outbox o ON o.id = r.outbox_id WHERE o.status = 'in_doubt'",
        )
        assert set(after.values()) == {1}
        assert before["r0@example.net"] == after["r0@example.net"]
    else:
        assert {"sent": 5} == statuses
        assert {f"r{n}@example.net" for n in range(5)} == set(after)
        assert after.total() == (6 if step is DrainStep.ANSWERED else 5)
        ids: dict[tuple[str, ...], set[bytes]] = {letter.recipients: set() for letter in smtp.received}
        for letter in smtp.received:
            ids[letter.recipients].add(
                next(line for line in letter.content.splitlines() if line.startswith(b"Message-ID"))
            )
        assert all(len(one) == 1 for one in ids.values()), "a second copy is the same letter"
