"""The programs that our sending is measured beside, each giving the same letter of 3 kB to a relay so many times.

smtplib is timed inside, from its connection to the reply to QUIT, as we are, and reads each letter from a file; the others are whole processes, which in C start in
no time. msmtp is one process a letter, as programs use it. None of them knows afterwards what became of which letter.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.resident import Failed

SENDER, RECIPIENT = "anna@example.org", "bob@example.net"
OCTETS: Final = 3000
LETTER: Final = (
    f"From: Anna <{SENDER}>\r\nTo: Bob <{RECIPIENT}>\r\nSubject: What the house has to say\r\n"
    "Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
).encode()
BODY: Final = ("The minutes of the last meeting are below, the invoice is not.\r\n" * 60)[: OCTETS - len(LETTER) - 2]

_SMTPLIB: Final = """
import json, smtplib, sys, time
port, count, each = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "each"
began, spent = time.perf_counter(), time.process_time()
one = None if each else smtplib.SMTP("127.0.0.1", port)
for _ in range(count):
    with open(sys.argv[6], "rb") as file:
        letter = file.read()
    server = one or smtplib.SMTP("127.0.0.1", port)
    server.sendmail(sys.argv[4], [sys.argv[5]], letter)
    if each:
        server.quit()
if one:
    one.quit()
print(json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time() - spent}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A way to send. run: (port, letters) -> wall and cpu, in seconds.  program: that must be on this machine."""

    name: str
    program: str
    run: Callable[[int, int], dict[str, Any]]


def letter() -> bytes:
    """Return the letter, 3 kB with CRLF line ends."""
    return LETTER + BODY.encode() + b"\r\n"


def _smtplib(how: str) -> Callable[[int, int], dict[str, Any]]:
    def run(port: int, count: int) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile() as file:
            file.write(letter())
            file.flush()
            command = [sys.executable, "-c", _SMTPLIB, str(port), str(count), how, SENDER, RECIPIENT, file.name]
            done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise Failed(f"smtplib: {done.stderr.decode(errors='replace')[-300:]}")
        seconds: dict[str, Any] = json.loads(done.stdout)
        return seconds

    return run


def _smtp_source(connections: int) -> Callable[[int, int], dict[str, Any]]:
    def run(port: int, count: int) -> dict[str, Any]:
        # -d: the connections are kept.
        words = ["-d", "-s", str(connections), "-m", str(count), "-l", str(OCTETS), "-f", SENDER, "-t", RECIPIENT]
        return _timed([["smtp-source", *words, f"127.0.0.1:{port}"]], b"")

    return run


def _msmtp(port: int, count: int) -> dict[str, Any]:
    words = [
        "--file=/dev/null",
        "--host=127.0.0.1",
        f"--port={port}",
        "--auth=off",
        "--tls=off",
        "-f",
        SENDER,
        RECIPIENT,
    ]
    return _timed([["msmtp", *words]] * count, letter())


def _timed(commands: list[list[str]], given: bytes) -> dict[str, Any]:
    """Run one after another, each with this on its stdin."""
    began, cpu = time.perf_counter(), 0.0
    for command in commands:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Failed(f"{Path(command[0]).name}: exit code {process.returncode}")
        cpu += usage.ru_utime + usage.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu}


SMTPLIB: Final = Sender(name="smtplib, one connection", program=sys.executable, run=_smtplib("one"))
SMTPLIB_EACH: Final = Sender(name="smtplib, a connection each", program=sys.executable, run=_smtplib("each"))
MSMTP: Final = Sender(name="msmtp, a process each", program="msmtp", run=_msmtp)
SOURCE: Final = Sender(name="smtp-source, one connection", program="smtp-source", run=_smtp_source(1))
SOURCE_4: Final = Sender(name="smtp-source, four", program="smtp-source", run=_smtp_source(4))
