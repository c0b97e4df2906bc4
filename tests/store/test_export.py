"""What is exported of a message: its columns as JSON has them."""

import json

from daemon.mail.message import Parsed
from daemon.store import archive, export
from daemon.store.database import Database
from tests.store.conftest import NOW, Add


def test_columns_are_what_json_can_say(database: Database, add: Add) -> None:
    (filed,) = add(b"Subject: x\r\n\r\n")
    with database.transaction() as tx:
        archive.write_parsed(tx, filed.message, Parsed(subject="ü", sent_at=NOW), 1, NOW)
    with database.reading() as conn:
        columns = export.columns(conn, filed.message)
    said = json.loads(json.dumps(columns))
    assert ("ü", "u0", "whole", [], []) == tuple(
        said[name] for name in ("subject", "uidl", "retrieved", "addresses", "attachments")
    )
    assert said["sent_at"].endswith("Z")


def test_several_accounts_come_in_the_order_of_their_ids(database: Database, add: Add) -> None:
    home, work, more = (
        add(octets, account=account)[0].message for octets, account in ((b"1", "home"), (b"2", "work"), (b"3", "home"))
    )
    add(b"4", account="other")
    with database.reading() as conn:
        assert [home, work, more] == export.ids(conn, None, ["work", "home", "home"])
