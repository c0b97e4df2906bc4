"""What is wrong is named with its reason and what to do about it; what heals by itself is told from what waits for a person."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.store import daemons, overview
from daemon.store.daemons import DaemonLine
from daemon.store.database import Database
from daemon.store.lease import Owner
from daemon.store.overview import Overview, RelayLine
from daemon.store.problems import Problem, Room, problems
from tests.doubles import house

NOW = house.NOW
HOUR = NOW - timedelta(hours=1)
ALIVE = DaemonLine(owner="host/boot/ns/7/1", version="1", started_at=HOUR, seen_at=NOW, degraded="", state="alive")
WELL = Overview(
    messages=0, octets=0, unindexed=0, unindexed_since=None, with_defects=0, holds=0, held=0, outbox={}, oldest_due_at=None,
    last_attempt_at=None, doubts_held=0, waiting={}, accounts=(),
)  # fmt: skip


def with_account(**known: Any) -> Overview:
    plain = dict.fromkeys(overview.AccountLine.__dataclass_fields__)
    numbers = {"messages": 0, "failures": 0, "relay_failures": 0, "relays": ()}
    line = overview.AccountLine(**{**plain, **numbers, "name": "work", "address": "a@example.org", **known})
    return replace(WELL, accounts=(line,))


RELAY = RelayLine(relay="mx:25", failing_since=HOUR, failures=3, paused_until=None, last_error="421 busy")

# what is seen -> the problem's kind, account, since, whether it needs a person, a part of why
CASES: dict[str, tuple[Callable[[], list[Problem]], tuple[str, str | None, datetime | None, bool, str]]] = {
    "degraded daemon": (
        lambda: problems(WELL, [replace(ALIVE, degraded="disk full")], NOW),
        ("daemon", None, None, False, "can't do all of its work: disk full"),
    ),
    "dead daemon": (
        lambda: problems(WELL, [replace(ALIVE, state="dead", seen_at=HOUR)], NOW),
        ("daemon", None, HOUR, True, "process 7 on host is dead"),
    ),
    "silent daemon": (
        lambda: problems(WELL, [replace(ALIVE, state="silent", seen_at=HOUR)], NOW),
        ("daemon", None, HOUR, True, "has not been heard of"),
    ),
    "no daemon and rows that wait": (
        lambda: problems(replace(WELL, oldest_due_at=HOUR, last_attempt_at=NOW), [], NOW),
        ("daemon", None, HOUR, True, "no daemon runs"),
    ),
    "a daemon of the future": (
        lambda: problems(WELL, [replace(ALIVE, seen_at=NOW + timedelta(hours=3))], NOW),
        ("clock", None, None, True, "2026-11-23 15:00 UTC, which is yet to come"),
    ),
    "little room": (
        lambda: problems(WELL, [ALIVE], NOW, room=Room(free_octets=524_288_000)),
        ("disk", None, None, False, "500 MiB are free"),
    ),
    "no room": (
        lambda: problems(WELL, [ALIVE], NOW, room=Room(free_octets=1_048_576)),
        ("disk", None, None, True, "1 MiB are free"),
    ),
    "a lock": (
        lambda: problems(WELL, [ALIVE], NOW, room=Room(is_held=True)),
        ("database", None, None, True, "write lock"),
    ),
    "held doubts": (
        lambda: problems(replace(WELL, doubts_held=2), [ALIVE], NOW),
        ("outbox", None, None, True, "2 in doubt"),
    ),
    "rows of an account that does not send": (
        lambda: problems(replace(WELL, waiting={"old": 3, "work": 9}), [ALIVE], NOW, senders=["work"]),
        ("outbox", "old", None, True, "3 wait for an account that sends nothing"),
    ),
    "rows that do not leave": (
        lambda: problems(replace(WELL, oldest_due_at=HOUR, last_attempt_at=HOUR), [ALIVE], NOW),
        ("outbox", None, HOUR, False, "do not leave"),
    ),
    "an index that stands still": (
        lambda: problems(replace(WELL, unindexed=4, unindexed_since=HOUR), [ALIVE], NOW),
        ("index", None, HOUR, False, "4 messages"),
    ),
    "a refused password": (
        lambda: problems(with_account(stopped_since=HOUR, failing_since=HOUR, last_error="[AUTH] no"), [ALIVE], NOW),
        ("fetch", "work", HOUR, True, "[AUTH] no"),
    ),
    "a maildrop that changed": (
        lambda: problems(with_account(held_since=HOUR, held_reason="all UIDLs are new"), [ALIVE], NOW),
        ("fetch", "work", HOUR, True, "all UIDLs are new"),
    ),
    "a server that is down": (
        lambda: problems(with_account(failing_since=HOUR, last_error="refused"), [ALIVE], NOW),
        ("fetch", "work", HOUR, False, "refused"),
    ),
    "a relay that is down": (
        lambda: problems(with_account(relay_failing_since=HOUR, relay_last_error="421", relays=(RELAY,)), [ALIVE], NOW),
        ("send", "work", HOUR, False, "421"),
    ),
    "a relay that another stands in for": (
        lambda: problems(with_account(relays=(RELAY,)), [ALIVE], NOW),
        ("send", "work", HOUR, False, "mx:25, for which another stands in: 421 busy"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_problem_is_named_with_its_reason_and_a_way_out(name: str) -> None:
    found, (what, account, since, needs_person, why) = CASES[name][0](), CASES[name][1]
    assert [(what, account, since, needs_person)] == [
        (one.what, one.account, one.since, one.needs_person) for one in found
    ]
    assert why in found[0].why
    assert found[0].advice


def test_a_house_that_is_well_has_no_problem_and_one_that_waits_for_a_person_says_so_first() -> None:
    assert [] == problems(WELL, [ALIVE], NOW, room=Room(free_octets=10**12), senders=[])
    assert [] == problems(WELL, [], NOW), "who fetches from cron has no daemon"
    assert [] == problems(replace(WELL, oldest_due_at=HOUR, last_attempt_at=NOW), [ALIVE], NOW), "there are just many"
    found = problems(with_account(failing_since=HOUR), [ALIVE], NOW, room=Room(is_held=True))
    assert ["database", "fetch"] == [one.what for one in found]


def test_a_daemon_is_alive_while_it_beats_and_gone_when_it_leaves(database: Database) -> None:
    now, mine = datetime(2026, 11, 23, tzinfo=UTC), str(Owner.current())
    elsewhere = "elsewhere/boot/ns/1/1"
    with database.transaction() as tx:
        daemons.beat(tx, elsewhere, "1.0", now - timedelta(minutes=3))
        daemons.beat(tx, "ancient/boot/ns/1/1", "0.9", now - timedelta(days=2))
        daemons.beat(tx, mine, "1.1", now - timedelta(minutes=1))
        daemons.beat(tx, mine, "1.1", now)
        found = [(one.host, one.pid, one.version, one.state, one.seen_at) for one in daemons.all(tx, now)]
        me, pid = mine.split("/", maxsplit=1)[0], mine.split("/")[3]
        silent = ("elsewhere", "1", "1.0", "silent", now - timedelta(minutes=3))
        assert [(me, pid, "1.1", "alive", now), silent] == found
        daemons.leave(tx, mine)
        assert ["silent"] == [one.state for one in daemons.all(tx, now)]
