"""The accounts as the database knows them: who visits each, how its servers fare, when to come back; and the visits.

What an account is (servers, passwords, schedule) stands in the settings, never here. A row is made when it is first needed.
All functions take the connection and never commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, literal, null, select, update

from daemon.store.dialect import statements
from daemon.store.dialect.prepared import Prepared
from daemon.store.lease import is_dead
from daemon.store.schema import accounts, polls

POLLS_A_SWEEP: Final = 1000  # visits that are forgotten at once: some milliseconds
INTERRUPTED: Final = "the process that made this visit ended before it was done; the next visit goes on from there"


def register(tx: Connection, rows: Sequence[tuple[str, str]]) -> None:
    """Make (name, address) known; what is known of them stays, accounts that are no longer set too."""
    if not rows:
        return
    stmt = statements.upsert(tx, accounts)
    stmt = stmt.on_conflict_do_update(index_elements=["name"], set_={"address": stmt.excluded.address})
    tx.execute(stmt, [{"name": name, "address": address} for name, address in rows])


def note(tx: Connection, name: str) -> None:
    """Make a name known under which somebody archives, whether it is set or not; what is known of it stays."""
    tx.execute(statements.insert_missing(tx, accounts), {"name": name})


def all(conn: Connection) -> list[Row[Any]]:  # noqa: A001 -- reads `accounts.all(conn)`
    """Give every row, by name."""
    return list(conn.execute(select(accounts).order_by(accounts.c.name)))


_ACCOUNT: Final = accounts.c.name == bindparam("account")
_HOLDER: Final = Prepared(
    lambda tx: statements.for_update(tx, select(accounts.c.lease_owner, accounts.c.lease_until).where(_ACCOUNT))
)
_CAPABILITIES: Final = Prepared(lambda _: select(accounts.c.capabilities).where(_ACCOUNT))
_RELEASE: Final = Prepared(
    lambda _: (
        update(accounts)
        .where(_ACCOUNT, accounts.c.lease_owner == bindparam("owner"))
        .values(lease_owner=null(), lease_until=null())
    )
)
_BEGIN_POLL: Final = Prepared(
    lambda _: (
        insert(polls)
        .values({name: bindparam(name) for name in ("account", "session", "owner", "started_at", "outcome")})
        .returning(polls.c.id)
    )
)


def _set(tx: Connection, name: str, **values: Any) -> None:
    if not statements.assign(tx, accounts.c.name, name, values):
        tx.execute(statements.insert_missing(tx, accounts), {"name": name})
        statements.assign(tx, accounts.c.name, name, values)


# --- leases ---------------------------------------------------------------------------------------------------------


def lease(tx: Connection, name: str, owner: str, now: datetime, duration: timedelta) -> bool:
    """Take the account for one process; False while another living one has it."""
    found = _HOLDER.first(tx, account=name)
    if found is None:
        tx.execute(statements.insert_missing(tx, accounts), {"name": name})
        found = _HOLDER.first(tx, account=name)
    holder, until = found or (None, None)
    if holder not in {None, owner} and until is not None and until > now and not is_dead(holder):
        return False
    _set(tx, name, lease_owner=owner, lease_until=now + duration)
    return True


def renew(tx: Connection, name: str, owner: str, now: datetime, duration: timedelta) -> bool:
    """Keep the account for longer; False if another process has taken it."""
    t = accounts.c
    done = tx.execute(update(accounts).where(t.name == name, t.lease_owner == owner).values(lease_until=now + duration))
    return done.rowcount == 1


def release(tx: Connection, name: str, owner: str) -> None:
    """Give the account back, if it is still ours."""
    _RELEASE.run(tx, account=name, owner=owner)


# --- how the maildrop fares -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides when a maildrop is visited again.

    failures: visits in a row that failed.  refusals: of the login, without a success in between.  next_poll_at: no visit
    before it; None if nothing fails.  stopped_since, stopped_settings: see `stop`.  login_delay: seconds between two logins.
    """

    failures: int = 0
    refusals: int = 0
    next_poll_at: datetime | None = None
    stopped_since: datetime | None = None
    stopped_settings: str | None = None
    last_login_at: datetime | None = None
    login_delay: int | None = None

    @property
    def login_not_before(self) -> datetime | None:
        """Give the time from which the server takes another login, None if it does not care."""
        if self.last_login_at is None or not self.login_delay:
            return None
        return self.last_login_at + timedelta(seconds=self.login_delay)


_STANDING: Final = Prepared(
    lambda _: select(*(accounts.c[one] for one in Standing.__dataclass_fields__)).where(_ACCOUNT)
)


def standing(conn: Connection, name: str) -> Standing:
    """Give how an account stands; one that nobody knows stands well."""
    row = _STANDING.first(conn, account=name)
    return Standing() if row is None else Standing(**dict(zip(Standing.__dataclass_fields__, row, strict=True)))


def due(conn: Connection, now: datetime) -> list[tuple[str, datetime | None]]:
    """Name the accounts to look at beside their regular visits: back-off over, with its time, or stopped, with None."""
    t = accounts.c
    is_over = t.stopped_since.is_(None) & (t.next_poll_at <= now)
    query = select(t.name, t.next_poll_at, t.stopped_since).where(is_over | t.stopped_since.is_not(None))
    return [(name, None if stopped else at) for name, at, stopped in conn.execute(query)]


