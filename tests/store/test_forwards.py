"""Rows that forward an archived message: what the database takes and refuses, and what becomes of them when it is pruned."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store import archive, forwards, prune
from daemon.store.database import Database
from tests.store.conftest import NOW, Add


def insert(database: Database, **columns: object) -> int:
    names = ", ".join(columns)
    with database.transaction() as tx:
        values = ", ".join(f":{name}" for name in columns)
        row = tx.execute(text(f"INSERT INTO outbox ({names}) VALUES ({values}) RETURNING id"), columns)
        return int(row.scalar_one())


def change(database: Database, statement: str) -> None:
    with database.transaction() as tx:
        tx.execute(text(statement))


def rows(database: Database, columns: str) -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(f"SELECT {columns} FROM outbox ORDER BY id"))]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"forwards": 4711}, "outbox.forwards: there is no such message in the archive"),
        ({"forwards": 1, "body": "x"}, "outbox.forwards: an archived message leaves no room"),
        ({"forwards": 1, "subject": "x"}, "outbox.forwards: an archived message leaves no room"),
        ({"forwards": 1, "html": "x"}, "outbox.forwards: an archived message leaves no room"),
        ({"forwards": 1, "headers": "{}"}, "outbox.forwards: an archived message leaves no room"),
        ({"forwards": 1, "raw": b"Subject: x\r\n\r\n"}, "outbox.forwards: an archived message leaves no room"),
    ],
)
def test_a_row_forwards_what_is_there_and_nothing_else(
    database: Database, add: Add, columns: dict[str, object], sentence: str
) -> None:
    add(b"Subject: x\r\n\r\nx\r\n")
    with pytest.raises(errors.RowRefused, match=sentence):
        insert(database, recipients="bob@example.net", **columns)


def test_an_archived_message_holds_its_own_attachments(database: Database, add: Add) -> None:
    add(b"Subject: x\r\n\r\nx\r\n")
    insert(database, recipients="bob@example.net", forwards=1)
    with pytest.raises(errors.RowRefused, match="an archived message, which holds its own attachments"):
        change(database, "INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES (1, 'a', 'x')")


def test_what_is_forwarded_cannot_be_changed_once_it_was_sent(database: Database, add: Add) -> None:
    add(b"Subject: x\r\n\r\nx\r\n", b"Subject: y\r\n\r\ny\r\n")
    insert(database, recipients="bob@example.net", forwards=1)
    change(database, "UPDATE outbox SET forwards = 2")
    with pytest.raises(errors.RowRefused, match=r"outbox\.body: the letter is empty"):
        change(database, "UPDATE outbox SET forwards = NULL")
    change(database, "UPDATE outbox SET status = 'sent'")
    for value in ("1", "NULL"):
        with pytest.raises(errors.RowRefused, match="its letter can't be changed"):
            change(database, f"UPDATE outbox SET forwards = {value}")


def test_pruning_lets_go_of_rows_whatever_their_status(database: Database, add: Add) -> None:
    """The verdicts stay; a row that waits is looked at when its turn comes."""
    add(b"Subject: x\r\n\r\nx\r\n")
    for status in ("queued", "sending", "sent", "failed"):
        insert(database, recipients="bob@example.net", forwards=1)
        change(database, f"UPDATE outbox SET status = '{status}' WHERE id = (SELECT max(id) FROM outbox)")
    with database.transaction() as tx:
        assert 1 == prune.prune(tx, archive.ids(tx, limit=10), before=NOW + timedelta(days=1))
    assert [("queued", None), ("sending", None), ("sent", None), ("failed", None)] == rows(database, "status, forwards")
    change(database, "UPDATE outbox SET expires_at = '2031-01-01T00:00:00Z'")


def test_what_is_long_may_be_dropped_once_it_was_sent(database: Database) -> None:
    row = {"recipients": "bob@example.net", "subject": "s", "body": "b", "html": "h"}
    insert(database, **row)
    change(database, "UPDATE outbox SET status = 'sent'")
    with pytest.raises(errors.RowRefused, match="its letter can't be changed"):
        change(database, "UPDATE outbox SET body = 'other'")
    change(database, "UPDATE outbox SET body = NULL, html = NULL")
    assert [("s", None, None)] == rows(database, "subject, body, html")


def test_a_message_is_put_in_once_even_when_it_was_pruned_and_came_again(database: Database, add: Add) -> None:
    filed: list[archive.Filed] = []
    for _ in range(2):
        filed = add(b"Subject: x\r\n\r\nx\r\n", b"Subject: y\r\n\r\ny\r\n")
        with database.transaction() as tx:
            forwards.add(tx, "home", "bob@example.net", filed)
            prune.prune(tx, archive.ids(tx, limit=10), before=NOW + timedelta(days=1))
    keys = [("queued", "home", "bob@example.net", f"forward:home:{one.sha256}") for one in filed]
    assert keys == rows(database, "status, account, recipients, idempotency_key")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("DELETE FROM messages", "is not in the archive any more"),
        ("UPDATE messages SET retrieved = 'headers'", "only its header section"),
        ("DELETE FROM message_sources", "does not read back as it came"),
    ],
)
def test_only_what_reads_back_equal_is_sent_on(database: Database, add: Add, damage: str, reason: str) -> None:
    (filed,) = add(b"Subject: x\r\n\r\nx\r\n")
    change(database, damage)
    with database.reading() as conn, pytest.raises(errors.InputInvalid, match=reason):
        forwards.source(conn, filed.message)
