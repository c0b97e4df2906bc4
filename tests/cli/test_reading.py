"""search, show, attachment and completion as people at a terminal and scripts behind a pipe meet them."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import errors
from daemon.cli import output
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.mail.message import Parsed
from daemon.store import archive
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.cli.test_verbs import House, servers
from tests.conftest import require_server

__all__ = ["servers"]  # a fixture

LONG = "word " * 60
BODY = f"Hello,\n{LONG}\n\n> what you wrote {LONG}\n\x1b[2Jcleared\n-- \nAnna"


@pytest.fixture
def house(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], sqlite_url: str) -> House:
    """What is found on either database is no matter here."""
    return House(tmp_path, *servers, sqlite_url)


@pytest.fixture
def filled(house: House) -> House:
    """Three messages, the newest first archived."""
    database = Database(house.database_url)
    letters = [
        b"Subject: one\r\nX-Odd: \x1b]0;title\x07\r\n\r\ntext",
        b"Subject: two\r\n\r\n",
        b"Subject: three\r\n\r\n",
    ]
    with database.transaction() as tx:
        from datetime import UTC, datetime

        now = datetime(2026, 11, 25, tzinfo=UTC)
        incoming = [archive.Incoming(uidl=f"u{place}", spool=Spool.of(one)) for place, one in enumerate(letters)]
        ids = [one.message for one in archive.add(tx, "work", incoming, now)]
        parsed = [
            Parsed(subject="one [x]", body_text=BODY, sent_at=now, quoted_ranges=((8 + len(LONG), 20 + len(LONG)),)),
            Parsed(subject="two", body_text=f"{'y ' * 60}[see] word", sent_at=now.replace(year=2025)),
            Parsed(subject="word", sent_at=now.replace(year=2024)),
        ]
        archive.write_all_parsed(tx, list(zip(ids, parsed, strict=True)), 1, now)
    database.dispose()
    return house


def at_terminal(house: House, *arguments: str, columns: int = 80, lines: int = 24) -> str:
    """Give what a terminal shows of a command that runs in one; the pager is cat."""
    ours, theirs = pty.openpty()
    environ = house.environ | {
        "PAGER": "cat -v",
        "TERM": "xterm",
        "COLUMNS": str(columns),
        "LINES": str(lines),
        "PATH": os.environ["PATH"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environ
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        process.wait(30)
    return shown.decode()


# --- search ---------------------------------------------------------------------------------------------------------


def test_hits_come_by_relevance_or_date_and_in_pages(filled: House) -> None:
    def found(*options: str) -> list[object]:
        return [one["id"] for one in filled.json("search", "word", *options)]

    assert [3, 1, 2] == sorted(found(), key=lambda one: one != 3)
    assert 3 == found()[0], "what is in the subject comes first"
    assert [1, 2, 3] == found("--sort", "date")
    assert [3] == found("--sort", "date", "--limit", "1", "--page", "3")
    assert [] == found("--limit", "2", "--page", "3")


def test_json_says_where_the_words_are_in_a_snippet(filled: House) -> None:
    (hit,) = json.loads(filled("search", "subject:two", "word", "--json").stdout)
    assert "[see] [word]" in hit["snippet"]
    assert ["word"] == [hit["snippet"][start:end] for start, end in hit["marks"]]
    assert "[see] [word]" in filled("search", "subject:two word").stdout


def test_a_terminal_shows_what_was_found_in_bold_near_the_beginning(filled: House) -> None:
    shown = at_terminal(filled, "search", "subject:two", "word")
    assert "\x1b[1mword" in shown
    assert "[see]" in shown


@pytest.mark.parametrize(
    ("query", "caret"),
    [("invoice has:wings", 12), ("東京 (a", 5), ("e\u0301 (a", 2), ("x" * 80 + " has:wings", 60)],
)
def test_a_wrong_query_has_a_caret_under_the_place(query: str, caret: int, capsys: pytest.CaptureFixture[str]) -> None:
    from datetime import date

    from daemon.store.query import grammar

    with pytest.raises(errors.QueryInvalid) as caught:
        grammar.parse(query, date(2026, 11, 25))
    output.complain(caught.value)
    said, text, line = capsys.readouterr().err.splitlines()
    assert said.startswith("postroom: query: ")
    assert "  " + " " * caret + "^" == line
    assert query[-4:] in text


def test_a_wrong_query_ends_with_the_exit_code_of_wrong_data(house: House) -> None:
    said = house("search", "a", "(b", expected=errors.EX_DATAERR).stderr
    assert "postroom: query: a ( is never closed\n  a (b\n    ^\n" == said


# --- show -----------------------------------------------------------------------------------------------------------


def test_a_terminal_shows_text_wrapped_with_quotes_dimmed_and_nothing_a_sender_could_do_to_it(filled: House) -> None:
    shown = at_terminal(filled, "show", "1", columns=60, lines=200)
    assert "\x1b[2J" not in shown
    assert "\x1b[2m> what you wrote" in shown
    assert "\x1b[2m> word word" in shown
    assert max(map(len, shown.replace("\x1b[2m", "").replace("\x1b[0m", "").split("\r\n"))) <= 61


def test_what_does_not_fit_a_terminal_goes_through_the_pager(filled: House) -> None:
    assert "^[[2m> what you wrote" in at_terminal(filled, "show", "1", lines=5)


def test_a_pipe_gets_text_as_it_is(filled: House) -> None:
    shown = filled("show", "1").stdout
    assert LONG.rstrip() in shown
    assert "> what you wrote" in shown
    assert "\x1b" not in shown


def test_headers_are_shown_as_they_came_but_harmless(filled: House) -> None:
    assert "Subject: one\nX-Odd: \ufffd]0;title\ufffd\n" == filled("show", "1", "--headers").stdout


def test_html_goes_to_a_new_file_that_loads_nothing(house: House) -> None:
    house("fetch")
    number = str(house.json("search", "has:attachment")[0]["id"])
    house("show", number, "--html", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<p>Grüße</p>" in page
    assert page.index("default-src 'none'") < page.index("<p>")
    house("show", number, "--html", "page.html", expected=errors.EX_CANTCREAT)


# --- completion -----------------------------------------------------------------------------------------------------


def completed(house: House, directory: Path, line: str) -> list[str]:
    """Give what bash offers behind a line, by the function that it would call."""
    script = house("completion", "bash").stdout
    words = line.split(" ")
    asked = f"""
{script}
COMP_WORDS=({" ".join(repr(one) for one in words)}); COMP_CWORD={len(words) - 1}
_postroom_completion postroom
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    command = directory / "postroom"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemon "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environ = house.environ | {"PATH": f"{directory}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, env=environ, timeout=60)
    assert "" == done.stderr
    return done.stdout.split()


def test_bash_completes_verbs_options_accounts_and_ids(filled: House, tmp_path: Path) -> None:
    require_server("bash", present=shutil.which("bash") is not None)
    assert ["search"] == completed(filled, tmp_path, "postroom sea")
    assert "--sort" in completed(filled, tmp_path, "postroom search --s")
    assert ["relevance"] == completed(filled, tmp_path, "postroom search --sort r")
    assert ["work"] == completed(filled, tmp_path, "postroom search --account wo")
    assert ["work"] == completed(filled, tmp_path, "postroom fetch w")
    assert ["3", "2", "1"] == completed(filled, tmp_path, "postroom show ")


def test_zsh_and_fish_get_scripts_of_their_own(house: House) -> None:
    assert "#compdef postroom" in house("completion", "zsh").stdout
    assert "complete --no-files --command postroom" in house("completion", "fish").stdout
