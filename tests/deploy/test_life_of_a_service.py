"""A machine with a real systemd: the wheel is installed, the service lives through what services live through, and is removed.

One story on one machine, since each step needs the one before; the steps have names. The mail servers are this process's own
objects, on the machine's loopback.
"""

import json
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from daemon.demo.connection import Seen
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.store import upgrade
from tests import suite_log
from tests.deploy import wheels
from tests.secrets_used import PASSWORD
from tests.servers import child
from tests.servers.machine import PATIENCE_SECONDS, Machine, why_not

ROTATED: Final = PASSWORD + "-rotated"
DATABASE: Final = "/var/lib/postroom/postroom.db"
SOURCE: Final = "/opt/source-of-the-test"  # the machine has a /tmp of its own, and this checkout may be in ours
DEPLOY: Final = f"{SOURCE}/deploy/systemd"
UNIT: Final = "postroom.service"
# Quicker than for people: a test does not wait for minutes.
DROP_IN: Final = "[Unit]\nStartLimitBurst=50\n[Service]\nRestartSec=100ms\n"
SHORT_WATCHDOG: Final = "[Service]\nWatchdogSec=4s\n"  # only where it is to bite: a busy machine may keep us waiting
HOME: Final = "HOME anna password_home"
WORK: Final = "WORK bob /etc/postroom/work.password"
IN_SECRET: Final = ("HOME anna secret_home", WORK)
NEXT_REVISION: Final = f"{int(upgrade.head()) + 1:04}"
REFUSAL: Final = "/var/lib/postroom/refuse-the-migration"
MIGRATION: Final = f"""
from pathlib import Path

from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT_REVISION}", "{upgrade.head()}", None, None


def upgrade() -> None:
    if Path("{REFUSAL}").exists():
        raise RuntimeError("refused by the test")
    op.get_bind().exec_driver_sql("CREATE TABLE of_the_next_release (id INTEGER PRIMARY KEY)")
"""


def letter(subject: str) -> bytes:
    return f"From: bob@example.net\r\nSubject: {subject}\r\n\r\nText.\r\n".encode()


