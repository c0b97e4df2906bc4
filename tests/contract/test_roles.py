"""A program with a role of its own on PostgreSQL, as README grants it: it drops rows and reads verdicts, and no more."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from daemon.store import upgrade
from daemon.store.database import Database
from tests.servers.postgres import Cluster

README = Path(__file__).parents[2] / "README.md"
LETTER = "INSERT INTO mail.outbox (recipients, subject, headers, idempotency_key) VALUES ('b@example.net', 's', '{\"X\": \"1\"}', 'k')"

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def program(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """A session of the role, on tables that stand in a schema where its search path does not lead."""
    cluster.sql("CREATE DATABASE roles")
    cluster.sql("CREATE SCHEMA mail", "roles")
    database = Database(f"{cluster.url('roles')}&options=-csearch_path%3Dmail")
    upgrade.upgrade(database)
    database.dispose()
    (granted,) = re.findall(r"```sql\n(CREATE ROLE.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    cluster.sql(f"SET search_path = mail; GRANT USAGE ON SCHEMA mail TO public; {granted}", "roles")
    with psycopg.connect(host=str(cluster.directory), dbname="roles", user="shop", autocommit=True) as session:
        yield session
    cluster.sql("DROP DATABASE roles")
    cluster.sql("DROP ROLE shop")


def test_a_role_that_may_drop_rows_needs_nothing_else(program: psycopg.Connection) -> None:
    (row_id,) = program.execute(f"{LETTER} RETURNING id").fetchone() or (0,)
    program.execute(f"{LETTER} ON CONFLICT (idempotency_key) DO NOTHING")
    attach = "INSERT INTO mail.outbox_attachments (outbox_id, filename, content) VALUES (%s, 'a', 'x')"
    program.execute(attach, [row_id])
    for status in ("cancelled", "queued", "held"):
        program.execute("UPDATE mail.outbox SET status = %s", [status])
    assert [("held",)] == program.execute("SELECT status FROM mail.outbox").fetchall()
    assert [] == program.execute("SELECT * FROM mail.outbox_recipients").fetchall()
    program.execute("CREATE TEMPORARY TABLE outbox (id bigint, status text, raw bytea)")
    program.execute("INSERT INTO pg_temp.outbox VALUES (99, 'queued', NULL)")
    with pytest.raises(psycopg.errors.CheckViolation, match=r"outbox_attachments\.outbox_id: there is no such row"):
        program.execute(attach, [99])
    with pytest.raises(psycopg.errors.CheckViolation, match=r"outbox\.recipients: at least one address"):
        program.execute("INSERT INTO mail.outbox (recipients, subject) VALUES ('b', 's')")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM mail.messages",
        "INSERT INTO mail.outbox (recipients, forwards) VALUES ('b@example.net', 1)",
        "UPDATE mail.outbox SET recipients = 'b@example.net'",
        "UPDATE mail.outbox_recipients SET status = 'sent'",
        "DELETE FROM mail.outbox",
    ],
)
def test_it_may_do_no_more(program: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        program.execute(statement)
