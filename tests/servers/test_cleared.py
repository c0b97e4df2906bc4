"""The database that PostgreSQL's tests use one after another is as new for each of them, whatever the one before did."""

from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg
import pytest

from tests.servers.cleared import Cleared
from tests.servers.postgres import Cluster

pytestmark = pytest.mark.servers

NAME = "cleared_too"
INSERT = "INSERT INTO outbox (recipients, subject) VALUES ('bob@example.net', 'x') RETURNING id"
RECIPIENT = "INSERT INTO outbox_recipients (outbox_id, address, field) VALUES (1, 'b@example.net', 'to')"

ROWS = {
    "written": [INSERT, RECIPIENT],
    "refused": ["INSERT INTO outbox (recipients, subject) VALUES ('', 'x')"],
    "taken back": ["BEGIN", INSERT, "ROLLBACK"],
    "left open": ["BEGIN", INSERT],
}
CHANGES = [
    "ALTER TABLE outbox ADD COLUMN probe text",
    "ALTER TABLE outbox ALTER COLUMN priority SET DEFAULT 9",
    "ALTER TABLE outbox DISABLE TRIGGER USER",
    "CREATE FUNCTION probe() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP INDEX ix_outbox_due",
    "CREATE TABLE probe (id int)",
    f"ALTER DATABASE {NAME} SET timezone = 'Asia/Tokyo'",
    "DROP TABLE postroom_version",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
]


@pytest.fixture(scope="module")
def database(cluster: Cluster, postgresql_template: str) -> Iterator[Cleared]:
    made = Cleared(cluster, postgresql_template, NAME)
    yield made
    made.close()


def schema(cluster: Cluster, name: str) -> list[str]:
    return [line for line in cluster.dump_schema(name).splitlines() if not line.startswith("\\")]


@pytest.mark.parametrize("deed", ROWS)
def test_no_row_number_or_connection_of_a_test_is_there_for_the_next(
    cluster: Cluster, database: Cleared, deed: str
) -> None:
    with closing(cluster.connect()) as server:
        oid = "SELECT oid FROM pg_database WHERE datname = %s"
        with database.lent():
            was = server.execute(oid, [NAME]).fetchone()
            left = cluster.connect(NAME)
            with suppress(psycopg.errors.CheckViolation, psycopg.errors.RaiseException):
                for statement in ROWS[deed]:
                    left.execute(statement.encode())
        with closing(left), pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
        with database.lent(), closing(cluster.connect(NAME)) as following:
            assert was == server.execute(oid, [NAME]).fetchone()  # emptied, not made anew
            assert (0, 0) == following.execute(
                "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox_recipients)"
            ).fetchone()
            assert (1,) == following.execute(INSERT.encode()).fetchone()


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_that_a_test_made_to_the_schema_is_there_for_the_next(
    cluster: Cluster, postgresql_template: str, database: Cleared, change: str
) -> None:
    with database.lent(), closing(cluster.connect(NAME)) as changing:
        changing.execute(change.encode())
    with database.lent(), closing(cluster.connect(NAME)) as following:
        assert schema(cluster, postgresql_template) == schema(cluster, NAME)
        assert (0,) == following.execute("SELECT count(*) FROM pg_db_role_setting").fetchone()