class Service:
    """The service on the machine, and the servers that it talks to."""

    def __init__(self, machine: Machine, pop3: Pop3Server, smtp: SmtpServer, wheel: Path) -> None:
        self.machine, self.pop3, self.smtp, self.wheel = machine, pop3, smtp, wheel
        self.gate: threading.Event | None = None

    # --- what an operator does --------------------------------------------------------------------------------------

    @property
    def newer(self) -> Path:
        return self.wheel.with_name(self.wheel.name.replace(self.wheel.name.split("-")[1], "99.0"))

    def install(self, wheel: Path, *, check: bool = True) -> str:
        return self.machine.run(f"{DEPLOY}/install", "--wheels", wheel.parent, wheel, check=check)

    def set(self, *accounts: str) -> None:
        lines = [f"POSTROOM_DATABASE_URL=sqlite:///{DATABASE}", "POSTROOM_TRACE=all"]
        for name, user, password in (one.split() for one in accounts):
            account = f"POSTROOM_ACCOUNTS__{name}__"
            lines += [f"{account}ADDRESS={user}@example.org"]
            for kind, port in (("POP3", self.pop3.port), ("SMTP", self.smtp.port)):
                lines += [
                    f"{account}{kind}__{line}" for line in ("HOST=127.0.0.1", f"PORT={port}", "SECURITY=plaintext")
                ]
            lines += [f"{account}POP3__{line}" for line in (f"USERNAME={user}", f"PASSWORD_FILE={password}", "POLL=1s")]
        self.machine.write("/etc/postroom/postroom.env", "\n".join([*lines, ""]), 0o640)

    def systemctl(self, verb: str) -> None:
        self.machine.run("systemctl", verb, UNIT)

    @property
    def pid(self) -> str:
        return self.machine.unit(UNIT, "MainPID")

    def status(self) -> str:
        return self.machine.unit(UNIT, "StatusText")

    # --- what others see --------------------------------------------------------------------------------------------

    def as_anna(self, statement: str) -> str:
        """Ask the database as another user of the group, with another program."""
        command = ["sqlite3", "-cmd", ".timeout 5000", DATABASE, statement]
        return self.machine.run(*command, user="anna").strip()

    def wait_for(self, statement: str, expected: str) -> None:
        self.machine.wait_for(lambda: self.as_anna(statement) == expected, f"{statement}: {expected}")

    def send(self, subject: str) -> None:
        """Drop a row and see it sent, once."""
        already = len(self.smtp.received)
        self.as_anna(f"INSERT INTO outbox (recipients, subject, body) VALUES ('bob@example.net', '{subject}', 'Text.')")
        assert self.smtp.wait_for(already + 1, PATIENCE_SECONDS)
        self.wait_for(f"SELECT status FROM outbox WHERE subject = '{subject}'", "sent")

    def fetch(self, subject: str, user: str = "anna") -> None:
        """Deliver a letter and see it in the archive."""
        self.pop3.maildrop(user).add(letter(subject))
        self.wait_for(f"SELECT count(*) FROM messages WHERE subject = '{subject}'", "1")

    @contextmanager
    def session_held(self, subject: str) -> Iterator[None]:
        """Keep anna's session in the middle of a letter for the length of the block."""
        gate, reached = threading.Event(), threading.Event()

        def hook(seen: Seen) -> Answer | None:
            if seen.user == "anna":
                reached.set()
                gate.wait(PATIENCE_SECONDS)
            return None

        self.pop3.answers["RETR"] = hook
        self.pop3.maildrop("anna").add(letter(subject))
        assert reached.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            gate.set()
            self.pop3.answers.clear()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    child.need(why_not())
    child.need_program("sqlite3")
    distributions = subprocess.run(
        ["/usr/bin/python3", "-c", "import platform, venv, ensurepip; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    same = distributions.rpartition(".")[0] == platform.python_version().rpartition(".")[0]
    child.need(
        None if same else f"/usr/bin/python3 with venv, and of this Python's version, not {distributions or 'none'}"
    )
    with ExitStack() as stack:
        machine = stack.enter_context(Machine())
        shutil.copytree(wheels.REPOSITORY / "deploy", f"{machine.root}{SOURCE}/deploy")
        shutil.copy(wheels.REPOSITORY / "constraints.txt", f"{machine.root}{SOURCE}")
        wheelhouse = machine.root / "opt/wheels-of-the-test"
        wheelhouse.mkdir(parents=True)
        wheels.needed(wheelhouse)
        wheel = wheels.ours(wheelhouse)
        machine.run("useradd", "anna")
        with machine.network():
            pop3 = stack.enter_context(Pop3Server({"anna": [letter("Hello")], "bob": [letter("For bob")]}, PASSWORD))
            smtp = stack.enter_context(SmtpServer())
        yield Service(machine, pop3, smtp, Path("/", wheel.relative_to(machine.root)))


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_the_life_of_a_service(service: Service) -> None:
    for step in (
        it_is_installed_and_waits_for_its_settings,
        it_starts_and_says_how_it_stands,
        another_user_of_the_group_sends_and_reads,
        a_reload_takes_an_account_in_and_cuts_no_session,
        settings_with_a_mistake_are_refused_and_the_old_ones_stay,
        a_password_is_rotated,
        killed_it_comes_back_and_nothing_is_lost,
        stopped_in_its_tracks_it_is_ended_by_the_watchdog,
        a_newer_wheel_that_fails_leaves_the_old_one_at_work,
        a_newer_wheel_migrates_and_keeps_a_copy,
        no_secret_is_left_anywhere,
        it_is_uninstalled_and_the_mail_stays,
    ):
        try:
            step(service)
        except BaseException:
            print(service.machine.run("journalctl", "--unit", UNIT, "--no-pager", check=False)[-20_000:])
            raise


def it_is_installed_and_waits_for_its_settings(service: Service) -> None:
    run = service.machine.run
    assert "now edit /etc/postroom/postroom.env" in service.install(service.wheel)
    assert "640 postroom root\n" == run("stat", "--format=%a %U %G", "/etc/postroom/postroom.env")
    assert "2770 postroom postroom\n" == run("stat", "--format=%a %U %G", "/var/lib/postroom")
    assert "inactive" == service.machine.unit(UNIT, "ActiveState")
    assert "is installed already" in service.install(service.wheel)
    assert "" == run("diff", f"{DEPLOY}/postroom.env.example", "/etc/postroom/postroom.env")


def it_starts_and_says_how_it_stands(service: Service) -> None:
    machine = service.machine
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", DROP_IN)
    machine.write("/etc/postroom/credentials/home", f"{PASSWORD}\n", 0o600)
    machine.run("usermod", "--append", "--groups", "postroom", "anna")
    service.set(HOME)
    assert "password_home" in machine.run(
        "postroom", "check", check=False
    )  # for want of a running service's credentials
    machine.run("systemctl", "daemon-reload")
    service.systemctl("start")  # comes back when READY was said
    assert "active" == machine.unit(UNIT, "ActiveState")
    assert "to send" in service.status()
    service.wait_for("SELECT subject FROM messages WHERE account = 'home'", "Hello")
    checked = machine.run("postroom", "check")
    assert "failed" not in checked


def another_user_of_the_group_sends_and_reads(service: Service) -> None:
    service.send("dropped by anna")
    (found,) = json.loads(service.machine.run("postroom", "search", "--json", "Hello", user="anna"))
    assert "Hello" == found["subject"]
    assert "Permission denied" in service.machine.run("cat", "/etc/postroom/postroom.env", user="anna", check=False)


def a_reload_takes_an_account_in_and_cuts_no_session(service: Service) -> None:
    machine, before = service.machine, service.pid
    machine.write("/etc/postroom/work.password", f"{PASSWORD}\n", 0o400)
    machine.run("chown", "postroom", "/etc/postroom/work.password")
    with service.session_held("in the middle"):
        service.set(HOME, WORK)
        service.systemctl("reload")
        service.wait_for("SELECT subject FROM messages WHERE account = 'work'", "For bob")
        assert "1" == service.as_anna("SELECT count(*) FROM polls WHERE account = 'home' AND outcome = 'running'")
    service.wait_for("SELECT count(*) FROM messages WHERE subject = 'in the middle'", "1")
    assert "0" == service.as_anna("SELECT count(*) FROM polls WHERE outcome NOT IN ('ok', 'running')")
    assert before == service.pid


def settings_with_a_mistake_are_refused_and_the_old_ones_stay(service: Service) -> None:
    service.set(HOME, "WO__RK bob /etc/postroom/work.password")
    service.systemctl("reload")
    service.machine.wait_for(lambda: "new settings refused: POSTROOM_ACCOUNTS__WO__RK" in service.status(), "refused")
    service.fetch("after a mistake", "bob")
    service.set(HOME, WORK)
    service.systemctl("reload")
    service.machine.wait_for(lambda: "refused" not in service.status(), "accepted")


def a_password_is_rotated(service: Service) -> None:
    """A file's at the next login; a credential, which systemd reads, at a restart. Here it is an encrypted one from then on."""
    machine, before = service.machine, service.pid
    service.pop3.maildrop("bob").password = ROTATED
    (machine.root / "etc/postroom/work.password").write_text(f"{ROTATED}\n", encoding="utf-8")
    service.systemctl("reload")  # the refusal may have come first, and stopped the account
    service.fetch("with the new password", "bob")
    assert before == service.pid
    service.pop3.maildrop("anna").password = ROTATED
    (machine.root / "etc/postroom/credentials/home").unlink()
    encrypted = "/etc/postroom/credentials.encrypted/home"
    machine.run("systemd-creds", "encrypt", "--with-key=host", "--name=secret_home", "-", encrypted, stdin=ROTATED)
    service.set(*IN_SECRET)
    service.systemctl("restart")
    service.fetch("with the new credential")


def killed_it_comes_back_and_nothing_is_lost(service: Service) -> None:
    machine, before = service.machine, service.pid
    with service.session_held("while it was killed"):
        machine.run("kill", "-KILL", before)
        service.as_anna(
            "INSERT INTO outbox (recipients, subject, body) VALUES ('bob@example.net', 'meanwhile', 'Text.')"
        )
    machine.wait_for(lambda: service.pid not in {"0", before}, "it is started again")
    service.wait_for("SELECT count(*) FROM messages WHERE subject = 'while it was killed'", "1")
    service.wait_for("SELECT status FROM outbox WHERE subject = 'meanwhile'", "sent")
    assert 1 == sum(b"Subject: meanwhile" in one.content for one in service.smtp.received)


def stopped_in_its_tracks_it_is_ended_by_the_watchdog(service: Service) -> None:
    machine, drop_in = service.machine, f"/etc/systemd/system/{UNIT}.d/watchdog.conf"
    machine.write(drop_in, SHORT_WATCHDOG)
    machine.run("systemctl", "daemon-reload")
    service.systemctl("restart")
    before = service.pid
    machine.run("kill", "-STOP", before)
    machine.wait_for(lambda: service.pid not in {"0", before}, "the watchdog ended it")
    machine.run("rm", drop_in)
    assert "watchdog" in machine.run("journalctl", "--unit", UNIT, "--grep", "watchdog", "--no-pager").lower()
    service.fetch("after the watchdog")


def a_newer_wheel_that_fails_leaves_the_old_one_at_work(service: Service) -> None:
    machine, before = service.machine, service.machine.run("postroom", "--version")
    wheels.newer(
        machine.root / str(service.wheel).lstrip("/"),
        "99.0",
        {f"daemon/_migrations/versions/{NEXT_REVISION}_next.py": MIGRATION},
    )
    machine.write(REFUSAL, "")
    assert "the database was not migrated; /opt/postroom/releases/" in service.install(service.newer, check=False)
    assert before == machine.run("postroom", "--version")
    assert "active" == machine.unit(UNIT, "ActiveState")
    service.fetch("on the old release")
    machine.run("rm", REFUSAL)


def a_newer_wheel_migrates_and_keeps_a_copy(service: Service) -> None:
    machine = service.machine
    held = service.as_anna("SELECT count(*) FROM messages")
    machine.run("sh", "-c", "rm /var/lib/postroom/backups/*")  # of the try that failed
    assert "99.0 is installed and runs" in service.install(service.newer)
    assert "postroom 99.0\n" == machine.run("postroom", "--version")
    assert "active" == machine.unit(UNIT, "ActiveState")
    assert f"0|{NEXT_REVISION}|{held}" == service.as_anna(
        "SELECT (SELECT count(*) FROM of_the_next_release), (SELECT version_num FROM postroom_version),"
        " (SELECT count(*) FROM messages)"
    )
    (copy,) = (machine.root / "var/lib/postroom/backups").iterdir()
    assert copy.name.startswith(f"postroom-{upgrade.head()}-")
    assert (
        held
        == machine.run("sqlite3", f"/var/lib/postroom/backups/{copy.name}", "SELECT count(*) FROM messages").strip()
    )
    service.fetch("on the new release")


def no_secret_is_left_anywhere(service: Service) -> None:
    """In the journal, the status, the process's titles and the database, after all that has happened."""
    machine = service.machine
    places = {
        "journal": machine.run("journalctl", "--no-pager", "--output=json"),
        "status": machine.run("systemctl", "status", "--full", "--no-pager", UNIT) + machine.run("postroom", "status"),
        "title": (
            machine.run("cat", f"/proc/{service.pid}/cmdline") + machine.run("cat", f"/proc/{service.pid}/environ")
        ),
        "command line": machine.run("ps", "axww", "-o", "args"),
    }
    octets = {name: text.encode() for name, text in places.items()}
    for file in (machine.root / "var/lib/postroom").glob("postroom.db*"):
        octets[file.name] = file.read_bytes()
    wanted = suite_log.forms(PASSWORD) | suite_log.forms(ROTATED)
    assert [] == [name for name, held in octets.items() for form in wanted if form in held]


def it_is_uninstalled_and_the_mail_stays(service: Service) -> None:
    machine = service.machine
    held = service.as_anna("SELECT count(*) FROM messages")
    assert "stay; --purge deletes them" in machine.run(f"{DEPLOY}/uninstall")
    assert "not-found" == machine.unit(UNIT, "LoadState")
    assert not (machine.root / "opt/postroom").exists()
    assert held == service.as_anna("SELECT count(*) FROM messages")
    machine.run(f"{DEPLOY}/uninstall", "--purge")
    assert not (machine.root / "var/lib/postroom").exists()
    assert not (machine.root / "etc/postroom").exists()
    assert "postroom" not in machine.run("getent", "passwd")
