"""Statements that the driver runs itself give what SQLAlchemy would give, and fail as everything here does."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import bindparam, insert, select, update

from daemon import errors
from daemon.store import accounts
from daemon.store.database import Database
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import accounts as table

LEASE = select(table.c.name, table.c.lease_until, table.c.failures, table.c.last_error, table.c.lease_until)
OF_OWNER = LEASE.where(table.c.lease_owner == bindparam("owner"), table.c.failures == 0).order_by(table.c.name)
PREPARED = Prepared(lambda _conn: OF_OWNER)


def test_values_and_columns_are_translated_as_sqlalchemy_does(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        for name in ("b", "a"):
            accounts.lease(tx, name, "me", now, timedelta(minutes=10))
    with database.reading() as conn:
        found = PREPARED.rows(conn, owner="me")
        assert [tuple(row) for row in conn.execute(OF_OWNER, {"owner": "me"})] == found
        assert ("a", now + timedelta(minutes=10), 0, None, now + timedelta(minutes=10)) == found[0]
        assert found[0] == PREPARED.first(conn, owner="me")
        assert ([], None) == (PREPARED.rows(conn, owner="%s ? :x"), PREPARED.first(conn, owner="%s ? :x"))


def test_a_change_tells_how_many_rows_it_was(database: Database, now: datetime) -> None:
    ends = Prepared(lambda _tx: update(table).where(table.c.lease_until <= bindparam("at")).values(last_error="50 %"))
    with database.transaction() as tx:
        for name in ("a", "b"):
            accounts.lease(tx, name, "me", now, timedelta(minutes=10))
        assert [0, 2] == [ends.run(tx, at=now + timedelta(minutes=minutes)) for minutes in (9, 10)]
    with database.reading() as conn:
        assert {"50 %"} == {row.last_error for row in accounts.all(conn)}


def test_the_drivers_errors_have_our_names(database: Database) -> None:
    made = Prepared(lambda _tx: insert(table).values(name=bindparam("key"), failures=bindparam("count")))
    with pytest.raises(errors.RowRefused), database.transaction() as tx:
        made.run(tx, key="a", count=-1)
    with pytest.raises(ValueError, match="naive"), database.transaction() as tx:
        accounts.succeeded(tx, "a", datetime(2026, 1, 1))  # noqa: DTZ001 -- it is the mistake
    with database.reading() as conn:
        assert [] == accounts.all(conn)
