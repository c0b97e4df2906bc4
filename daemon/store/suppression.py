"""Addresses that are never sent to: put here by hand, or by a bounce that says there is no such mailbox.

An address is known in whatever way it is spelled (`address.folded`). All functions take the connection and never commit.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, select

from daemon.mail import address as addresses
from daemon.store.dialect import statements, texts
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import suppressions

# What says that the mailbox is not there, now and tomorrow (RFC 3463, RFC 7505). Not 5.2.2 (it is full), not 5.7.x (it does not
# want us), not 5.4.x (the way there), not 5.0.0: all of these end.
HARD: Final = {
    "5.1.1": "no such mailbox",
    "5.1.2": "no such domain",
    "5.1.3": "not an address",
    "5.1.6": "the mailbox has moved",
    "5.1.10": "the domain takes no mail",
    "5.2.1": "the mailbox is disabled",
}

_T: Final = suppressions.c
_THOSE: Final = Prepared(
    lambda conn: select(_T.address, _T.reason).where(statements.among_given(conn, _T.address, "addresses"))
)


def add(
    tx: Connection,
    given: Iterable[str],
    *,
    now: datetime,
    reason: str = "",
    by: Literal["hand", "bounce"] = "hand",
    report: int | None = None,
) -> list[str]:
    """Suppress addresses; give those that were not yet, as they are kept. report: the message that said so."""
    wanted = dict.fromkeys(map(addresses.folded, given))
    there = _present(tx, list(wanted))
    new = [one for one in wanted if one not in there]
    fixed: dict[str, Any] = {
        "reason": texts.storable(reason),
        "suppressed_by": by,
        "added_at": now,
        "report": report,
    }
    if new:
        tx.execute(statements.insert_missing(tx, suppressions), [{"address": one, **fixed} for one in new])
    return new


def remove(tx: Connection, given: Iterable[str]) -> list[str]:
    """Let addresses be sent to again; give those that were suppressed, as they were kept."""
    found = sorted(_present(tx, list(dict.fromkeys(map(addresses.folded, given)))))
    tx.execute(delete(suppressions).where(suppressions.c.address.in_(found)))
    return found


def listing(conn: Connection) -> list[Row[Any]]:
    """Give all rows, the newest first."""
    t = suppressions.c
    return list(conn.execute(select(suppressions).order_by(t.added_at.desc(), t.address)))


def among(conn: Connection, given: Sequence[str]) -> dict[str, str]:
    """Give those of some addresses that are suppressed, as they are spelled there, each with the reason."""
    folded = {one: addresses.folded(one) for one in given}
    there = _present(conn, list(dict.fromkeys(folded.values())))
    return {one: there[identity] for one, identity in folded.items() if identity in there}


def _present(conn: Connection, folded: Sequence[str]) -> dict[str, str]:
    return dict(iter(_THOSE.rows(conn, addresses=statements.listed(conn, folded)))) if folded else {}
