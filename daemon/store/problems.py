"""What is wrong with the house, and what to do about it: derived from what the database knows. Pure.

A problem either heals by itself (a server that is down, a full disk that somebody is emptying), or waits for a person. Each says
since when, why in the words of whoever refused, and the command or the place where it is mended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from daemon.store.daemons import DaemonLine
from daemon.store.overview import AccountLine, Overview

LATE_AFTER: Final = timedelta(minutes=5)  # rows leave within a second, and are indexed within seconds
LOW_OCTETS: Final = 1_073_741_824  # of free room: a large maildrop comes in one visit
NO_OCTETS: Final = 104_857_600
SKEW: Final = timedelta(minutes=5)  # a clock that was set back; budgets, leases and schedules count on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    what: daemon, database, disk, clock, fetch, send, outbox or index.  account: whose, where it is one's.  needs_person: it does not
    heal by itself.  why, advice: a sentence each.
    """

    what: str
    why: str
    advice: str
    needs_person: bool
    account: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is seen of an SQLite file from outside. free_octets: of its disk; None where it can't be known."""

    free_octets: int | None = None
    is_held: bool = False


def problems(
    seen: Overview,
    running: Sequence[DaemonLine],
    now: datetime,
    *,
    room: Room = Room(),
    senders: Sequence[str] | None = None,
) -> list[Problem]:
    """Give all that is wrong, what needs a person first.

    senders: the accounts that may send, where settings tell.
    """  # fmt: skip
    found = [
        *_of_daemons(seen, running, now),
        *_of_room(room),
        *_of_outbox(seen, now, senders),
        *_of_index(seen, now),
    ]
    for one in seen.accounts:
        found += [*_of_fetching(one), *_of_sending(one)]
    return sorted(found, key=lambda problem: not problem.needs_person)


def _of_daemons(seen: Overview, running: Sequence[DaemonLine], now: datetime) -> Iterator[Problem]:
    if any(one.state == "alive" for one in running):
        if degraded := ", ".join(sorted({one.degraded for one in running if one.state == "alive" and one.degraded})):
            yield Problem(
                what="daemon",
                why=f"the daemon can't do all of its work: {degraded}",
                advice="it goes on by itself when that is over; systemctl status postroom has the details",
                needs_person=False,
            )
        if ahead := max((one.seen_at for one in running if one.seen_at > now + SKEW), default=None):
            yield Problem(
                what="clock",
                why=f"the daemon was heard of at {ahead:%Y-%m-%d %H:%M} UTC, which is yet to come",
                advice="set the clock of this machine or the daemon's (NTP), then restart the daemon",
                needs_person=True,
            )
        return
    for one in running:
        gone = "is dead" if one.state == "dead" else "has not been heard of"
        yield Problem(
            what="daemon",
            why=f"the daemon of process {one.pid} on {one.host} {gone}",
            advice="systemctl status postroom; journalctl -u postroom",
            needs_person=True,
            since=one.seen_at,
        )
    if not running and seen.oldest_due_at is not None and now - seen.oldest_due_at > LATE_AFTER:
        yield Problem(
            what="daemon",
            why="no daemon runs, and rows wait",
            advice="systemctl start postroom, or `postroom send`",
            needs_person=True,
            since=seen.oldest_due_at,
        )


def _of_room(room: Room) -> Iterator[Problem]:
    if room.is_held:
        yield Problem(
            what="database",
            why="another program holds the database's write lock",
            advice="end its transaction: `fuser -v` on the file names who has it open",
            needs_person=True,
        )
    free_octets = room.free_octets
    if free_octets is not None and free_octets < LOW_OCTETS:
        yield Problem(
            what="disk",
            why=f"{free_octets / 1_048_576:,.0f} MiB are free where the database lies",
            advice="make room; what is archived is safe, nothing is deleted on a server meanwhile",
            needs_person=free_octets < NO_OCTETS,
        )


def _of_outbox(seen: Overview, now: datetime, senders: Sequence[str] | None) -> Iterator[Problem]:
    if seen.doubts_held:
        yield Problem(
            what="outbox",
            why=f"{seen.doubts_held} in doubt, and asked to be held there: the relay may have them or not",
            advice="`postroom outbox list --status in_doubt`, then `outbox retry ID` or `outbox cancel ID`",
            needs_person=True,
        )
    if senders is not None:
        for account, rows in seen.waiting.items():
            if account not in senders and (account or not senders):  # one without is given to an account that sends
                yield Problem(
                    what="outbox",
                    why=f"{rows} wait for an account that sends nothing" if account else f"{rows} wait, and no account sends",
                    advice="give the account an SMTP__HOST, or the rows another account",
                    needs_person=True,
                    account=account or None,
                )  # fmt: skip
    failing = {one.name for one in seen.accounts if one.relay_failing_since is not None}
    late = seen.oldest_due_at is not None and now - seen.oldest_due_at > LATE_AFTER
    goes_on = seen.last_attempt_at is not None and now - seen.last_attempt_at < LATE_AFTER  # there are just many
    if late and not failing and not goes_on:
        yield Problem(
            what="outbox",
            why="rows are due and do not leave",
            advice="`postroom outbox list --status queued`; a BUDGET that is used up says so in last_error",
            needs_person=False,
            since=seen.oldest_due_at,
        )


def _of_index(seen: Overview, now: datetime) -> Iterator[Problem]:
    if seen.unindexed_since is not None and now - seen.unindexed_since > LATE_AFTER:
        yield Problem(
            what="index",
            why=f"{seen.unindexed} messages are archived and can't be searched yet",
            advice="`postroom db reindex` shows how it goes; the log says why it stopped",
            needs_person=False,
            since=seen.unindexed_since,
        )


def _of_fetching(one: AccountLine) -> Iterator[Problem]:
    why = one.last_error or "no reason given"
    if one.stopped_since is not None:
        yield Problem(
            what="fetch",
            account=one.name,
            since=one.stopped_since,
            why=why,
            advice=f"mend the settings or the password, or `postroom retry {one.name}`; try with `postroom check {one.name}`",
            needs_person=True,
        )
    elif one.held_since is not None:
        yield Problem(
            what="fetch",
            account=one.name,
            since=one.held_since,
            why=one.held_reason or "held",
            advice=f"`postroom maildrop list {one.name}`; if it is right, `postroom maildrop accept {one.name}`",
            needs_person=True,
        )
    elif one.failing_since is not None:
        yield Problem(
            what="fetch",
            account=one.name,
            since=one.failing_since,
            why=why,
            advice=f"tried again by itself; `postroom check {one.name}` tries now",
            needs_person=False,
        )


def _of_sending(one: AccountLine) -> Iterator[Problem]:
    if one.relay_failing_since is not None:
        yield Problem(
            what="send",
            account=one.name,
            since=one.relay_failing_since,
            why=one.relay_last_error or "no reason given",
            advice=f"tried again by itself, at once with `postroom retry {one.name}`; `postroom check {one.name}` tries without sending",
            needs_person=False,
        )
        return
    for relay in one.relays:
        yield Problem(
            what="send",
            account=one.name,
            since=relay.failing_since,
            why=f"{relay.relay}, for which another stands in: {relay.last_error or 'no reason given'}",
            advice=f"`postroom check {one.name}`",
            needs_person=False,
        )
