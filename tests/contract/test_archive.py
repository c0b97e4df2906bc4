"""Another program deletes from the archive, with the sqlite3 of Debian: search does not show what is gone, and all is sound."""

import shutil
import subprocess
from datetime import UTC, datetime

from daemon.mail.message import Parsed
from daemon.store import archive, search
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests.conftest import require_server

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_what_the_sqlite3_command_deletes_is_found_no_more(sqlite_url: str) -> None:
    require_server("sqlite3", present=shutil.which("sqlite3") is not None)
    database = Database(sqlite_url)
    with database.transaction() as tx:
        incoming = [archive.Incoming(uidl=one, spool=Spool.of(one.encode())) for one in ("a", "b")]
        ids = [one.message for one in archive.add(tx, "home", incoming, NOW)]
        archive.write_all_parsed(tx, [(one, Parsed(subject="東京 invoice", body_text="x")) for one in ids], 1, NOW)
    database.dispose()
    statements = f"DELETE FROM messages WHERE id = {ids[0]}; PRAGMA integrity_check;"
    command = ["sqlite3", "-batch", sqlite_url.removeprefix("sqlite:///"), statements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "ok\n", "") == (done.returncode, done.stdout, done.stderr)
    with database.reading() as conn:
        assert [ids[1:], ids[1:]] == [[hit.id for hit in search.search(conn, one)] for one in ("東京", "invoice")]
    database.dispose()
