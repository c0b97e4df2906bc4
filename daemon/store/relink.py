"""What the ledger and the accounts need when a server changes its UIDLs: rows that move to new names, and holds.

All functions take the connection and never commit. Twenty thousand rows move in a few statements.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, String, bindparam, case, cast, func, literal, select, update

from daemon.store import ledger as rows_of
from daemon.store.dialect import statements
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import accounts, ledger

IDS_A_STATEMENT: Final = 500  # parameters of one IN list, so that few different statements are compiled
MOVING: Final = "moving:"  # begins the name that a row has within the transaction only


class Standing(NamedTuple):
    """How an account stands with its maildrop. Times are aware UTC; None: it is not held, nothing was accepted."""

    held_since: datetime | None
    held_reason: str | None
    accepted_at: datetime | None


class Move(NamedTuple):
    """A row and the name under which its message is listed now."""

    ledger: int
    uidl: str
    occurrence: int


# --- holds ----------------------------------------------------------------------------------------------------------


_STANDING: Final = Prepared(
    lambda _: select(accounts.c.held_since, accounts.c.held_reason, accounts.c.accepted_at).where(
        accounts.c.name == bindparam("account")
    )
)


def standing(conn: Connection, account: str) -> Standing:
    """Tell whether an account is held, and whether the operator accepted what is there."""
    row = _STANDING.first(conn, account=account)
    return Standing(*row) if row is not None else Standing(None, None, None)


def hold(tx: Connection, account: str, reason: str, now: datetime) -> None:
    """Hold an account; one that is held already stays held since then, with the newer reason."""
    t = accounts.c
    since = func.coalesce(t.held_since, literal(now, t.held_since.type))
    tx.execute(update(accounts).where(t.name == account).values(held_since=since, held_reason=reason))


def release(tx: Connection, account: str) -> None:
    """End a hold; an acceptance is used up."""
    values = {"held_since": None, "held_reason": None, "accepted_at": None}
    tx.execute(update(accounts).where(accounts.c.name == account).values(values))


def accept(tx: Connection, account: str, now: datetime) -> None:
    """End a hold by the operator's word: the next visit, due at once, takes what is there."""
    values = {"held_since": None, "held_reason": None, "accepted_at": now, "next_poll_at": None}
    tx.execute(update(accounts).where(accounts.c.name == account).values(values))


# --- rows -----------------------------------------------------------------------------------------------------------


def undecided(conn: Connection, account: str) -> set[int]:
    """Give the ids of rows whose DELE was sent and whose QUIT was not answered: their messages may be there or not."""
    t = ledger.c
    query = select(t.id).where(t.account == account, t.dele_sent_at.is_not(None), t.deleted_at.is_(None))
    return set(conn.execute(query).scalars())


def move(tx: Connection, account: str, moves: Sequence[Move], now: datetime) -> None:
    """Give rows the names under which their messages are listed now; first_seen_at stays, nothing is stored.

    The status stays too, but what was gone or deleted is there again, archived.

    The new names may be old names of other rows: of rows that move too, or of rows that stay and make room, by an
    occurrence that no listing uses.
    """
    if not moves:
        return
    t, ids = ledger.c, [one.ledger for one in moves]
    # The names make way first, lest a row takes one that another still has.
    day = f"{now:%Y-%m-%d}"
    for start in range(0, len(ids), IDS_A_STATEMENT):
        tx.execute(
            update(ledger)
            .where(t.id.in_(ids[start : start + IDS_A_STATEMENT]))
            .values(
                uidl=literal(MOVING) + cast(t.id, String),
                reason=literal(f"the server changed its UIDLs on {day}; was ") + t.uidl,
                last_seen_at=now,
                dele_sent_at=None,
                deleted_at=None,
                status=case((t.status.in_(["gone", "deleted"]), "archived"), else_=t.status),
            )
        )
    _make_room(tx, account, moves)
    rename = update(ledger).where(t.id == bindparam("key"))
    tx.execute(
        rename.values(uidl=bindparam("to_uidl"), occurrence=bindparam("to_occurrence")),
        [{"key": one.ledger, "to_uidl": one.uidl, "to_occurrence": one.occurrence} for one in moves],
    )


def _make_room(tx: Connection, account: str, moves: Sequence[Move]) -> None:
    """Move rows that have a wanted name to a free occurrence of it."""
    t, wanted = ledger.c, {(one.uidl, one.occurrence) for one in moves}
    in_the_way = rows_of.ids_of(tx, account, sorted(wanted))
    if not in_the_way:
        return
    free: defaultdict[str, int] = defaultdict(int)
    for uidl, occurrence in wanted:
        free[uidl] = max(free[uidl], occurrence + 1)
    uidls = sorted({uidl for uidl, _ in in_the_way})
    for start in range(0, len(uidls), IDS_A_STATEMENT):
        part = statements.uidl_in(tx, uidls[start : start + IDS_A_STATEMENT])
        query = select(t.uidl, func.max(t.occurrence)).where(t.account == account, part).group_by(t.uidl)
        for uidl, most in tx.execute(query):
            free[uidl] = max(free[uidl], most + 1)
    values: list[dict[str, Any]] = []
    for (uidl, _occurrence), key in in_the_way.items():
        values.append({"key": key, "to_occurrence": free[uidl]})
        free[uidl] += 1
    tx.execute(update(ledger).where(t.id == bindparam("key")).values(occurrence=bindparam("to_occurrence")), values)
