"""README's way to send on what was archived before FORWARD was set."""

import re
from pathlib import Path

from sqlalchemy import text

from daemon.store import archive
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.doubles import house

README = Path(__file__).parents[2] / "README.md"


def test_older_letters_are_sent_on_by_one_statement(database: Database) -> None:
    section = README.read_text(encoding="utf-8").split("## Sent on as it came\n")[1].split("\n## ")[0]
    (statement,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    incoming = [
        archive.Incoming(uidl=f"u{day}", spool=Spool.of(f"Subject: {day}\r\n\r\n".encode())) for day in (23, 30)
    ]
    with database.transaction() as tx:
        archive.add(tx, "home", incoming, house.NOW)
        tx.execute(text("UPDATE messages SET sent_at = '2026-10-31T00:00:00Z' WHERE id = 1"))
        tx.execute(text("UPDATE messages SET sent_at = '2026-11-23T00:00:00Z' WHERE id = 2"))
        tx.execute(text(statement.strip().removesuffix(";")))
        rows = [tuple(row) for row in tx.execute(text("SELECT recipients, account, forwards, status FROM outbox"))]
    assert [("anna@elsewhere.example", "home", 2, "queued")] == rows
