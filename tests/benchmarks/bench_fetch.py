"""Messages per second of one fetch from a real Dovecot, beside mpop, fetchmail and getmail6 where they are installed.

    python -m tests.benchmarks.bench_fetch [--messages 2000] [--rounds 3] [--tls] [--only postroom,mpop]

Everybody fetches the same letters of 3 kB from the same server into a fresh place and leaves them there. The clients take
turns in every round; the table shows medians of whole processes, start-up included, and ratios to mpop. Slow clients fetch
fewer letters. What is counted afterwards must be what was there, or the run counts as failed. Ratios travel between
machines, seconds do not. Prints Markdown; fails nothing.

They do not promise the same: mpop calls fsync for each letter (in its Maildir), getmail6 twice, fetchmail never; postroom
commits letters in batches, and its `fetch` also parses them and writes a full-text index.
"""

import argparse
import os
import pwd
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from tests import corpus
from tests.servers import certificates, child, dovecot

PASSWORD: Final = "only-for-the-benchmark"
FEW: Final = 10  # slow clients fetch a tenth
REFERENCE: Final = "mpop, Maildir"
PROCESS_SECONDS: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a client is told: the user's maildrop and how to get there."""

    user: str
    port: int
    tls: bool
    ca_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program to be measured. prepare: writes its configuration into a fresh directory, returns the command."""

    name: str
    program: str
    prepare: Callable[[Path, Account], list[str]]
    count: Callable[[Path], int]
    is_slow: bool = False
    as_user: str | None = None  # when we are root and it refuses to be
    seconds: Callable[[Path], float] | None = None  # its own account of the time, in place of the process's


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured process."""

    wall_seconds: float
    cpu_seconds: float
    messages: int


# --- the clients ----------------------------------------------------------------------------------------------------


def _postroom(directory: Path, account: Account) -> list[str]:
    values = {
        "ADDRESS": "bench@example.org",
        "POP3__HOST": "localhost",
        "POP3__PORT": account.port,
        "POP3__SECURITY": "tls" if account.tls else "plaintext",
        "POP3__USERNAME": account.user,
        "POP3__PASSWORD": PASSWORD,
        "POP3__CA_FILE": account.ca_file,
    }
    lines = [f"POSTROOM_ACCOUNTS__BENCH__{name}='{value}'" for name, value in values.items()]
    lines += [f"POSTROOM_DATABASE_URL='sqlite:///{directory}/postroom.db'", "POSTROOM_LOG_LEVEL=warning"]
    (directory / ".env").write_text("\n".join(lines), encoding="utf-8")
    return [sys.executable, "-m", "daemon", "fetch"]


def _in_postroom(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "postroom.db")) as database:
        return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])


def _poll_seconds(directory: Path) -> float:
    with closing(sqlite3.connect(directory / "postroom.db")) as database:
        began, ended = database.execute("SELECT started_at, finished_at FROM polls").fetchone()
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _mpop(destination: str) -> Callable[[Path, Account], list[str]]:
    def prepare(directory: Path, account: Account) -> list[str]:
        _maildir(directory)
        tls = f"tls on\ntls_starttls off\ntls_trust_file {account.ca_file}" if account.tls else "tls off"
        configuration = _private(
            directory / "mpoprc",
            f"account bench\nhost localhost\nport {account.port}\nuser {account.user}\npassword {PASSWORD}\nauth user\n{tls}\n"
            f"keep on\nonly_new on\npipelining on\nreceived_header off\nuidls_file {directory}/uidls\n"
            f"delivery {destination} {directory}/{destination}\n",
        )
        return ["mpop", "--quiet", f"--file={configuration}", "bench"]

    return prepare


def _fetchmail(directory: Path, account: Account) -> list[str]:
    tls = f"ssl sslcertck sslcertfile {account.ca_file}" if account.tls else "sslproto ''"
    configuration = _private(
        directory / "fetchmailrc",
        "set no bouncemail\nset no syslog\nset postmaster root\n"
        f"poll localhost service {account.port} protocol pop3 uidl auth password timeout 60\n"
        f'  user "{account.user}" there password "{PASSWORD}" is root here\n'
        f'  keep no rewrite {tls} mda "cat >> {directory}/mbox"\n',
    )
    words = [
        "--silent",
        "--nodetach",
        "-f",
        str(configuration),
        "-i",
        f"{directory}/fetchids",
        "--pidfile",
        f"{directory}/pid",
    ]
    return ["fetchmail", *words]


def _getmail(directory: Path, account: Account) -> list[str]:
    _maildir(directory)
    kind, tls = (
        ("SimplePOP3SSLRetriever", f"ca_certs = {account.ca_file}") if account.tls else ("SimplePOP3Retriever", "")
    )
    configuration = directory / "getmailrc"
    configuration.write_text(
        f"[retriever]\ntype = {kind}\nserver = localhost\nport = {account.port}\nusername = {account.user}\n"
        f"password = {PASSWORD}\n{tls}\n[destination]\ntype = Maildir\npath = {directory}/maildir/\n"
        "[options]\nread_all = false\ndelete = false\nreceived = false\ndelivered_to = false\nverbose = 0\n",
        encoding="utf-8",
    )
    return ["getmail", "-q", "--getmaildir", str(directory), "--rcfile", str(configuration)]


