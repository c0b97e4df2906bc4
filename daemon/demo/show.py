"""Five minutes of a mail house in a few seconds: the daemon's own scheduler between two servers on loopback.

Starts the demo POP3 and SMTP servers with sample mail, runs the daemon (`app.serve`, nothing of it is special) on a fresh
SQLite file, drops two rows into `outbox` with plain SQL as any program would, and prints what happened. The database stays
where it is named at the end. Talks to 127.0.0.1 only.
"""

import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

# Two SQLite libraries in one process do not see each other's locks, so the demo uses the daemon's. Another process may use any.
from pysqlite3 import dbapi2 as sqlite3

from daemon import app, errors, settings, trace
from daemon.demo import letters
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.store import search
from daemon.store.database import Database

PASSWORD: Final = "only-for-the-demo"  # noqa: S105 -- of a server that lives for seconds, on loopback
PATIENCE_SECONDS: Final = 20.0  # for each thing that the daemon is expected to do
REFUSED: Final = "nobody@example.net"
QUERIES: Final = (
    "SELECT id, from_name, subject FROM messages ORDER BY sent_at DESC",
    "SELECT uidl, status, reason, message FROM ledger",
    "SELECT subject, defects FROM messages WHERE defects <> '[]'",
    "SELECT o.id, o.status, r.address, r.status, r.code, r.reply FROM outbox o JOIN outbox_recipients r ON r.outbox_id = o.id",
)


class _Log(io.StringIO):
    """What the daemon says, kept in memory; its threads write, we read."""

    def protocol_lines(self) -> list[str]:
        """Return the first session's lines, as a person reads them."""
        events = [json.loads(line) for line in self.getvalue().splitlines()]
        lines = [event for event in events if event["event"] == "line"]
        return [f"{e['direction']} {e['shown']}" for e in lines if e["session"] == lines[0]["session"]]


def main() -> int:
    """Show it all and return the exit code; DemoFailed if anything that was to happen did not."""
    directory = Path(tempfile.mkdtemp(prefix="postroom-demo-"))
    file = directory / "postroom.db"
    log = _Log()
    with Pop3Server({"anna": letters.sample()}, PASSWORD) as pop3, SmtpServer({"anna": PASSWORD}) as smtp:
        smtp.on_rcpt = lambda address: "550 5.1.1 no such person here" if address == REFUSED else None
        chosen = settings.load(_environment(file, pop3.port, smtp.port), dotenv=None)
        trace.configure(log_format="json", level="info", stream=log)
        with _daemon(chosen), closing(sqlite3.connect(file, timeout=5)) as database:
            _tell(
                "1. The daemon polls the POP3 maildrop",
                f"{len(letters.sample())} letters wait on 127.0.0.1:{pop3.port}",
            )
            _wait_for(lambda: _count(database, "messages WHERE parser_version > 0") == len(letters.sample()))
            _print_trace(log)
            _print_mail(database)
            _print_search(chosen)
            _tell("4. Any program drops rows into `outbox`, with plain SQL")
            rows = _insert(database)
            _wait_for(lambda: _count(database, "outbox WHERE status IN ('sent', 'partial')") == len(rows))
            _print_verdicts(database)
            _expect(
                len(smtp.received) == len(rows),
                f"the relay was to get {len(rows)} letters, it got {len(smtp.received)}",
            )
    _tell("6. Look further", "The database is an ordinary SQLite file:")
    print(f"   sqlite3 {file}")
    for query in QUERIES:
        print(f"   {query};")
    print(f"\n   POSTROOM_DATABASE_URL=sqlite:///{file} postroom search 'from:bob'\n")
    return 0


class DemoFailed(errors.PostroomError):
    """Something that the demo was to show did not happen."""


