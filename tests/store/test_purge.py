"""Rows that are long over are let go of; what waits is not, and a key finds its verdict however long ago."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, text, update

from daemon import errors
from daemon.mail.entity import Attachment
from daemon.store import desk, purge
from daemon.store.database import Database
from daemon.store.dialect.rules import FINISHED
from daemon.store.schema import outbox, outbox_attempts, outbox_recipients
from tests.store.conftest import NOW

BEFORE = NOW + timedelta(days=90)
EVERY = FINISHED


def put(database: Database, status: str, *, key: str | None = None, doubted: str = "failed") -> int:
    """A row with all that belongs to one, come to that status."""
    with database.transaction() as tx:
        attached = [Attachment(filename="a", content_type="text/plain", content=b"x")]
        row = desk.add(
            tx,
            attachments=attached,
            recipients="bob@example.net",
            subject="s",
            body="b",
            headers={"X-A": "1"},
            idempotency_key=key,
        )
        attempt = {"outbox_id": row, "number": 1, "account": "home", "relay": "r", "session": "s", "started_at": NOW}
        made = insert(outbox_attempts).values(**attempt, transcript="C: QUIT").returning(outbox_attempts.c.id)
        verdict = {"outbox_id": row, "address": "bob@example.net", "status": doubted}
        tx.execute(insert(outbox_recipients).values(**verdict, attempt=tx.execute(made).scalar_one()))
        tx.execute(update(outbox).where(outbox.c.id == row).values(status=status, updated_at=NOW))
    return row


def left(database: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = {
        "outbox": "id, status, subject, body, headers",
        "outbox_recipients": "outbox_id, status",
        "outbox_attempts": "outbox_id, transcript",
        "outbox_attachments": "outbox_id",
    }
    with database.reading() as conn:
        return {
            table: [tuple(row) for row in conn.execute(text(f"SELECT {columns} FROM {table} ORDER BY 1"))]
            for table, columns in tables.items()
        }


def go(database: Database, **changes: object) -> tuple[int, int]:
    """Purge in transactions of two rows; the sums."""
    given: dict[str, object] = {"before": BEFORE, "statuses": EVERY, "keys": False} | changes
    with database.reading() as conn:
        counted = purge.count(conn, **given)  # type: ignore[arg-type]
    deleted = emptied = after = 0
    while True:
        with database.transaction() as tx:
            done = purge.purge(tx, **given, after=after, limit=2)  # type: ignore[arg-type]
        if done.last is None:
            break
        assert done.deleted + done.emptied <= 2
        deleted, emptied, after = deleted + done.deleted, emptied + done.emptied, done.last
    assert (deleted, emptied) == counted
    return deleted, emptied


def test_what_is_over_goes_with_its_children_and_what_waits_stays(database: Database) -> None:
    statuses = ("queued", "sending", "deferred", "in_doubt", "held", *EVERY)
    rows = {status: put(database, status) for status in statuses}
    assert (len(EVERY), 0) == go(database)
    kept = [rows[status] for status in statuses if status not in EVERY]
    assert dict.fromkeys(left(database), kept) == {
        table: [row[0] for row in found] for table, found in left(database).items()
    }
    assert (0, 0) == go(database)


def test_only_what_is_old_enough_and_of_the_status_asked_for_goes(database: Database) -> None:
    for status in ("sent", "failed"):
        put(database, status)
    assert (0, 0) == go(database, before=NOW)
    assert (0, 0) == go(database, statuses=["queued", "in_doubt", "held"])
    assert (1, 0) == go(database, statuses=["failed"])
    assert ["sent"] == [row[1] for row in left(database)["outbox"]]


def test_a_recipient_in_doubt_keeps_its_row(database: Database) -> None:
    put(database, "failed", doubted="in_doubt")
    assert (0, 0) == go(database)


def test_a_key_stays_with_its_verdict_and_is_not_put_in_again(database: Database) -> None:
    """Its letter goes; nothing of what is left could be sent by accident."""
    for status in ("sent", "failed"):
        put(database, status, key=status)
    assert (0, 2) == go(database)
    assert {
        "outbox": [(1, "sent", None, None, None), (2, "failed", None, None, None)],
        "outbox_recipients": [(1, "failed"), (2, "failed")],
        "outbox_attempts": [(1, None), (2, None)],
        "outbox_attachments": [],
    } == left(database)
    assert (0, 0) == go(database), "there is nothing left to let go of"
    with database.transaction() as tx:
        assert 2 == desk.add(tx, recipients="bob@example.net", subject="again", idempotency_key="failed")
        assert [] == desk.retry(tx, None, NOW)
        with pytest.raises(errors.InputInvalid, match="outbox row 2: nothing is left of its letter"):
            desk.retry(tx, [2], NOW)
    assert (2, 0) == go(database, keys=True)
    assert {table: [] for table in left(database)} == left(database)