def _maildir(directory: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (directory / "maildir" / name).mkdir(parents=True)


def _private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
    return file


def _in_maildir(directory: Path) -> int:
    return len(list((directory / "maildir" / "new").iterdir()))


def _in_mbox(directory: Path) -> int:
    # fetchmail's mda gets no From_ line, so what every letter of the corpus has once is counted.
    return (directory / "mbox").read_bytes().count(b"\nMessage-ID: <small.")


CLIENTS: Final = (
    Client(name="postroom fetch (poll and index)", program=sys.executable, prepare=_postroom, count=_in_postroom),
    Client(
        name="postroom, the poll alone",
        program=sys.executable,
        prepare=_postroom,
        count=_in_postroom,
        seconds=_poll_seconds,
    ),
    Client(name=REFERENCE, program="mpop", prepare=_mpop("maildir"), count=_in_maildir),
    Client(name="mpop, mbox", program="mpop", prepare=_mpop("mbox"), count=_in_mbox),
    Client(name="fetchmail, mda", program="fetchmail", prepare=_fetchmail, count=_in_mbox, is_slow=True),
    Client(
        name="getmail6, Maildir", program="getmail", prepare=_getmail, count=_in_maildir, is_slow=True, as_user="mail"
    ),
)


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(client: Client, account: Account, expected: int) -> Run | str:
    """Run a client once in a fresh directory; a sentence when it failed."""
    directory = Path(tempfile.mkdtemp(prefix="postroom-bench-", dir="/tmp"))
    try:
        command = client.prepare(directory, account)
        user = client.as_user if os.geteuid() == 0 else None
        if user is not None:
            for path in (directory, *directory.rglob("*")):
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        environment |= {"HOME": str(directory), "FETCHMAILHOME": str(directory), "PYTHONPATH": str(Path.cwd())}
        with (directory / "said").open("wb") as said:
            os.sync()
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall_seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            last = (directory / "said").read_text(errors="replace").strip().rpartition("\n")[2]
            return f"exit code {process.returncode}: {last}"
        count = client.count(directory)
        if count != expected:
            return f"{count} messages arrived, not {expected}"
        if client.seconds is not None:
            wall_seconds = client.seconds(directory)
        return Run(wall_seconds=wall_seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, messages=count)
    finally:
        shutil.rmtree(directory)


def table(runs: dict[str, list[Run | str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    medians = {}
    for name, several in runs.items():
        good = [run for run in several if isinstance(run, Run)]
        if good:
            rate = statistics.median(run.messages / run.wall_seconds for run in good)
            medians[name] = (rate, statistics.median(run.cpu_seconds / run.messages for run in good) * 1e6, good)
    lines = [
        f"| client | messages/s | ratio to {REFERENCE} | CPU µs a message | messages | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, several in runs.items():
        if name not in medians:
            lines.append(f"| {name} | failed: {several[-1]} | | | | |")
            continue
        rate, cpu, good = medians[name]
        ratio = f"{rate / medians[REFERENCE][0]:.2f}" if REFERENCE in medians else ""
        lines.append(
            f"| {name} | {rate:,.0f} | {ratio} | {cpu:,.0f} | {good[0].messages:,} | {len(good)} of {len(several)} |"
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true", help="implicit TLS in place of plaintext")
    parser.add_argument("--only", default="", help="words, one of which a client's name must have")
    chosen = parser.parse_args()
    why_not = dovecot.why_not()
    if why_not is not None:
        print(f"nothing to measure against: {why_not}")
        return
    words = chosen.only.split(",")
    clients = [one for one in CLIENTS if child.find(one.program) and any(word in one.name for word in words)]
    directory = child.directory("bench-certificates")
    made = certificates.make(directory)
    with dovecot.Dovecot(made, PASSWORD) as server:
        counts = {"many": chosen.messages, "few": max(1, chosen.messages // FEW)}
        accounts = {}
        for user, count in counts.items():
            server.fill(user, corpus.small(count))
            port = server.pop3s_port if chosen.tls else server.pop3_port
            accounts[user] = Account(user=user, port=port, tls=chosen.tls, ca_file=made.ca_file)
        runs: dict[str, list[Run | str]] = {client.name: [] for client in clients}
        for number in range(chosen.rounds + 1):
            for client in clients:
                user = "few" if client.is_slow else "many"
                run = measure(client, accounts[user], counts[user])
                print(f"{client.name}: {run}", file=sys.stderr)
                if number > 0 or chosen.rounds == 0:  # the first round warms the server's index and the disk's cache
                    runs[client.name].append(run)
    shutil.rmtree(directory)
    line = "implicit TLS" if chosen.tls else "plaintext"
    print(f"\nOne fetch of new letters of 3 kB, Dovecot on loopback, {line}, medians of {chosen.rounds} rounds:\n")
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
