"""What README says of stored octets: its SQL reads them where they are not compressed, its Python where they are."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from daemon.jobs import index, pack
from daemon.store import archive
from daemon.store.database import Database
from daemon.store.packing import Packer
from daemon.wire.spool import Spool
from tests import corpus
from tests.docs.test_readme import fenced
from tests.doubles import house

FILE = b"\r\n".join([b"a file in letters"] * 2000)
SHARING = [
    b"Subject: %d\r\nContent-Type: application/x-file\r\nContent-Disposition: attachment\r\n\r\n" % number + FILE
    for number in range(2)
]
LETTERS = [*corpus.small(80), *(one.octets for one in corpus.letters(40)), *SHARING]


def archived(url: str, packer: Packer) -> None:
    """Archive LETTERS, whose ids then count from 1, and pack them."""
    database = Database(url)
    with database.transaction() as tx:
        incoming = [archive.Incoming(uidl=str(n), spool=Spool.of(one)) for n, one in enumerate(LETTERS)]
        archive.add(tx, "home", incoming, datetime(2026, 11, 25, tzinfo=UTC), packer)
    context = house.context(database, house.Clock(), packer=packer)
    index.index(database, now=context.clock, stop=context.stop, progress=context.pulse)
    pack.pack(context)
    database.dispose()


def test_plain_sql_reads_what_is_not_compressed(sqlite_url: str) -> None:
    archived(sqlite_url, Packer("none"))
    (query,) = [block for block in fenced("sql") if "FROM message_sources" in block]
    database = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert LETTERS[0] == b"".join(content for (content,) in database.execute(query))
    database.close()


def test_the_python_snippet_reads_what_is_compressed(sqlite_url: str, monkeypatch: object) -> None:
    archived(sqlite_url, Packer())
    (snippet,) = [block for block in fenced("python") if "FROM message_sources" in block]
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    script = snippet.replace("postroom.db", str(path)) + (
        "\nimport hashlib"
        "\nfor key, sha256 in db.execute('SELECT id, sha256 FROM messages'):"
        "\n    assert hashlib.sha256(raw(key)).hexdigest() == sha256, key"
        "\nprint(*sorted({one for (one,) in db.execute('SELECT encoding FROM message_sources')}))"
    )
    if sys.version_info >= (3, 14):
        script = script.replace("from backports import zstd", "from compression import zstd")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ("blob identity zstd\n", "") == (done.stdout, done.stderr)
