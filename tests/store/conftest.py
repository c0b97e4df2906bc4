from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from daemon.store import archive
from daemon.store.database import Database
from daemon.wire.spool import Spool

# After every default of the databases' own clocks, however long the suite runs.
NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)

Add = Callable[..., list[archive.Filed]]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def add(database: Database) -> Add:
    """Archive octets under UIDLs u0, u1, … in one transaction."""

    def add(*contents: bytes, account: str = "home", start: int = 0, at: datetime = NOW) -> list[archive.Filed]:
        incoming = [
            archive.Incoming(uidl=f"u{n}", occurrence=0, entry_octets=len(content), spool=Spool.of(content))
            for n, content in enumerate(contents, start=start)
        ]
        with database.transaction() as tx:
            return archive.add(tx, account, incoming, at)

    return add
