"""The daemons that work on this database: each says every half minute that it is there, and goes with a word.

A row of a process that is gone without one (killed, crashed, its machine lost) is what `status` shows as dead. All functions
take the connection and never commit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from daemon.store.dialect import statements
from daemon.store.lease import is_dead
from daemon.store.schema import daemons

SILENT_AFTER: Final = timedelta(minutes=2)  # four beats that did not come
FORGOTTEN_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonLine:
    """One daemon. owner: as leases name it.  state: alive, silent (it has not been heard of for two minutes) or dead."""

    owner: str
    version: str
    started_at: datetime
    seen_at: datetime
    degraded: str
    state: str

    @property
    def host(self) -> str:
        """The machine that it runs on."""
        return self.owner.split("/")[0]

    @property
    def pid(self) -> str:
        """Its process number there."""
        return self.owner.split("/")[3] if self.owner.count("/") == 4 else "?"


def beat(tx: Connection, owner: str, version: str, now: datetime, degraded: str = "") -> None:
    """Say that this daemon is there; what has been gone for a day is forgotten. degraded: by what, "" for by nothing."""
    stmt = statements.upsert(tx, daemons)
    stmt = stmt.on_conflict_do_update(
        index_elements=["owner"], set_={name: stmt.excluded[name] for name in ("seen_at", "version", "degraded")}
    )
    tx.execute(stmt, {"owner": owner, "version": version, "started_at": now, "seen_at": now, "degraded": degraded})
    tx.execute(delete(daemons).where(daemons.c.owner != owner, daemons.c.seen_at < now - FORGOTTEN_AFTER))


def leave(tx: Connection, owner: str) -> None:
    """Say that this daemon stops in order."""
    tx.execute(delete(daemons).where(daemons.c.owner == owner))


def all(conn: Connection, now: datetime) -> list[DaemonLine]:  # noqa: A001 -- reads `daemons.all(conn, now)`
    """Give every daemon that was heard of lately, the newest first."""
    found = []
    for row in conn.execute(select(daemons).order_by(daemons.c.started_at.desc(), daemons.c.owner)):
        state = "dead" if is_dead(row.owner) else "silent" if now - row.seen_at > SILENT_AFTER else "alive"
        found.append(DaemonLine(**row._asdict(), state=state))
    return found
