"""What each database's own functions and types give is understood where README says so."""

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store.database import Database

SQLITE = [
    ("send_after", "datetime('2999-01-01', '+1 hour')", "2999-01-01T01:00:00.000Z"),
    ("send_after", "strftime('%Y-%m-%dT%H:%M:%fZ', '2999-01-01')", "2999-01-01T00:00:00.000Z"),
    ("expires_at", "date('2999-01-01')", "2999-01-01T00:00:00.000Z"),
    ("headers", "json_object('X-Ticket', '42')", '{"X-Ticket":"42"}'),
    ("priority", "'7'", "7"),
    ("priority", "true", "1"),
]
POSTGRESQL = [
    ("send_after", "timestamptz '2999-01-01 00:00Z' + interval '1 hour'", "2999-01-01T01:00:00.000Z"),
    ("send_after", "timestamp '2999-01-01 00:00:00.123456'", "2999-01-01T00:00:00.123Z"),
    ("expires_at", "date '2999-01-01'", "2999-01-01T00:00:00.000Z"),
    ("headers", """'{"X-Ticket": "42"}'::jsonb""", '{"X-Ticket": "42"}'),
    ("headers", """json_build_object('X-Ticket', '42')""", '{"X-Ticket" : "42"}'),
    ("priority", "'7'", "7"),
]


def kept(database: Database, column: str, expression: str) -> str:
    with database.transaction() as tx:
        if database.kind == "postgresql":
            tx.exec_driver_sql("SET LOCAL TIME ZONE 'Asia/Kolkata'")
        insert = f"INSERT INTO outbox (recipients, subject, {column}) VALUES ('b@example.net', 's', {expression})"
        tx.exec_driver_sql(insert)
        return str(tx.exec_driver_sql(f"SELECT {column} FROM outbox").scalar_one())


@pytest.mark.parametrize("number", range(len(SQLITE)))
def test_what_a_databases_own_functions_give_is_taken(database: Database, number: int) -> None:
    column, expression, expected = (SQLITE if database.kind == "sqlite" else POSTGRESQL)[number]
    assert expected == kept(database, column, expression)


@pytest.mark.servers
def test_text_becomes_octets_on_postgresql_as_readme_says(postgresql_url: str) -> None:
    """With a conversion any text does; a text that is no literal names the column; a literal is read with its escapes."""
    database = Database(postgresql_url)
    message = "Subject: x\n\nC:\\temp\\101 ü"
    insert = "INSERT INTO outbox (recipients, raw) VALUES ('b@example.net', {}) RETURNING raw"
    with database.transaction() as tx:
        converted = text(insert.format("convert_to(:raw, 'UTF8')"))
        assert message.encode() == bytes(tx.execute(converted, {"raw": message}).scalar_one())
        assert b"Subject: A" == bytes(tx.exec_driver_sql(insert.format(r"'Subject: \101'")).scalar_one())
    with pytest.raises(errors.StoreError, match='column "raw" is of type bytea'), database.transaction() as tx:
        tx.execute(text(insert.format("CAST(:raw AS text)")), {"raw": message})
    database.dispose()
