"""Real servers for the end-to-end tests, started once for all of them, and a house that uses them."""

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.real_house import House
from tests.servers import certificates as making
from tests.servers import child
from tests.servers import dovecot as dovecot_server
from tests.servers import exim as exim_server
from tests.servers import postfix as postfix_server
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.exim import Exim
from tests.servers.postfix import Postfix


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    directory = child.directory("certificates")
    yield making.make(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def dovecot(certificates: Certificates) -> Iterator[Dovecot]:
    child.need(dovecot_server.why_not())
    with Dovecot(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def postfix(certificates: Certificates, dovecot: Dovecot) -> Iterator[Postfix]:
    child.need(postfix_server.why_not())
    with Postfix(certificates, dovecot.auth_socket) as server:
        yield server


@pytest.fixture(scope="session")
def exim() -> Iterator[Exim]:
    child.need(exim_server.why_not())
    with Exim() as server:
        yield server


@pytest.fixture
def user(request: pytest.FixtureRequest, dovecot: Dovecot) -> Iterator[str]:
    """Name a maildrop that only this test uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:100]
    yield name
    dovecot.empty(name)


@pytest.fixture
def house(database_url: str, certificates: Certificates) -> Iterator[House]:
    """A house on a fresh database of either kind."""
    made = House(database_url, certificates.ca_file)
    yield made
    made.close()
