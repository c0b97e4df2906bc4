"""Whole drains against relays that misbehave: what the rows, the recipients, the attempts and the relay's pause then say.

Each dialogue is a file, `tests/doubles/drains.py` explains it. Whatever it is about, these hold behind every visit: who is sent
has been taken, who was taken is sent or in doubt, nobody is taken twice without a doubt between, no row is left in a
process's hands. At the end the relay has good manners, and what waits must arrive, once.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from daemon.jobs import drain
from daemon.jobs.context import Context
from daemon.jobs.sweep import sweep
from daemon.mail.account import Account
from daemon.store.database import Database
from daemon.wire.stream import Security
from tests.doubles import drains, house
from tests.doubles.drains import Drains, Visit
from tests.doubles.reacting import Reacting
from tests.doubles.scripted import ca_file

HANG_SECONDS = 30.0  # no drain takes a tenth of it; one that gets here waits for something that never comes
ENDED = {"sent", "failed", "partial"}


@pytest.fixture
def clock() -> house.Clock:
    return house.Clock(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10))


@pytest.fixture
def context(sqlite_url: str, clock: house.Clock) -> Iterator[Context]:
    database = Database(sqlite_url)
    yield house.context(database, clock)
    database.dispose()


def account(port: int, played: Drains, folder: Path) -> Account:
    made = house.sending(port, login=played.logs_in)
    assert made.smtp is not None
    endpoint = replace(
        made.smtp.endpoint,
        host="localhost" if played.security != "plaintext" else "127.0.0.1",
        security=Security(played.security),
        timeout_seconds=played.timeout_seconds,
        ca_file=ca_file(folder),
    )
    return replace(made, smtp=replace(made.smtp, endpoint=endpoint))


def insert(database: Database, played: Drains) -> dict[str, int]:
    ids = {}
    with database.transaction() as tx:
        for word, recipients in played.rows.items():
            values = {"recipients": recipients, "subject": word, "body": "Text.\n", "account": "home"}
            values |= played.columns.get(word, {})
            places = ", ".join(f":{name}" for name in values)
            row = tx.execute(text(f"INSERT INTO outbox ({', '.join(values)}) VALUES ({places}) RETURNING id"), values)
            ids[word] = int(row.scalar_one())
    return ids


def query(database: Database, statement: str, **values: object) -> Sequence[Any]:
    with database.reading() as conn:
        return conn.execute(text(statement), values).all()


class Checked:
    """What the tables say, beside what a dialogue and the relay say."""

    def __init__(self, context: Context, ids: dict[str, int], relay: Reacting) -> None:
        self.context, self.ids, self.relay = context, ids, relay

    def _rows(self, statement: str, **values: object) -> Sequence[Any]:
        return query(self.context.database, statement, **values)

    def expect(self, visit: Visit) -> None:
        for what, rest in visit.expected:
            word, _, more = rest.partition(" ")
            getattr(self, f"_{what}")(word, more)

    def _row(self, word: str, expected: str) -> None:
        (row,) = self._rows("SELECT status, attempts, last_error FROM outbox WHERE id = :id", id=self.ids[word])
        statuses, _, attempts = expected.partition(" ")
        assert row.status in statuses.split("|"), (word, row)
        assert attempts in {"", str(row.attempts)}, (word, row)

    def _says(self, word: str, words: str) -> None:
        (row,) = self._rows("SELECT last_error FROM outbox WHERE id = :id", id=self.ids[word])
        assert words in (row.last_error or "")
        assert "\n" not in row.last_error

    def _to(self, address: str, expected: str) -> None:
        (row,) = self._rows("SELECT status, code, enhanced_code FROM outbox_recipients WHERE address = :to", to=address)
        status, *codes = expected.split()
        assert row.status in status.split("|"), (address, row)
        assert codes in ([], ["-" if one is None else str(one) for one in row[1:]]), (address, row)

    def _reply(self, address: str, words: str) -> None:
        (row,) = self._rows("SELECT reply FROM outbox_recipients WHERE address = :to", to=address)
        assert words in (row.reply or "")

    def _attempts(self, word: str, expected: str) -> None:
        found = self._rows(
            "SELECT outcome FROM outbox_attempts WHERE outbox_id = :id ORDER BY number", id=self.ids[word]
        )
        assert expected.replace("none", "").split() == [row.outcome for row in found]

    def _taken(self, word: str, more: str) -> None:
        assert Counter(f"{word} {more}".replace("none", "").split()) == self.relay.taken

    def _relay(self, expected: str, _more: str) -> None:
        paused = self._rows(
            "SELECT relay_paused_until AS until FROM accounts WHERE name = 'home'"
            " UNION ALL SELECT paused_until FROM relays WHERE account = 'home'"
        )
        now = self.context.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert expected == ("paused" if any(row.until and row.until > now for row in paused) else "open")

    def _connections(self, expected: str, _more: str) -> None:
        assert int(expected) == self.relay.connections

    # --- what always holds ------------------------------------------------------------------------------------------

    def hold(self) -> None:
        rows = self._rows("SELECT id, status, lease_owner, next_attempt_at, on_doubt FROM outbox")
        assert [] == [row for row in rows if row.status == "sending" or row.lease_owner]
        waiting = [row.id for row in rows if row.next_attempt_at is not None]
        left = [row.id for row in rows if row.status not in ENDED and row.on_doubt == "retry" and row.id not in waiting]
        assert [] == left, "rows that nobody comes back to"
        assert [] == self._rows("SELECT * FROM outbox_attempts WHERE finished_at IS NULL")
        doubts = Counter(
            row.address
            for row in self._rows(
                "SELECT r.address FROM outbox_recipients r JOIN outbox_attempts a ON a.outbox_id = r.outbox_id"
                " WHERE a.outcome = 'in_doubt'"
            )
        )
        statuses = dict(tuple(row) for row in self._rows("SELECT address, status FROM outbox_recipients"))
        taken = self.relay.taken
        assert [] == [to for to, status in statuses.items() if status == "sent" and not taken[to]], (
            "sent, but not taken"
        )
        lost = {to: statuses.get(to) for to in taken if statuses.get(to) not in {"sent", "in_doubt"} and not doubts[to]}
        assert {} == lost, "taken, but not sent"
        assert {} == {to: n for to, n in taken.items() if n > 1 + doubts[to]}, "taken twice without a doubt"
        assert [] == self.relay.violations

    def arrived(self) -> None:
        """Whoever has not been refused has the letter now, or the row asked for doubts to be held."""
        rows = self._rows("SELECT status, on_doubt, last_error FROM outbox")
        left = [row for row in rows if row.status not in ENDED and (row.status, row.on_doubt) != ("in_doubt", "hold")]
        assert [] == left
        statuses = dict(tuple(row) for row in self._rows("SELECT address, status FROM outbox_recipients"))
        assert [] == [to for to, status in statuses.items() if status == "sent" and not self.relay.taken[to]]


@pytest.mark.parametrize("name", drains.names())
def test_every_row_says_the_truth_of_a_relay_that_misbehaves(
    name: str, context: Context, clock: house.Clock, tmp_path: Path
) -> None:
    played = Drains.read(name)
    ids = insert(context.database, played)
    began = time.monotonic()
    with Reacting(played) as relay:
        sender, checked = account(relay.port, played, tmp_path), Checked(context, ids, relay)
        for visit in played.visits:
            clock.forward(seconds=visit.later.total_seconds())
            sweep(context)
            relay.play(visit)
            drain.drain(sender, context)
            if not played.keeps:
                context.connections.close_idle(float("inf"))  # the relay plays another part at the next visit
            relay.do_between(visit)
            checked.hold()
            checked.expect(visit)
            assert [] == relay.unheard()
        context.connections.close_idle(float("inf"))
        relay.behave(played)
        clock.forward(seconds=drains.LATEST.total_seconds())
        sweep(context)
        if (played.serves or played.security, played.names) == (played.security, ()):
            drain.drain(sender, context)
            checked.hold()
            checked.arrived()
    assert time.monotonic() - began < HANG_SECONDS


def test_there_are_enough_of_them() -> None:
    assert 40 <= len(drains.names())
