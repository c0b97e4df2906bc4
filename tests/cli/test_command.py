"""The command as a whole: help, version, wrong words, exit codes, and how fast it answers."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from daemon import cli, errors
from daemon.cli import main
from tests.secrets_used import PASSWORD


def run(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process, with no settings but these."""
    root = Path(__file__).parents[2]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)} | environ
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def verbs() -> list[tuple[str, ...]]:
    """Return every verb and every sub-verb."""
    found: list[tuple[str, ...]] = []
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, one) for one in command.commands]
    return found


def test_all_verbs_of_the_design_are_there_and_those_to_come_are_not() -> None:
    expected = {
        "run",
        "fetch",
        "send",
        "check",
        "retry",
        "status",
        "search",
        "show",
        "threads",
        "export",
        "attachment",
        "import",
        "completion",
        "demo",
    }
    expected |= {
        "outbox",
        *(f"outbox {one}" for one in ("add", "list", "show", "retry", "hold", "release", "cancel", "purge")),
    }
    expected |= {"suppress", *(f"suppress {one}" for one in ("add", "list", "remove"))}
    expected |= {"hold", *(f"hold {one}" for one in ("add", "list", "remove"))}
    expected |= {"maildrop", *(f"maildrop {one}" for one in ("list", "top", "show", "delete", "accept"))}
    expected |= {
        "db",
        *(
            f"db {one}"
            for one in ("upgrade", "verify", "reindex", "recompress", "prune", "backup", "restore", "compact")
        ),
    }
    assert expected == {" ".join(verb) for verb in verbs()}


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_verb_has_help_that_fits_its_line(verb: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*verb, "--help"])
    assert 0 == result.exit_code
    lines = result.output.splitlines()
    first = next(line for line in lines[1:] if line.strip())
    assert 4 <= len(first.split())
    parent = CliRunner().invoke(main, [*verb[:-1], "--help"])
    listed = next(line for line in parent.output.splitlines() if line.startswith(f"  {verb[-1]} "))
    assert listed.endswith("."), listed
    assert not listed.endswith("...")


def test_help_loads_click_and_nothing_heavier() -> None:
    code = (
        "import sys\nfrom daemon.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'rich', 'structlog', 'apscheduler', 'alembic', 'dotenv', 'pysqlite3', 'ssl', 'selectolax', 'psycopg'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert "[]" == done.stderr.strip()


def test_status_loads_only_what_a_look_needs(tmp_path: Path, sqlite_url: str) -> None:
    """It is asked by people and by monitors, every few seconds."""
    code = (
        "import sys\nfrom daemon.cli import main\n"
        "try: main(['status'])\nexcept SystemExit: pass\n"
        "heavy = {'alembic', 'structlog', 'apscheduler', 'rich', 'pydantic', 'selectolax', 'psycopg'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    environ = {"POSTROOM_DATABASE_URL": sqlite_url, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert "\ndatabase  sqlite" in done.stdout
    assert "[]" == done.stderr.strip()


def test_a_wrong_verb_is_answered_with_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(main, ["serch"])
    assert errors.EX_USAGE == result.exit_code
    assert "There is no command 'serch'; did you mean search?" in result.stderr


def test_a_verb_that_is_nothing_like_any_is_answered_with_the_list() -> None:
    result = CliRunner().invoke(main, ["xyzzy"])
    assert errors.EX_USAGE == result.exit_code
    assert "there are run, fetch, send" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "x"], ["fetch", "--wrong"], ["outbox", "retry"], ["outbox", "nonsense"], ["outbox", "add"]],
)
def test_a_wrong_call_exits_as_sysexits_says(arguments: list[str]) -> None:
    assert errors.EX_USAGE == CliRunner().invoke(main, arguments).exit_code


def test_nothing_at_all_shows_the_help() -> None:
    result = CliRunner().invoke(main, [])
    assert errors.EX_USAGE == result.exit_code
    assert "Usage:" in result.stderr


def test_wrong_settings_stop_every_verb_with_a_line_each(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTROOM_TRACE=loud\n")
    wrong = {"POSTROOM_RETRYS": "1m", "POSTROOM_ACCOUNTS__A__POP3__PASWORD": PASSWORD}
    for verb in (("run",), ("fetch",), ("status",), ("outbox", "list"), ("db", "upgrade")):
        done = run(*verb, cwd=tmp_path, **wrong)
        assert (errors.EX_CONFIG, "") == (done.returncode, done.stdout)
        assert [
            "postroom: POSTROOM_RETRYS is no setting of postroom; did you mean POSTROOM_RETRY?",
            "postroom: POSTROOM_ACCOUNTS__A__POP3__PASWORD is no setting of postroom; did you mean POSTROOM_ACCOUNTS__A__POP3__PASSWORD?",
            "postroom: POSTROOM_TRACE (.env line 1) takes off, failures or all, not 'loud'",
        ] == sorted(done.stderr.splitlines(), key=lambda line: ("TRACE" in line, "ACCOUNTS" in line))
        assert PASSWORD not in done.stderr


def test_a_house_error_is_one_line_and_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise errors.MaildropLocked("work: another client holds the maildrop")

    monkeypatch.setattr(cli.House, "get_command", lambda *_: broken)
    result = CliRunner().invoke(main, ["status"])
    assert (errors.EX_TEMPFAIL, "postroom: work: another client holds the maildrop\n") == (
        result.exit_code,
        result.stderr,
    )


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        (errors.EX_NOINPUT, FileNotFoundError(2, "No such file or directory", "x")),
        (errors.EX_NOPERM, PermissionError(13, "Permission denied", "x")),
        (errors.EX_CANTCREAT, FileExistsError(17, "File exists", "x")),
        (errors.EX_IOERR, OSError(5, "Input/output error", "x")),
    ],
)
def test_a_file_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, expected: int, error: OSError) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(cli.House, "get_command", lambda *_: broken)
    result = CliRunner().invoke(main, ["status"])
    assert (expected, f"postroom: x: {error.strerror}\n") == (result.exit_code, result.stderr)
