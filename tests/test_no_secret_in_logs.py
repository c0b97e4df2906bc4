"""No trace, log or output of the whole suite holds a test password, in any of the forms it travels in.

The first test comes last, and sees what was said until then; `conftest.py` searches once more when every process has ended.
The others look everywhere else after failures of all kinds: the database, exceptions, `status`, process titles, cores.
"""

import signal
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pytest

from daemon import errors, settings, trace
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.hands import Hands
from daemon.jobs.context import Context
from daemon.store import schema
from daemon.store.database import Database
from daemon.wire.secret import Secret, SecretSource
from tests import suite_log
from tests.doubles import house
from tests.e2e.daemon_process import command, environment, running, wait_for
from tests.secrets_used import PASSWORD, TOKEN

LETTER = b"From: bob@example.net\r\nSubject: Hello\r\n\r\nText.\r\n"
FORMS = [form for secret in (PASSWORD, TOKEN) for form in suite_log.forms(secret)]


def holds_a_secret(text: str) -> bool:
    return any(form in text.encode() for form in FORMS)


def test_no_password_is_in_any_trace_or_log_of_the_suite() -> None:
    assert [] == suite_log.leaks()


def test_a_password_would_be_found_in_the_log_of_any_process_in_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite_log, "DIRECTORY", tmp_path)
    (tmp_path / "events-1.log").write_bytes(b"PASS ***\n")
    names = []
    for number, form in enumerate(form for secret in (PASSWORD, TOKEN) for form in suite_log.forms(secret)):
        names.append(f"events-2{number:02}.log")
        (tmp_path / names[-1]).write_bytes(b"PASS " + form + b"\n")
    assert names == suite_log.leaks()


# --- everywhere else ------------------------------------------------------------------------------------------------


def everything(database: Database) -> str:
    """Every value of every table, as text."""
    said = []
    with database.reading() as conn:
        for table in schema.METADATA.tables:  # what is derived for searching is made of these
            said += [repr(tuple(row)) for row in conn.exec_driver_sql(f'SELECT * FROM "{table}"')]
    return "\n".join(said)


def of(name: str, pop3: int, smtp: int, **more: str) -> dict[str, str]:
    """Give the settings of an account that logs in to both of its servers."""
    account, home = f"POSTROOM_ACCOUNTS__{name}__", "POSTROOM_ACCOUNTS__HOME__"
    given = environment("", pop3_port=pop3, smtp_port=smtp) | {
        f"{home}SMTP__USERNAME": "anna",
        f"{home}SMTP__PASSWORD": PASSWORD,
    }
    named = {account + one.removeprefix(home): value for one, value in given.items() if one.startswith(home)}
    return named | {account + one: value for one, value in more.items()}


@pytest.fixture
def hostile() -> Iterator[dict[str, str]]:
    """Accounts whose servers repeat the password in every way that a login can fail."""
    echo = f"your password {PASSWORD} is wrong"
    with ExitStack() as stack:
        refusing = stack.enter_context(Pop3Server({"anna": [LETTER]}, PASSWORD))
        refusing.answers["PASS"] = refusing.answers["AUTH"] = Answer(octets=f"-ERR [AUTH] {echo}\r\n".encode())
        dropping = stack.enter_context(Pop3Server({"anna": [LETTER]}, PASSWORD))
        dropping.answers["STAT"] = Answer(octets=f"{echo}\r\n".encode())
        relay = stack.enter_context(SmtpServer())
        relay.answers["AUTH"] = Answer(octets=f"535 5.7.8 {echo}\r\n".encode())
        closed = 9
        yield (
            of("HOME", refusing.port, relay.port)
            | of("WORK", dropping.port, closed)
            | of("AWAY", closed, closed, POP3__PROXY=f"socks5://anna:{TOKEN}@127.0.0.1:{closed}")
            | of("GONE", closed, closed, POP3__PASSWORD="", POP3__PASSWORD_COMMAND=f"false {TOKEN}")
        )


