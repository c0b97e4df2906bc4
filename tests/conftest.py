"""What tests share: a clean environment, and a migrated database of each kind.

`POSTROOM_REQUIRE_SERVERS=1` turns "skipped, the server's binary is missing" into a failure; the build machine sets it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from daemon import trace
from daemon.store import upgrade
from daemon.store.database import Database
from tests import suite_log
from tests.doubles import house
from tests.servers import cleared, postgres

# Read before the environment is cleaned for the tests.
REQUIRE_SERVERS = os.environ.get("POSTROOM_REQUIRE_SERVERS") == "1"


def require_server(name: str, *, present: bool) -> None:
    """Skip a test whose server is not on this machine, or fail it where all servers must be there."""
    if present:
        return
    if REQUIRE_SERVERS:
        pytest.fail(f"{name} is not installed, and POSTROOM_REQUIRE_SERVERS=1 wants it")
    pytest.skip(f"{name} is not installed")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is set for a real house on this machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("POSTROOM_"):
            monkeypatch.delenv(name)


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _suite_log() -> TextIO:
    """One file for every event of this process, searched for the test passwords at the end."""
    return suite_log.begin()


@pytest.fixture(autouse=True)
def _traced(_suite_log: TextIO) -> None:
    """Everything is traced in every test, whatever a test before it has configured."""
    trace.configure(log_format="json", level="debug", stream=_suite_log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test wrote to its output."""
    for _title, content in report.sections:
        suite_log.keep(content)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a password was said in it; workers (of pytest-xdist) have ended before the one that started them."""
    suite_log.end()
    if hasattr(session.config, "workerinput"):
        return
    found = suite_log.leaks()
    suite_log.remove()
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        terminal: pytest.TerminalReporter = session.config.pluginmanager.getplugin("terminalreporter")
        terminal.write_line(f"\nFAILED: a test password is in {', '.join(found)}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that reads the logs of all others comes last, however the rest is shuffled."""
    items.sort(key=lambda item: item.path.name == "test_no_secret_in_logs.py")


# --- databases ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file; tests copy it, which is faster than migrating."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    database = Database(f"sqlite:///{path}")
    upgrade.upgrade(database)
    database.dispose()
    return path


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server for the session, or a skip."""
    require_server("PostgreSQL", present=postgres.binaries() is not None)
    server = postgres.Cluster()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql_template(cluster: postgres.Cluster) -> str:
    """The name of a migrated, empty database in the cluster."""
    name = "template_postroom"
    cluster.sql("CREATE DATABASE template_postroom")
    database = Database(cluster.url(name))
    upgrade.upgrade(database)
    database.dispose()
    return name


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated SQLite database of this test's own."""
    path = tmp_path / "postroom.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def cleared_database(cluster: postgres.Cluster, postgresql_template: str) -> Iterator[cleared.Cleared]:
    """The PostgreSQL database that tests use one after another."""
    database = cleared.Cleared(cluster, postgresql_template, "cleared")
    yield database
    database.close()


@pytest.fixture
def postgresql_url(cleared_database: cleared.Cleared) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database, for as long as this test runs."""
    with cleared_database.lent() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database; the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database; the test runs once on each kind."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _relays_are_let_go_of() -> Iterator[None]:
    """A house keeps its sessions with relays open; behind a test nobody closes them but us."""
    yield
    while house.CONNECTIONS:
        house.CONNECTIONS.pop().close_idle(float("inf"))
