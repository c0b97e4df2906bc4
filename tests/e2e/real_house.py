"""A house with one account, `home`, on real servers: set up by variables as an operator would, visited by app's own functions."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from sqlalchemy import RowMapping, text

from daemon import app, settings
from daemon.jobs import drain, poll, visit
from daemon.store import sources
from daemon.store.database import Database
from tests.secrets_used import PASSWORD

PREFIX: Final = "POSTROOM_ACCOUNTS__HOME__"


class House:
    """Settings that can be changed between visits, and the database they share."""

    def __init__(self, database_url: str, ca_file: Path) -> None:
        """`ca_file`: of the authority that signed the servers' certificates."""
        self._environment = {
            "POSTROOM_DATABASE_URL": database_url,
            "POSTROOM_TRACE": "all",
            f"{PREFIX}ADDRESS": "anna@example.org",
        }
        self._ca_file = ca_file
        self._database: Database | None = None

    def with_pop3(self, user: str, port: int, security: str, **more: str) -> Self:
        """Point the account at a maildrop; words like delete="after_fetch" are further settings."""
        return self._set("POP3", port, security, **{"username": user, "password": PASSWORD, **more})

    def with_smtp(self, port: int, security: str, **more: str) -> Self:
        """Point the account at a relay."""
        return self._set("SMTP", port, security, **more)

    def _set(self, kind: str, port: int, security: str, **more: str) -> Self:
        values = {"host": "localhost", "port": str(port), "security": security, "ca_file": str(self._ca_file), **more}
        self._environment |= {f"{PREFIX}{kind}__{name.upper()}": value for name, value in values.items()}
        return self

    @property
    def settings(self) -> settings.Settings:
        """What the variables say now."""
        return settings.load(self._environment, dotenv=None)

    @property
    def environment(self) -> dict[str, str]:
        """The variables, for a process of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        return kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | self._environment

    @property
    def database(self) -> Database:
        """Opened, and made, at first use."""
        if self._database is None:
            self._database = app.open_database(self.settings)
        return self._database

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.dispose()

    # --- visits -----------------------------------------------------------------------------------------------------

    def fetch(self, *, later: timedelta = timedelta()) -> visit.Result:
        """Visit the maildrop once; `later` than now by that much."""
        context = app.context_of(self.settings, self.database)
        return poll.poll(self.settings.accounts["home"], replace(context, clock=lambda: context.clock() + later))

    def send(self) -> list[drain.Result]:
        """Send everything that is due."""
        return app.send(self.settings, self.database)

    # --- what is there ----------------------------------------------------------------------------------------------

    def rows(self, statement: str, **values: object) -> Sequence[RowMapping]:
        """Run a query."""
        with self.database.reading() as conn:
            return conn.execute(text(statement), values).mappings().all()

    def change(self, statement: str, **values: object) -> list[RowMapping]:
        """Run a statement as any program would; what it returns, if it returns rows."""
        with self.database.transaction() as tx:
            result = tx.execute(text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def sources(self) -> list[bytes]:
        """The octets of all archived messages."""
        ids = [row["id"] for row in self.rows("SELECT id FROM messages ORDER BY id")]
        with self.database.reading() as conn:
            return [sources.whole(conn, one) for one in ids]

    def digests(self) -> Counter[str]:
        """SHA-256 of what is archived, computed here, not taken from the column."""
        return digests(self.sources())


def digests(messages: Sequence[bytes]) -> Counter[str]:
    """Count the SHA-256 of each message."""
    return Counter(hashlib.sha256(octets).hexdigest() for octets in messages)
