"""A house on loopback for tests: accounts that point at the demo servers, and a context that works on a test database."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.jobs.connections import Connections
from daemon.jobs.context import Context
from daemon.mail.account import Account, DeletePolicy, Pop3, Smtp
from daemon.retry import Backoff
from daemon.store import accounts
from daemon.store.database import Database
from daemon.store.lease import Owner
from daemon.wire.secret import Secret, SecretSource
from daemon.wire.stream import Endpoint, Security
from tests.secrets_used import PASSWORD

CONNECTIONS: list[Connections] = []  # of all contexts of one test; the suite closes them behind it
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NEVER = DeletePolicy(kind="never")
AFTER_FETCH = DeletePolicy(kind="after_fetch")
BACKOFF = Backoff(first=timedelta(minutes=1), longest=timedelta(hours=4))


def password(value: str = PASSWORD) -> SecretSource:
    """Give the password as a setting would."""
    return SecretSource(value=Secret(value), file=None, command=None)


def endpoint(port: int, *, timeout_seconds: float = 5.0) -> Endpoint:
    """Point at a plaintext port on loopback."""
    return Endpoint(host="127.0.0.1", port=port, security=Security.PLAINTEXT, timeout_seconds=timeout_seconds)


def fetching(
    port: int, *, name: str = "home", secret: str = PASSWORD, timeout_seconds: float = 5.0, **pop3: Any
) -> Account:
    """Make an account that fetches anna's mail from a loopback port."""
    return Account(
        name=name,
        address="anna@example.org",
        pop3=Pop3(
            endpoint=endpoint(port, timeout_seconds=timeout_seconds), username="anna", password=password(secret), **pop3
        ),
    )


def sending(port: int, *, name: str = "home", address: str = "anna@example.org", login: bool = False) -> Account:
    """Make an account that sends through a loopback port."""
    credentials: dict[str, Any] = {"username": "anna", "password": password()} if login else {}
    return Account(name=name, address=address, smtp=Smtp(endpoint=endpoint(port), **credentials))


def real_monotonic() -> float:
    """Give the machine's own clock, for what has to wait in earnest."""
    return time.monotonic()


class Clock:
    """A wall clock that stands still until told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **wait: float) -> None:
        """Let time pass, in timedelta's words."""
        self.now += timedelta(**wait)


def context(database: Database, clock: Clock, **changes: Any) -> Context:
    """Give jobs their surroundings: the middle of every jitter, a clock that stands still, two accounts known."""
    with database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org"), ("work", "anna@work.example")])
    known: dict[str, Any] = {"owner": str(Owner.current()), "backoff": BACKOFF, "jitter": lambda: 0.5, "clock": clock}
    made = Context(database=database, **(known | changes))
    CONNECTIONS.append(made.connections)
    return made
