"""How long searches take in an archive of a million messages on SQLite, and beside notmuch on a share of them.

    make bench-search ARGS='--messages 20000 --share 5000'

The archive is made once, in .cache/search/, by INSERTs into the derived columns (nothing is parsed, no octets are stored): words of
a vocabulary of 200,000 in Zipf's distribution, 20 to 160 a message, some German, Chinese and file names. Each query asks for the
best 20 with their snippets, in this process; the first round is not counted. notmuch is a process a search, whose start is
measured too. Prints Markdown; fails nothing.
"""

import argparse
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import Final

from daemon.store import search, upgrade
from daemon.store.database import Database
from daemon.store.dialect import fulltext

CACHE: Final = Path(__file__).parents[2] / ".cache" / "search"
VERSION: Final = 1  # of what is generated: raised when that changes
TODAY: Final = date(2026, 11, 25)
A_TRANSACTION: Final = 5000
SHOWN: Final = 20
TARGET_MS: Final = 50
COMMON: Final = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
]
LETTERS: Final = "etaoinshrdlucmfwypvbgkjqxz"
CHINESE: Final = ("今天的会议改到下午三点。", "请把合同发给我们公司。", "北京的天气很好。", "发票已经寄出。")
GERMAN: Final = ("Schöne Grüße aus München", "die Rechnung für März", "Straßenbahn und Fahrräder", "Herr Müller")


class Words:
    """A vocabulary, the commonest first, and texts of it."""

    def __init__(self) -> None:
        random = Random("vocabulary")
        weights = list(accumulate(1 / (place + 4) for place in range(len(LETTERS))))
        made = {
            "".join(
                random.choices(LETTERS, cum_weights=weights, k=random.choice((3, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 12)))
            )
            for _ in range(230_000)
        }
        self.all = [*COMMON, *sorted(made - {*COMMON}, key=lambda word: hashlib.sha256(word.encode()).digest())][
            :200_000
        ]
        self._weights = list(accumulate(1 / (place + 2.7) for place in range(len(self.all))))

    def text(self, random: Random, count: int) -> list[str]:
        return random.choices(self.all, cum_weights=self._weights, k=count)


