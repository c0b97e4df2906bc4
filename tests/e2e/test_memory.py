"""What a visit needs of memory is bounded by the largest message that it accepts, the index included."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles.dialogue import Dialogue
from tests.doubles.scripted import Scripted
from tests.secrets_used import PASSWORD
from tests.suite_log import keep

FETCH_LARGE = Path(__file__).with_name("fetch_large.py")
KIB, MIB = 1024, 1024 * 1024
BASE_OCTETS = 80 * 1_000_000  # interpreter, libraries, SQLite's cache, a batch
HEAD = r"From: bob@example.net\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
MIXED = r"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nHello.\r\n--m\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"

SIXTY_MEGABYTES = [
    f"MAIL a {HEAD}{MIXED}",
    "MAIL-times a 750000 " + "QUJD" * 19 + r"QU\r\n",
    r"MAIL-times a 1 --m--\r\n",
]
TEXT_OF_SIXTY_MEGABYTES = [
    f"MAIL a {HEAD}\\r\\n",
    r"MAIL-times a 1000000 Sixty octets of everyday text stand in this line, one by one.\r\n",
]
ONE_LINE = [f"MAIL a {HEAD}\\r\\n", r"MAIL-times a 4000000 line\x20", r"MAIL-times a 1 \r\n"]
ENDLESS = ["MAIL a x"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    account = "POSTROOM_ACCOUNTS__HOME__"
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "POSTROOM_DATABASE_URL": f"sqlite:///{tmp_path}/large.db",
        f"{account}ADDRESS": "anna@example.org",
        f"{account}POP3__HOST": "127.0.0.1",
        f"{account}POP3__SECURITY": "plaintext",
        f"{account}POP3__USERNAME": "anna",
        f"{account}POP3__PASSWORD": PASSWORD,
        f"{account}POP3__DELETE": "after_fetch",
    }


@pytest.mark.parametrize(
    ("mail", "cap_octets", "says"),
    [
        pytest.param(SIXTY_MEGABYTES, None, ("ok", "NoneType"), id="60-mb-attachment"),
        pytest.param(TEXT_OF_SIXTY_MEGABYTES, None, ("ok", "NoneType"), id="60-mb-text"),
        pytest.param(ONE_LINE, None, ("ok", "NoneType"), id="20-mb-line"),
        pytest.param(ENDLESS, 60_000_000, ("failed", "TooLong"), id="endless"),
    ],
)
def test_the_peak_of_memory_is_bounded_by_the_largest_message(
    mail: list[str], cap_octets: int | None, says: tuple[str, str], tmp_path: Path, environment: dict[str, str]
) -> None:
    ends_well = cap_octets is None
    reply = ["S-mail: a"] if ends_well else [r"S-forever: and on and on it goes, for as long as anybody listens\r\n"]
    rest = ["MARKED 1", "DONE"] if ends_well else []
    dialogue = Dialogue.of([*mail, "INCLUDE login", "LISTED a", "C: RETR 1", "S: +OK", *reply, *rest])
    largest = cap_octets or len(dialogue.mail["a"])
    with Scripted(dialogue) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(FETCH_LARGE), *([str(cap_octets)] if cap_octets else [])],
            env=environment | {"POSTROOM_ACCOUNTS__HOME__POP3__PORT": str(server.port)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    keep(done.stderr)
    outcome, error, octets, peak_kib = done.stdout.split()
    assert says == (outcome, error), done.stderr[-2000:]
    if ends_well:
        assert largest == int(octets)
        with sqlite3.connect(tmp_path / "large.db") as database:
            assert [(largest,)] == database.execute("SELECT sum(octets) FROM message_sources").fetchall()
            assert [("large",)] == database.execute("SELECT subject FROM messages").fetchall(), "it is indexed"
        database.close()
    print(f"peak {int(peak_kib) * KIB / largest:.2f} x")
    assert int(peak_kib) * KIB < 2.5 * largest + BASE_OCTETS
