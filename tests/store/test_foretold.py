"""What a clock that was ahead put off is due again; what somebody dated keeps its date."""

from datetime import datetime, timedelta

from daemon.store import accounts, foretold, schema
from daemon.store.database import Database


def test_what_waits_for_longer_than_anything_may_is_due(database: Database, now: datetime) -> None:
    month, hour = now + timedelta(days=30), now + timedelta(hours=1)
    with database.transaction() as tx:
        accounts.register(tx, [("work", "anna@example.org")])
        for _ in range(3):
            tx.exec_driver_sql("INSERT INTO outbox (recipients, body) VALUES ('bob@example.net', 'x')")
        tx.exec_driver_sql(
            "INSERT INTO outbox (recipients, body, send_after) VALUES ('bob@example.net', 'x', '2027-11-23T00:00:00Z')"
        )
        table = schema.outbox
        for key, status, at in (
            (1, "deferred", month),
            (2, "deferred", hour),
            (3, "queued", month),
            (4, "queued", month),
        ):
            tx.execute(table.update().where(table.c.id == key).values(status=status, next_attempt_at=at))
        tx.execute(schema.accounts.update().values(next_poll_at=month, lease_until=month, lease_owner="a/b/c/1/2"))
    with database.transaction() as tx:
        foretold.amend(tx, now, timedelta(hours=4))
        rows = (
            tx.execute(table.select().with_only_columns(table.c.next_attempt_at).order_by(table.c.id)).scalars().all()
        )
        assert [now, hour, now, month] == rows, "what somebody dated keeps its date"
        (account,) = accounts.all(tx)
        assert (now, now + foretold.LONGEST_LEASE) == (account.next_poll_at, account.lease_until)
        assert 0 == foretold.amend(tx, now, timedelta(hours=4))