class Message:
    """One message, by its number."""

    def __init__(self, words: Words, number: int, people: list[tuple[str, str]]) -> None:
        random = Random(number)
        self.number = number
        self.sender, self.recipient = random.choice(people), random.choice(people)
        self.subject = " ".join(words.text(random, random.randint(2, 8)))
        found = words.text(random, random.randint(20, 160))
        sentences = [" ".join(found[at : at + 12]) for at in range(0, len(found), 12)]
        if number % 30 == 0:
            sentences.insert(1, random.choice(CHINESE))
        if number % 20 == 0:
            sentences.insert(1, random.choice(GERMAN))
        self.body = ".\n".join(sentences) + ".\n"
        self.attachment = f"{random.choice(words.all)}_{random.randint(1, 99)}.pdf" if number % 12 == 0 else ""
        # Ten years, in their order but for some days.
        self.sent_at = datetime(2016, 11, 1, tzinfo=UTC) + timedelta(seconds=number * 315, days=random.uniform(0, 20))

    def row(self) -> tuple[object, ...]:
        name, address = self.sender
        key = f"{self.number}"
        return (
            "home" if self.number % 4 else "work", key, f"{key}@bench.example", self.sent_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"), name, address,
            f"{self.recipient[0]} <{self.recipient[1]}>", "", self.subject, len(self.body) + 400, hashlib.sha256(key.encode()).hexdigest(),
            1 if self.attachment else 0, self.attachment, 1, self.body,
        )  # fmt: skip

    def octets(self) -> bytes:
        head = (
            f"From: {self.sender[0]} <{self.sender[1]}>\nTo: {self.recipient[0]} <{self.recipient[1]}>\nSubject: {self.subject}\n"
            f"Date: {self.sent_at:%a, %d %b %Y %H:%M:%S} +0000\nMessage-ID: <{self.number}@bench.example>\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        )
        return (head + self.body).encode()


def messages(words: Words, count: int) -> Iterator[Message]:
    people = [
        (word.title(), f"{word}@{words.all[place % 300]}.example") for place, word in enumerate(words.all[2000:6000])
    ]
    return (Message(words, number, people) for number in range(1, count + 1))


def archive(words: Words, count: int) -> Path:
    """Give the SQLite archive of so many messages, made now if it is not there."""
    path = CACHE / f"archive-{VERSION}-{count}.db"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.db")
    for old in CACHE.glob(part.name + "*"):
        old.unlink()
    database = Database(f"sqlite:///{part}")
    upgrade.upgrade(database)
    columns = "account, uidl, message_id, sent_at, from_name, from_address, to_addresses, cc_addresses, subject, octets, sha256, attachment_count, attachment_names, parser_version, body_text"
    statement = f"INSERT INTO messages ({columns}) VALUES ({', '.join('?' * 15)})"
    began, done, coming = time.monotonic(), 0, messages(words, count)
    while batch := list(islice(coming, A_TRANSACTION)):
        with database.transaction() as tx:
            tx.exec_driver_sql(statement, [one.row() for one in batch])
            fulltext.note_pairs(tx, ((one.number, [one.body]) for one in batch))
        done += len(batch)
        print(f"\rmaking the archive: {done:,} of {count:,}, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    with database.transaction() as tx:
        tx.exec_driver_sql("ANALYZE")
    database.dispose()
    part.rename(path)
    return path


def queries(words: Words) -> list[str]:
    """Give what is asked: words from the commonest to rare ones, alone and together, and everything else a query can hold."""
    common, middle, rare = words.all[20:60], words.all[1000:1040], words.all[40_000:40_040]
    person = words.all[2500]
    return [
        COMMON[0], COMMON[7], common[0], common[9], middle[0], middle[9], rare[0], rare[9],
        f"{COMMON[0]} {COMMON[1]}", f"{common[1]} {common[2]}", f"{common[3]} {middle[1]}", f"{middle[2]} {middle[3]}", f"{common[4]} {rare[1]}",
        f'"{common[5]} {common[6]}"', f'"{middle[4]} {middle[5]}"', f"{middle[6]} OR {rare[2]}", f"{common[7]} -{common[8]}",
        f"subject:{common[10]}", f"subject:{middle[10]} {common[11]}", f"from:{person}", f"from:{person} {common[12]}", f"to:{person}",
        f"{middle[11][:4]}*", f"{rare[3][:5]}*", f"{common[13]} date:2020-01..2020-06", f"{middle[12]} after:2026", f"{middle[13]} has:attachment",
        "muller", "grüße münchen", "strassenbahn", "会议", "天气", f"{middle[14]} account:work", f"({middle[15]} OR {middle[16]}) -{common[14]}",
    ]  # fmt: skip


# --- measuring ------------------------------------------------------------------------------------------------------


Spent = dict[str, list[tuple[float, float]]]


def cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(asked: list[str], rounds: int, ask: Callable[[str], object]) -> Spent:
    """Give (wall, CPU) milliseconds of each query, by query; the round before the first is not counted."""
    spent: Spent = {one: [] for one in asked}
    for number in range(rounds + 1):
        for one in asked:
            wall, cpu = time.perf_counter(), cpu_seconds()
            ask(one)
            if number:
                spent[one].append(((time.perf_counter() - wall) * 1000, (cpu_seconds() - cpu) * 1000))
    return spent


class Figures:
    """What measuring came to: p50 and p95 of wall and of CPU milliseconds."""

    def __init__(self, spent: Spent, less: float = 0.0) -> None:
        walls, cpus = zip(*(one for several in spent.values() for one in several), strict=True)
        self.p50, self.p95 = statistics.median(walls) - less, statistics.quantiles(walls, n=20)[-1] - less
        self.cpu50, self.cpu95 = statistics.median(cpus) - less, statistics.quantiles(cpus, n=20)[-1] - less

    def row(self, count: int, who: str, reference: "Figures | None" = None) -> str:
        walls, cpus = f"{self.p50:.1f} | {self.p95:.1f}", f"{self.cpu50:.1f} | {self.cpu95:.1f}"
        ratio = f"{self.p50 / reference.p50:.2f} | {self.p95 / reference.p95:.2f}" if reference else " | "
        return f"| {count:,} | {who} | {walls} | {cpus} | {ratio} |"


def ours(database: Database, sort: search.Sort) -> Callable[[str], object]:
    def ask(query: str) -> object:
        with database.reading() as conn:
            return search.search(conn, query, limit=SHOWN, sort=sort, today=TODAY)

    return ask


def notmuch(words: Words, share: int) -> tuple[Callable[[str], object], Path]:
    """Index the first messages with notmuch, once; give what asks it."""
    mail = CACHE / f"notmuch-{VERSION}-{share}"
    config = CACHE / f"notmuch-{VERSION}-{share}.config"
    if not config.exists():
        shutil.rmtree(mail, ignore_errors=True)
        for one in messages(words, share):
            file = mail / f"{one.number // 1000:04d}" / str(one.number)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(one.octets())
        fresh = config.with_suffix(".new")
        fresh.write_text(
            f"[database]\npath={mail}\n[user]\nname=x\nprimary_email=x@bench.example\n[new]\ntags=\n", encoding="utf-8"
        )
        subprocess.run(["notmuch", f"--config={fresh}", "new", "--quiet"], check=True)
        fresh.rename(config)

    def ask(query: str) -> object:
        command = ["notmuch", f"--config={config}", "search", f"--limit={SHOWN}", "--", query]
        return subprocess.run(command, check=True, capture_output=True)

    return ask, config


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=1_000_000)
    options.add_argument("--share", type=int, default=50_000, help="of them, that notmuch has too; 0: without notmuch")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--each", action="store_true", help="print each query's median")
    given = options.parse_args()
    words = Words()
    asked = queries(words)
    print(
        f"load average {os.getloadavg()[0]:.1f}; ms; target: p95 <= {TARGET_MS} at 1,000,000; ratios to notmuch without its start\n"
    )
    print(
        "| messages | who | p50 | p95 | CPU p50 | CPU p95 | p50 ratio | p95 ratio |\n|---|---|---|---|---|---|---|---|"
    )
    whole = Database(f"sqlite:///{archive(words, given.messages)}")
    for sort in search.SORTS:
        spent = measure(asked, given.rounds, ours(whole, sort))
        print(Figures(spent).row(given.messages, f"postroom, by {sort}"), flush=True)
        for query, several in spent.items() if given.each else ():
            walls, cpus = zip(*several, strict=True)
            print(f"| | `{query}` | {statistics.median(walls):.1f} | | {statistics.median(cpus):.1f} | | | |")
    whole.dispose()
    share = min(given.share, given.messages)
    if share and shutil.which("notmuch") is not None:
        beside_notmuch(words, asked, share, given.rounds)


def beside_notmuch(words: Words, asked: list[str], share: int, rounds: int) -> None:
    ask, config = notmuch(words, share)
    command = ["notmuch", f"--config={config}", "config", "get", "database.path"]
    starts = measure(["*"], 20, lambda _: subprocess.run(command, check=True, capture_output=True))["*"]
    start = statistics.median(wall for wall, _ in starts)
    theirs = Figures(measure(asked, rounds, ask), less=start)
    print(theirs.row(share, f"notmuch, without the {start:.1f} ms of its start", theirs), flush=True)
    part = Database(f"sqlite:///{archive(words, share)}")
    for sort in search.SORTS:
        print(Figures(measure(asked, rounds, ours(part, sort))).row(share, f"postroom, by {sort}", theirs), flush=True)
    part.dispose()


if __name__ == "__main__":
    main()
