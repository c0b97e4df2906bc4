"""How each server fares that an account sends through: its relay, and those that it falls back to; and the account as a whole.

A relay that fails is left alone until `paused_until`; the letter that is sent then is a probe, and its success closes the
case. An account is paused while all its relays are. All functions take the connection and never commit.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, literal, select, update

from daemon.store.dialect import statements
from daemon.store.schema import accounts, relays


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """failures: in a row.  paused_until: None if it may be used."""

    failures: int = 0
    paused_until: datetime | None = None


def standings(conn: Connection, account: str) -> dict[str, Standing]:
    """Give the standing of the account's relays that are known, by `host:port`."""
    t = relays.c
    found = conn.execute(select(t.relay, t.failures, t.paused_until).where(t.account == account))
    return {relay: Standing(failures=failures, paused_until=until) for relay, failures, until in found}


def paused_until(conn: Connection, account: str) -> datetime | None:
    """Give the time before which nothing is sent through the account, None if it is not paused."""
    query = select(accounts.c.relay_paused_until).where(accounts.c.name == account)
    found: datetime | None = conn.execute(query).scalar_one_or_none()
    return found


def last_error(conn: Connection, account: str) -> str | None:
    """Give why the account was paused last."""
    query = select(accounts.c.relay_last_error).where(accounts.c.name == account)
    found: str | None = conn.execute(query).scalar_one_or_none()
    return found


def succeeded(tx: Connection, account: str, relay: str, now: datetime) -> None:
    """Note a session that went well."""
    well = {"last_success_at": now, "failing_since": None, "paused_until": None, "failures": 0}
    made = statements.upsert(tx, relays).values(account=account, relay=relay, **well)
    tx.execute(made.on_conflict_do_update(index_elements=["account", "relay"], set_=well))
    whole = {f"relay_{name}": value for name, value in well.items()}
    tx.execute(update(accounts).where(accounts.c.name == account).values(**whole))


def failed(
    tx: Connection,
    account: str,
    relay: str,
    error: str,
    now: datetime,
    until: datetime,
    *,
    others: Collection[str] = (),
) -> datetime | None:
    """Note a relay that can't be used, and leave it alone until then; give when the account sends again, None: at once.

    others: the account's other relays; while one of them is not paused, the account is not.
    """
    t = relays.c
    made = statements.upsert(tx, relays).values(
        account=account, relay=relay, failing_since=now, failures=1, last_error=error, paused_until=until
    )
    again = {
        "failing_since": func.coalesce(t.failing_since, literal(now, t.failing_since.type)),
        "failures": t.failures + 1,
        "last_error": error,
        "paused_until": until,
    }
    tx.execute(made.on_conflict_do_update(index_elements=["account", "relay"], set_=again))
    known = standings(tx, account)
    pauses = [known[one].paused_until if one in known else None for one in (relay, *others)]
    waits = [one for one in pauses if one is not None and one > now]
    if len(waits) < len(pauses):
        return None
    a = accounts.c
    tx.execute(statements.insert_missing(tx, accounts), {"name": account})
    tx.execute(
        update(accounts)
        .where(a.name == account)
        .values(
            relay_failing_since=func.coalesce(a.relay_failing_since, literal(now, a.relay_failing_since.type)),
            relay_failures=a.relay_failures + 1,
            relay_last_error=error,
            relay_paused_until=min(waits),
        )
    )
    return min(waits)


def end_pauses(tx: Connection, account: str) -> None:
    """Let all relays of the account be tried at once; what failed stays counted."""
    tx.execute(update(relays).where(relays.c.account == account).values(paused_until=None))
    tx.execute(update(accounts).where(accounts.c.name == account).values(relay_paused_until=None))
