"""A daemon that remembers what was settled does what one without memory does, whoever changes what in between."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.jobs.recollections import Recollections
from daemon.store.database import Database
from tests.doubles import house

COUNT = 12


def letter(number: int, more: int = 0) -> bytes:
    return f"Message-ID: <{number}@example.org>\r\n\r\n".encode() + b"x" * (number * 7 + more) + b"\r\n"


def ledger(database: Database, account: str) -> list[tuple[object, ...]]:
    """Give what the ledger says, but for the ids."""
    query = (
        "SELECT uidl, occurrence, octets, status, reason, first_seen_at, last_seen_at, message IS NULL, attempts FROM ledger "
        "WHERE account = :account ORDER BY uidl, occurrence"
    )
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(query), {"account": account})]


def change(database: Database, statement: str) -> None:
    """Write to the ledger of both accounts as somebody with a database shell would."""
    with database.transaction() as tx:
        tx.execute(text(statement))


class Twins:
    """Two accounts with the same maildrop: one is visited by a daemon that remembers, the other by one that does not."""

    def __init__(self, server: Pop3Server, context: Context) -> None:
        self.server, self.context = server, context
        self.forgetful = replace(context, recollections=Recollections(most_octets=0))

    def visit(self) -> tuple[Counter[str], Counter[str]]:
        """Visit both; give what was said to the server for each."""
        said = []
        for name, context in (("home", self.context), ("work", self.forgetful)):
            self.server.seen.clear()
            poll(house.fetching(self.server.port, name=name), context)
            said.append(Counter(command.split()[0] for command in self.server.commands))
        return said[0], said[1]


@pytest.fixture
def twins(pop3_server: Pop3Server, maildrop: Maildrop, context: Context) -> Twins:
    """Twelve letters, fetched, and listed once more."""
    made = Twins(pop3_server, context)
    for number in range(COUNT):
        maildrop.add(letter(number))
    made.visit()
    made.visit()
    kept = context.recollections.of("home")
    assert kept is not None
    assert (COUNT, ()) == (kept.count, kept.open)
    assert made.forgetful.recollections.of("work") is None
    return made


def test_whatever_changes_in_between_the_ledger_becomes_the_same(
    twins: Twins, maildrop: Maildrop, clock: house.Clock
) -> None:
    database = twins.context.database
    first = str(maildrop.messages[0].uidl)
    changes: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "new": lambda: maildrop.add(letter(20)),
        "an hour": lambda: clock.forward(hours=1, minutes=1),
        "new again": lambda: maildrop.add(letter(21)),
        "a row is removed": lambda: change(database, f"DELETE FROM ledger WHERE uidl = '{first}'"),
        "a row says seen": lambda: change(database, f"UPDATE ledger SET status = 'seen' WHERE uidl = '{first}'"),
        "a row says gone": lambda: change(database, f"UPDATE ledger SET status = 'gone' WHERE uidl = '{first}'"),
        "a row has another size": lambda: change(database, f"UPDATE ledger SET octets = 1 WHERE uidl = '{first}'"),
        "pruned": lambda: change(database, f"UPDATE ledger SET message = NULL WHERE uidl = '{first}'"),
        "one left": lambda: maildrop.messages.pop(3),
        "a UIDL is used again": lambda: maildrop.add(letter(30), uidl=maildrop.messages.pop().uidl),
        "a twin": lambda: maildrop.add(letter(31), uidl=first),
        "no twin": maildrop.messages.pop,
        "all renamed": maildrop.renumber,
    }
    for case, happen in changes.items():
        clock.forward(minutes=5)
        happen()
        for _ in range(2):  # the visit that sees it, and the one after
            ours, theirs = twins.visit()
            assert theirs == ours, case
            assert ledger(database, "work") == ledger(database, "home"), case


def test_only_what_is_new_is_read_of_the_ledger(twins: Twins, maildrop: Maildrop, clock: house.Clock) -> None:
    for number in (COUNT, COUNT + 1):
        maildrop.add(letter(number))
        clock.forward(minutes=5)
        twins.visit()
        kept = twins.context.recollections.of("home")
        assert kept is not None
        # What was fetched by this visit is settled by the next one.
        assert (number, [number + 1]) == (kept.count, [entry.number for entry in kept.open])


def test_the_maildrop_that_was_not_visited_for_longest_is_forgotten_first(twins: Twins) -> None:
    kept = twins.context.recollections.of("home")
    assert kept is not None
    memory = Recollections(most_octets=2 * kept.octets)
    for account in ("a", "b", "a", "c"):
        memory.keep(account, kept)
    assert {"a": True, "b": False, "c": True} == {one: memory.of(one) is not None for one in "abc"}
    memory.keep("a", None)
    memory.keep("d", kept)
    assert {"a": False, "c": True, "d": True} == {one: memory.of(one) is not None for one in "acd"}