def test_a_password_is_nowhere_after_failures_of_all_kinds(
    sqlite_url: str, hostile: dict[str, str], tmp_path: Path
) -> None:
    """A daemon fails at each of its accounts and is aborted, as the watchdog does it; then everything is searched."""
    database, known = Database(sqlite_url), environment(sqlite_url) | hostile
    known |= {"POSTROOM_ACCOUNTS__HOME__ADDRESS": "anna@example.org"}

    def ask(statement: str) -> object:
        with database.reading() as conn:
            return conn.exec_driver_sql(statement).scalar()

    with database.transaction() as tx:
        for account in ("home", "work"):
            tx.exec_driver_sql(
                f"INSERT INTO outbox (recipients, body, account) VALUES ('bob@example.net', 'x', '{account}')"
            )
    said = []
    with running(known, tmp_path) as process:
        wait_for(lambda: ask("SELECT count(*) FROM accounts WHERE last_error IS NOT NULL") == 4, "all accounts fail")
        wait_for(lambda: ask("SELECT count(*) FROM outbox WHERE last_error IS NOT NULL") == 2, "both relays fail")
        said.append(Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8"))
        for verb in (("status",), ("check",), ("outbox", "show", "1", "--transcript")):
            done = subprocess.run(
                command(*verb), env=known, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
            )
            said += [done.stdout, done.stderr]
        process.send_signal(signal.SIGABRT)
        assert -signal.SIGABRT == process.wait(timeout=30)
    assert not any("core" in path.name for path in tmp_path.iterdir())
    assert len(said[1]) > 100, "status has something to say"
    said.append(everything(database))
    database.dispose()
    assert [] == [text for text in said if holds_a_secret(text)]
    for path in tmp_path.glob("*.db*"):
        assert not any(form in path.read_bytes() for form in FORMS), path


def test_settings_with_mistakes_show_no_secret() -> None:
    prefix = "POSTROOM_ACCOUNTS__HOME__POP3__"
    environ = {
        "POSTROOM_DATABASE_URL": f"mysql://anna:{TOKEN}@db.example.org/x",
        f"{prefix}HOST": "not a host",
        f"{prefix}PASSWORD": PASSWORD,
        f"{prefix}PASSWORD_COMMAND": f"print '{TOKEN}",
        f"{prefix}PROXY": f"gopher://anna:{TOKEN}@proxy.example.org",
    }
    with pytest.raises(errors.SettingsInvalid) as caught:
        settings.load(environ, None)
    assert len(caught.value.mistakes) >= 5
    assert not holds_a_secret("".join(traceback.format_exception(caught.value)))
    sound = settings.load(of("HOME", 1, 1, POP3__PROXY=f"socks5://anna:{TOKEN}@127.0.0.1:1"), None)
    assert not holds_a_secret(repr(sound))


def test_a_database_that_refuses_us_keeps_its_password_to_itself(tmp_path: Path) -> None:
    known = environment(f"postgresql+psycopg://anna:{TOKEN}@127.0.0.1:9/postroom")
    for verb in ("status", "run"):
        done = subprocess.run(
            command(verb),
            env=known | of("HOME", 9, 9),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode
        assert "127.0.0.1" in done.stderr
        assert not holds_a_secret(done.stdout + done.stderr)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_bug_shows_where_it_is_and_not_what_it_held(sqlite_url: str, log_format: str) -> None:
    """A traceback with the values of its variables would hold whatever was in them."""
    log = StringIO()
    trace.configure(log_format=log_format, level="debug", stream=log)
    database = Database(sqlite_url)
    context = house.context(database, house.Clock())
    hands = Hands(context, 1)

    def crash(_context: Context) -> None:
        revealed = Secret(PASSWORD).reveal()
        raise ZeroDivisionError(len(revealed))

    hands.register("crash", crash, 60.0)
    hands.ask("crash")
    wait_for(lambda: not hands.busy(), "it crashed")
    context.stop.set()
    assert hands.stop(5.0)
    database.dispose()
    assert "ZeroDivisionError" in log.getvalue()
    assert "in crash" in log.getvalue()
    assert not holds_a_secret(log.getvalue())


def test_a_secret_that_reaches_an_exception_is_not_shown_by_it() -> None:
    source = SecretSource(value=Secret(PASSWORD))
    error = errors.SecretUnavailable(f"{source} and {source.read()}")
    assert not holds_a_secret(f"{error} {error!r} {error.args}")