def _environment(file: Path, pop3_port: int, smtp_port: int) -> dict[str, str]:
    account = "POSTROOM_ACCOUNTS__DEMO__"
    login = {"HOST": "127.0.0.1", "SECURITY": "plaintext", "USERNAME": "anna", "PASSWORD": PASSWORD}
    return {
        "POSTROOM_DATABASE_URL": f"sqlite:///{file}",
        "POSTROOM_TRACE": "all",
        f"{account}ADDRESS": "anna@example.org",
        f"{account}POP3__PORT": str(pop3_port),
        f"{account}SMTP__PORT": str(smtp_port),
        f"{account}POP3__POLL": "1m",
        f"{account}POP3__DELETE": "never",
        **{f"{account}{kind}__{name}": value for kind in ("POP3", "SMTP") for name, value in login.items()},
    }


@contextmanager
def _daemon(chosen: settings.Settings) -> Iterator[None]:
    """Run the daemon in a thread for the length of the block."""
    database = app.open_database(chosen)
    stop = threading.Event()
    thread = threading.Thread(target=app.serve, args=(chosen, database, stop), name="daemon")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        database.dispose()


def _wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        _expect(time.monotonic() < deadline, f"nothing came in {PATIENCE_SECONDS:.0f} seconds")
        time.sleep(0.05)


def _expect(happened: bool, otherwise: str) -> None:  # noqa: FBT001 -- an assertion with a sentence
    if not happened:
        raise DemoFailed(otherwise)


def _count(database: sqlite3.Connection, what: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608 -- our own words


def _tell(title: str, more: str = "") -> None:
    print(f"\n\x1b[1m{title}\x1b[0m" if _is_terminal() else f"\n{title}")
    if more:
        print(f"   {more}")


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print_trace(log: _Log) -> None:
    lines = log.protocol_lines()
    _expect(any("***" in line for line in lines), "the trace was to show a login without its password")
    _expect(PASSWORD not in log.getvalue(), "the password is in the log")
    for line in lines:
        print(f"   {line}")


def _print_mail(database: sqlite3.Connection) -> None:
    _tell("2. What is archived now, octet for octet, and what the parser understood")
    query = "SELECT id, from_name, from_address, subject, attachment_count, defects FROM messages ORDER BY id"
    for number, name, address, subject, attachments, defects in database.execute(query):
        extra = f"  [{attachments} attached]" if attachments else ""
        extra += f"  [repaired: {', '.join(json.loads(defects))}]" if defects != "[]" else ""
        print(f"   {number:>3}  {name or address or '?':<20} {subject or '(no subject)'}{extra}")


def _print_search(chosen: settings.Settings) -> None:
    database = Database(chosen.database_url)
    try:
        with database.reading() as conn:
            hits = search.search(conn, letters.SEARCH, limit=5, offset=0, account=None)
    finally:
        database.dispose()
    _tell(f"3. postroom search {letters.SEARCH!r}")
    _expect(bool(hits), "the search was to find something")
    for hit in hits:
        print(f"   {hit.id:>3}  {hit.subject}: {' '.join(hit.snippet.split())}")


def _insert(database: sqlite3.Connection) -> list[int]:
    statements = (
        "INSERT INTO outbox (recipients, subject, body) VALUES ('Bob <bob@example.net>', 'Grüße', 'Bis Freitag!')",
        (
            "INSERT INTO outbox (recipients, cc, subject, body, html) VALUES "
            "('carol@example.net', 'nobody@example.net', 'The minutes', 'See below.', '<p>See <b>below</b>.</p>')"
        ),
    )
    rows = []
    for statement in statements:
        print(f"   {statement};")
        with database:
            rows.append(int(database.execute(statement).lastrowid or 0))
    return rows


def _print_verdicts(database: sqlite3.Connection) -> None:
    _tell("5. The verdicts, per recipient, by one SELECT")
    query = (
        "SELECT o.id, o.subject, o.status, r.address, r.status, r.code, r.reply FROM outbox o "
        "JOIN outbox_recipients r ON r.outbox_id = o.id ORDER BY o.id, r.address"
    )
    for number, subject, status, address, verdict, code, reply in database.execute(query):
        print(f"   row {number} {subject!r} is {status}: {address} {verdict}, {code} {reply}")
