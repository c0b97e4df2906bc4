"""What the index costs, beside `notmuch new` and `mu index` on the same mail in the same rounds, where they are installed.

    python -m tests.benchmarks.bench_index [--rounds 3] [--small 5000] [--mixed 150] [--alone]

A core's figure is mail over CPU seconds, those of all threads and of child processes; wall seconds tell how much runs at once and
how long the disk is waited for. Indexed are text, addresses, attachments, conversations and full-text search. Room is octets of
mail and index together over octets of mail as it was sent. Medians; prints Markdown, fails nothing.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from daemon import app
from daemon.jobs import index
from daemon.mail import parse
from daemon.store import archive, upgrade
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.benchmarks import letters

NOW: Final = datetime(2026, 11, 24, tzinfo=UTC)
STORED_AT_ONCE: Final = 200
TARGETS: Final = {"small": 4000.0, "mixed": 100.0}  # messages/s and MB/s a core
ROOM: Final = {"small": 1.6, "mixed": 0.85}


class Spent(NamedTuple):
    """Seconds, and octets on the disk; 0 where nothing is stored."""

    wall: float
    cpu: float
    octets: int


def ours(contents: list[bytes], directory: Path) -> Spent:
    """Archive the messages, then measure the indexing."""
    database = Database(f"sqlite:///{directory}/archive.db")
    upgrade.upgrade(database)
    for start in range(0, len(contents), STORED_AT_ONCE):
        several = enumerate(contents[start : start + STORED_AT_ONCE], start)
        with database.transaction() as tx:
            archive.add(tx, "home", [archive.Incoming(uidl=f"u{n}", spool=Spool.of(one)) for n, one in several], NOW)
    wall, cpu = time.perf_counter(), time.process_time()
    index.index(database, now=lambda: NOW, stop=threading.Event(), progress=lambda: None)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    database.dispose()  # the last connection takes the write-ahead log into the file
    return Spent(*spent, _octets(directory))


def parsing(contents: list[bytes], _directory: Path) -> Spent:
    """Parse, and store nothing."""
    wall, cpu = time.perf_counter(), time.process_time()
    for content in contents:
        parse.parse(content)
    return Spent(time.perf_counter() - wall, time.process_time() - cpu, 0)


def notmuch(contents: list[bytes], directory: Path) -> Spent:
    """Index a Maildir."""
    _maildir(contents, directory / "mail")
    settings = directory / "notmuch-config"
    settings.write_text(f"[database]\npath={directory}/mail\n[new]\ntags=new\n[maildir]\nsynchronize_flags=false\n")
    return _run(["notmuch", "new", "--quiet"], directory, NOTMUCH_CONFIG=str(settings))


def mu(contents: list[bytes], directory: Path) -> Spent:
    """Index a Maildir."""
    _maildir(contents, directory / "mail")
    home = f"--muhome={directory}/index"
    subprocess.run(["mu", "init", "--quiet", home, f"--maildir={directory}/mail"], check=True, capture_output=True)
    return _run(["mu", "index", "--quiet", home], directory)


CLIENTS: Final[dict[str, Callable[[list[bytes], Path], Spent]]] = {
    "postroom": ours,
    "postroom, parser alone": parsing,
    "notmuch": notmuch,
    "mu": mu,
}


def _maildir(contents: list[bytes], path: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True)
    for number, content in enumerate(contents):
        (path / "cur" / f"{number}.bench:2,S").write_bytes(content.replace(b"\r\n", b"\n"))


def _run(command: list[str], directory: Path, **environ: str) -> Spent:
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environ)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu, _octets(directory))


def _octets(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def measure(name: str, contents: list[bytes], clients: list[str], rounds: int) -> list[str]:
    """Give the lines of the table for one kind of mail."""
    sent = sum(map(len, contents))
    amount, unit = (float(len(contents)), "messages/s") if name == "small" else (sent / 1e6, "MB/s")
    runs: dict[str, list[Spent]] = {client: [] for client in clients}
    for _ in range(rounds):
        for client, taken in runs.items():
            with tempfile.TemporaryDirectory() as directory:
                taken.append(CLIENTS[client](contents, Path(directory)))
    a_core = {client: amount / statistics.median(one.cpu for one in taken) for client, taken in runs.items()}
    lines = []
    for client, taken in runs.items():
        wall = amount / statistics.median(one.wall for one in taken)
        room = statistics.median(one.octets for one in taken) / sent
        ratio = a_core["postroom"] / a_core[client]
        target = f"≥ {TARGETS[name]:,.0f}, ≤ {ROOM[name]}" if client == "postroom" else ""
        met = a_core[client] >= TARGETS[name], room <= ROOM[name]
        cells = [
            f"{len(contents):,} {name}, {sent / 1e6:,.0f} MB",
            client,
            f"{a_core[client]:,.0f} {unit}",
            f"{wall:,.0f} {unit}",
            f"{ratio:.2f}",
            f"{room:.2f}" if room else "",
            target,
            ", ".join("yes" if one else "**no**" for one in met) if target else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=5000, help="letters of 3 kB; 0 leaves them out")
    parser.add_argument(
        "--mixed", type=int, default=150, help="letters of 0.5 MB, most with attachments; 0 leaves them out"
    )
    parser.add_argument("--alone", action="store_true", help="without the others")
    chosen = parser.parse_args()
    others = [] if chosen.alone else [name for name in ("notmuch", "mu") if shutil.which(name)]
    clients = ["postroom", "postroom, parser alone", *others]
    corpora = {"small": list(letters.small(chosen.small)), "mixed": list(letters.mixed(chosen.mixed))}
    app.settle()  # as the daemon and `db reindex` do
    print(f"load average {os.getloadavg()[0]:.1f}; the ratio is postroom's figure of a core over the client's\n")
    print("| mail | client | a core | wall | ratio | room | target | met |\n|---|---|---|---|---|---|---|---|")
    for name, contents in corpora.items():
        for line in measure(name, contents, clients, chosen.rounds) if contents else ():
            print(line, flush=True)


if __name__ == "__main__":
    main()
