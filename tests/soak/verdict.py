"""What must be true when two weeks are over: nothing is lost, nothing is twice, the ledger knows what the servers know, nothing leaked."""

import hashlib
import sqlite3
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.soak.world import UNKNOWN, World

WARM_HOURS: Final = 72  # before, pools and caches are still filling, which is no leak
MOST_GROWTH: Final = {"rss_octets": 25_000_000, "descriptors": 8, "threads": 4}  # from the third day to the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the process holds at one hour."""

    hour: int
    rss_octets: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int, hour: int) -> "Sample":
        """Look at a process."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        )
        return cls(
            hour=hour,
            rss_octets=int(status["VmRSS"].split()[0]) * 1024,
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            threads=int(status["Threads"]),
        )


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """Compare the medians of the last sixth with those of the second: what is warm by then stays as it is."""
    part = max(1, len(samples) // 6)
    early, late = samples[part : 2 * part] or samples, samples[-part:]
    return {name: statistics.median(getattr(one, name) for one in late) - statistics.median(getattr(one, name) for one in early) for name in MOST_GROWTH}  # fmt: skip


class Books:
    """The database, read as anybody may."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Ask; nothing while the database can't be read."""
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def unrest(self, world: World) -> list[str]:
        """Name what is still to be done: [] when the house has come to rest."""
        found = []
        for what, statement in {
            "rows to send": "SELECT count(*) FROM outbox WHERE status IN ('queued', 'sending', 'deferred')"
            " OR (status = 'in_doubt' AND on_doubt = 'retry')",
            "visits under way": "SELECT count(*) FROM polls WHERE outcome = 'running'",
            "leases": "SELECT count(*) FROM accounts WHERE lease_owner IS NOT NULL",
            "messages to index": "SELECT count(*) FROM messages WHERE parser_version = 0",
            "accounts that fail": "SELECT count(*) FROM accounts WHERE failing_since IS NOT NULL",
        }.items():
            if (count := self.rows(statement)[0][0]) > 0:
                found.append(f"{count} {what}")
        expected = sum(len(unique) for unique in _letters(world).values())
        if (archived := self.rows("SELECT count(*) FROM messages")[0][0]) != expected:
            found.append(f"{archived} of {expected} letters archived")
        waiting = sum(len(world.pop3.maildrop(name).messages) for name in world.accounts[1::3])
        if waiting:
            found.append(f"{waiting} letters to delete after fetch")
        return found


def _letters(world: World) -> dict[str, set[str]]:
    """Give the hashes of what was ever delivered to each account."""
    return {
        name: {hashlib.sha256(held.content).hexdigest() for held in (*drop.messages, *drop.deleted)}
        for name in world.accounts
        for drop in [world.pop3.maildrop(name)]
    }


def broken(world: World, books: Books) -> Iterator[str]:
    """Give each promise that was not kept, in a sentence."""
    yield from _archive(world, books)
    yield from _ledger(world, books)
    yield from _outbox(world, books)


def _archive(world: World, books: Books) -> Iterator[str]:
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    for row in books.rows("SELECT account, sha256 FROM messages"):
        kept[row["account"]][row["sha256"]] += 1
    for name, wanted in _letters(world).items():
        if missing := wanted - kept[name].keys():
            yield f"{name}: {len(missing)} letters are not in the archive"
        if extra := kept[name].keys() - wanted:
            yield f"{name}: {len(extra)} letters in the archive were never delivered"


def _ledger(world: World, books: Books) -> Iterator[str]:
    known: dict[str, dict[str, sqlite3.Row]] = defaultdict(dict)
    for row in books.rows("SELECT account, uidl, status, message, dele_sent_at, deleted_at FROM ledger"):
        known[row["account"]][row["uidl"]] = row
    for position, name in enumerate(world.accounts):
        drop, entries = world.pop3.maildrop(name), known[name]
        for held in drop.messages:
            entry = entries.pop(str(held.uidl), None)
            if entry is None or entry["status"] != "archived" or entry["message"] is None:
                yield f"{name}: {held.uidl!r} is on the server; the ledger says {None if entry is None else entry['status']}"
        for held in drop.deleted:
            entry = entries.pop(str(held.uidl), None)
            if entry is None or entry["status"] not in {"deleted", "gone"} or entry["dele_sent_at"] is None:
                yield f"{name}: {held.uidl!r} was deleted on the server; the ledger says {None if entry is None else tuple(entry)}"
        if drop.deleted and position % 3 == 0:
            yield f"{name}: {len(drop.deleted)} letters were deleted, and none should be"
        yield from (
            f"{name}: the ledger has {tuple(entry)}, which no server knows"
            for entry in entries.values()
            if entry["status"] != "gone"
        )


def _outbox(world: World, books: Books) -> Iterator[str]:
    arrived = Counter(address for letter in list(world.smtp.received) for address in letter.recipients)
    doubted = {
        row["idempotency_key"]
        for row in books.rows(
            "SELECT DISTINCT o.idempotency_key FROM outbox o JOIN outbox_attempts a ON a.outbox_id = o.id"
            " WHERE a.committing_at IS NOT NULL AND coalesce(a.outcome, '') NOT IN ('sent', 'partial', 'failed')"
        )
    }
    verdicts = {
        row["idempotency_key"]: row for row in books.rows("SELECT idempotency_key, id, status, on_doubt FROM outbox")
    }
    for key, people in world.sent.items():
        row = verdicts.get(key)
        if row is None:
            yield f"row {key} is not in the outbox"
            continue
        wanted = [one for one in people if not one.startswith(UNKNOWN)]
        rightly = "partial" if len(wanted) < len(people) else "sent"
        if row["status"] != rightly and not (row["status"] == "in_doubt" and row["on_doubt"] == "hold"):
            yield f"row {key} ended as {row['status']} rather than {rightly}"
        for address in wanted:
            if not arrived[address] and row["status"] != "in_doubt":
                yield f"row {key} is {row['status']}, and {address} has no letter"
            if arrived[address] > 1 and key not in doubted:
                yield f"{address} has {arrived[address]} letters, and row {key} was never in doubt"