def logged_in(tx: Connection, name: str, at: datetime, login_delay: int | None) -> None:
    """Note a login, and how many seconds the server wants before the next one; None where it does not care."""
    _set(tx, name, last_login_at=at, login_delay=login_delay)


def succeeded(tx: Connection, name: str, now: datetime) -> None:
    """Note a visit that went well: all failing ends; the last error of an earlier one stays to be read."""
    ended = {"failing_since": None, "next_poll_at": None, "stopped_since": None, "stopped_settings": None}
    _set(tx, name, last_success_at=now, failures=0, refusals=0, **ended)


def stop(tx: Connection, name: str, settings: str, now: datetime) -> None:
    """Visit no more, until `resume` or a success. settings: what they are like now, in a form that gives no secret away."""
    t = accounts.c
    _set(
        tx,
        name,
        stopped_since=func.coalesce(t.stopped_since, _moment(now)),
        stopped_settings=settings,
        next_poll_at=None,
    )


def resume(tx: Connection, name: str, now: datetime) -> None:
    """End a stop or a back-off: a visit is due at `now`. What failed stays counted, refusals count anew."""
    _set(tx, name, stopped_since=None, stopped_settings=None, next_poll_at=now, refusals=0)


def failed(
    tx: Connection,
    name: str,
    error: str,
    now: datetime,
    next_poll_at: datetime | None,
    *,
    is_failing: bool = True,
    is_refused: bool = False,
) -> None:
    """Note a visit that did not go well, and when to come back.

    is_failing: False for what is no fault yet (another client was there first).  is_refused: it was the login.
    """
    t = accounts.c
    _set(
        tx,
        name,
        failing_since=func.coalesce(t.failing_since, _moment(now)) if is_failing else t.failing_since,
        failures=t.failures + 1,
        refusals=t.refusals + int(is_refused),
        last_error=error,
        next_poll_at=next_poll_at,
    )


# --- what is remembered of its servers ------------------------------------------------------------------------------


def capabilities(conn: Connection, name: str) -> str | None:
    """Give what a visit left to be remembered of the server, None for nothing."""
    found = _CAPABILITIES.first(conn, account=name)
    return None if found is None else found[0]


def remember(tx: Connection, name: str, text: str | None) -> None:
    """Keep it for the next visit; None forgets."""
    _set(tx, name, capabilities=text)


def end_pauses(tx: Connection, name: str) -> None:
    """Let the maildrop be tried at once; what failed stays counted, and what is stopped stays stopped."""
    _set(tx, name, next_poll_at=None)


def _moment(now: datetime) -> Any:
    """Bind a time as the column that it stands beside."""
    return literal(now, accounts.c.failing_since.type)


# --- visits ---------------------------------------------------------------------------------------------------------


def begin_poll(tx: Connection, name: str, session: str, owner: str, now: datetime) -> int:
    """Write down that a visit has begun; give its id."""
    ((key,),) = _BEGIN_POLL.rows(tx, account=name, session=session, owner=owner, started_at=now, outcome="running")
    return int(key)


def end_poll(
    tx: Connection,
    poll: int,
    *,
    now: datetime,
    outcome: str,
    listed: int = 0,
    fetched: int = 0,
    octets: int = 0,
    skipped: int = 0,
    dele_sent: int = 0,
    deleted: int = 0,
    error: str | None = None,
    transcript: str | None = None,
) -> None:
    """Write down how a visit ended. outcome: ok or failed.  transcript: redacted, of a session that failed."""
    values = {
        "finished_at": now,
        "outcome": outcome,
        "listed": listed,
        "fetched": fetched,
        "octets": octets,
        "skipped": skipped,
        "dele_sent": dele_sent,
        "deleted": deleted,
        "error": error,
        "transcript": transcript,
    }
    statements.assign(tx, polls.c.id, poll, values)


def interrupt_orphans(tx: Connection, now: datetime) -> int:
    """End the visits whose process is gone, and free their accounts; give their number.

    A process of another host is gone once it no longer holds the account's lease.
    """
    t, a = polls.c, accounts.c
    query = (
        select(t.id, t.account, t.owner, a.lease_owner, a.lease_until)
        .join_from(polls, accounts, a.name == t.account, isouter=True)
        .where(t.outcome == "running")
    )
    ended = 0
    for key, account, owner, holder, until in tx.execute(query).all():
        held = holder == owner and until is not None and until > now
        dead = is_dead(owner)
        if held and not dead:
            continue
        end_poll(tx, key, now=now, outcome="interrupted", error=INTERRUPTED)
        if dead:
            release(tx, account, owner)
        ended += 1
    return ended


def recent_polls(conn: Connection, limit: int, account: str | None = None) -> list[Row[Any]]:
    """Give the last visits, the newest first."""
    query = select(polls).order_by(polls.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(polls.c.account == account)
    return list(conn.execute(query))


def forget_polls(tx: Connection, before: datetime) -> int:
    """Delete visits that began before that time, some at most, the oldest first; give their number. What runs stays."""
    t = polls.c
    first = tx.execute(select(func.min(t.id))).scalar()
    if first is None:
        return 0
    old = and_(t.id < first + POLLS_A_SWEEP, t.started_at < before, t.outcome != "running")
    return tx.execute(delete(polls).where(old)).rowcount
