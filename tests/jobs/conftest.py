from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs.context import Context
from daemon.store.database import Database
from tests.doubles import house
from tests.secrets_used import PASSWORD


@pytest.fixture
def clock() -> house.Clock:
    """A clock just ahead of the database's own, which dates the rows that tests drop."""
    return house.Clock(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10))


@pytest.fixture
def context(database: Database, clock: house.Clock) -> Context:
    return house.context(database, clock)


@pytest.fixture
def pop3_server() -> Iterator[Pop3Server]:
    with Pop3Server({"anna": []}, PASSWORD) as server:
        yield server


@pytest.fixture
def maildrop(pop3_server: Pop3Server) -> Maildrop:
    return pop3_server.maildrop("anna")


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server
