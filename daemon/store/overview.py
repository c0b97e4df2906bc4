"""How the house stands, from the database alone: what `postroom status` and the service's status line show."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, literal_column, select

from daemon.store import holds
from daemon.store import outbox as rows
from daemon.store.schema import OUTBOX_STATUSES, accounts, messages, outbox, outbox_attempts, polls, relays


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLine:
    """A server that an account sends through, and that can't be used now."""

    relay: str
    failing_since: datetime
    failures: int
    paused_until: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One account, whether it is still set or not. messages: of it in the archive.  relays: those that fail."""

    name: str
    address: str
    messages: int
    last_success_at: datetime | None
    failing_since: datetime | None
    failures: int
    next_poll_at: datetime | None
    stopped_since: datetime | None
    last_error: str | None
    held_since: datetime | None
    held_reason: str | None
    lease_owner: str | None
    relay_last_success_at: datetime | None
    relay_failing_since: datetime | None
    relay_failures: int
    relay_paused_until: datetime | None
    relay_last_error: str | None
    relays: tuple[RelayLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything at one look.

    holds, held: legal holds, and the messages on them.  outbox: rows by status, in the order of a row's life.  oldest_due_at: None
    if nothing waits.  doubts_held: rows in doubt that asked to be held.  waiting: rows that wait, by account, "" for none.
    unindexed_since: when the oldest of those came.
    """

    messages: int
    octets: int
    unindexed: int
    unindexed_since: datetime | None
    with_defects: int
    holds: int
    held: int
    outbox: dict[str, int]
    oldest_due_at: datetime | None
    last_attempt_at: datetime | None
    doubts_held: int
    waiting: dict[str, int]
    accounts: tuple[AccountLine, ...]


def overview(conn: Connection, now: datetime) -> Overview:
    """Look at everything. oldest_due_at is given when it is over at `now`."""
    t = messages.c
    archived = {
        name: (int(count), int(octets))
        for name, count, octets in conn.execute(select(t.account, func.count(), func.sum(t.octets)).group_by(t.account))
    }
    unindexed, unindexed_since = conn.execute(
        select(func.count(), func.min(t.archived_at)).where(t.parser_version == 0)
    ).one()
    with_defects = conn.execute(
        select(func.count()).select_from(messages).where(t.defects != literal_column("'[]'"))
    ).scalar_one()
    counted, oldest, held = rows.counts(conn), rows.next_due(conn), holds.count(conn)
    names = [name for name in AccountLine.__dataclass_fields__ if name not in {"messages", "relays"}]
    failing: dict[str, list[RelayLine]] = defaultdict(list)
    r = relays.c
    for account, *rest in conn.execute(
        select(r.account, *[r[name] for name in RelayLine.__dataclass_fields__])
        .where(r.failing_since.is_not(None))
        .order_by(r.account, r.relay)
    ):
        failing[account].append(RelayLine(**dict(zip(RelayLine.__dataclass_fields__, rest, strict=True))))
    known = conn.execute(select(*[accounts.c[name] for name in names]).order_by(accounts.c.name))
    return Overview(
        messages=sum(count for count, _ in archived.values()),
        octets=sum(octets for _, octets in archived.values()),
        unindexed=int(unindexed),
        unindexed_since=unindexed_since,
        with_defects=int(with_defects),
        holds=held[0],
        held=held[1],
        outbox={status: counted[status] for status in OUTBOX_STATUSES if status in counted},
        oldest_due_at=oldest if oldest is not None and oldest <= now else None,
        last_attempt_at=_last_attempt_at(conn),
        doubts_held=_doubts_held(conn),
        waiting=_waiting(conn),
        accounts=tuple(
            AccountLine(**row._asdict(), messages=archived.get(row.name, (0, 0))[0], relays=tuple(failing[row.name]))
            for row in known
        ),
    )


def _waiting(conn: Connection) -> dict[str, int]:
    """Count the rows that wait, by account; "" for those that name none."""
    t = outbox.c
    query = select(func.coalesce(t.account, ""), func.count()).where(t.next_attempt_at.is_not(None))
    return {account: int(number) for account, number in conn.execute(query.group_by(t.account).order_by(t.account))}


def _doubts_held(conn: Connection) -> int:
    """Count the rows in doubt that asked to be held there."""
    held = (outbox.c.status == "in_doubt", outbox.c.on_doubt == "hold")
    return int(conn.execute(select(func.count()).where(*held)).scalar_one())


def _last_attempt_at(conn: Connection) -> datetime | None:
    """Tell when the newest attempt at any row began."""
    t = outbox_attempts.c
    found: datetime | None = conn.execute(select(t.started_at).order_by(t.id.desc()).limit(1)).scalar()
    return found


def totals(conn: Connection) -> dict[str, int]:
    """Count what ever was, what is deleted too: ids are given upwards, and never twice."""
    tables = {"messages": messages, "outbox_rows_inserted": outbox, "visits": polls, "attempts": outbox_attempts}
    return {
        what: int(conn.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one())
        for what, table in tables.items()
    }


def line(conn: Connection, now: datetime, names: Collection[str]) -> str:
    """Say it in one line, for `systemctl status`. names: of the accounts that are set; others may fail no more."""
    counted = rows.counts(conn)
    waiting = counted.get("queued", 0) + counted.get("deferred", 0)
    a = accounts.c
    failing = list(
        conn.execute(
            select(case((a.stopped_since.is_not(None), a.name + " (stopped)"), else_=a.name))
            .where(a.name.in_(names), a.failing_since.is_not(None) | a.relay_failing_since.is_not(None))
            .order_by(a.name)
        ).scalars()
    )
    last = conn.execute(select(func.max(a.last_success_at))).scalar()
    parts = [f"{conn.execute(select(func.count()).select_from(messages)).scalar_one()} messages", f"{waiting} to send"]
    if counted.get("in_doubt"):
        parts.append(f"{counted['in_doubt']} in doubt")
    if failing:
        parts.append(f"failing: {', '.join(failing)}")
    if last is not None:
        parts.append(f"last visit {max(0, int((now - last).total_seconds()))} s ago")
    return "; ".join(parts)
