"""The outbox in plain SQL, through every door that programs use: the sqlite3 and psql command lines, and Python's sqlite3.

The same statements work on both databases; a wrong one gives a sentence that names the column.
"""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store.database import Database
from tests.conftest import require_server
from tests.servers.postgres import Cluster

SQLITE_CLI = shutil.which("sqlite3")

# Runs statements; gives the rows of the last one, cells joined by |, or raises Refused with what the program printed.
Door = Callable[[str], list[str]]


class Refused(Exception):
    pass


def _command(command: list[str], statements: str) -> list[str]:
    done = subprocess.run(command, input=statements, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout.splitlines()


def _psql(cluster: Cluster, name: str) -> Door:
    return lambda statements: _command([*cluster.psql(name), "-A", "-t"], statements)


def _sqlite3(path: Path) -> Door:
    require_server("the sqlite3 command", present=SQLITE_CLI is not None)
    return lambda statements: _command([str(SQLITE_CLI), "-bail", str(path)], statements)


def _python(path: Path) -> Door:
    def run(statements: str) -> list[str]:
        connection = sqlite3.connect(path)
        rows: list[tuple[object, ...]] = []
        try:
            for statement in statements.split(";\n"):
                rows = connection.execute(statement).fetchall()
            connection.commit()
        except sqlite3.Error as error:
            raise Refused(str(error)) from error
        finally:
            connection.close()
        return ["|".join("" if cell is None else str(cell) for cell in row) for row in rows]

    return run


DOORS = ["python", "sqlite3", pytest.param("psql", marks=pytest.mark.servers)]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """A way into a database of the test's own."""
    if request.param == "psql":
        name = str(request.getfixturevalue("postgresql_url")).partition("?")[0].rpartition("/")[2]
        return _psql(request.getfixturevalue("cluster"), name)
    path = Path(str(request.getfixturevalue("sqlite_url")).removeprefix("sqlite:///"))
    return _python(path) if request.param == "python" else _sqlite3(path)


@pytest.fixture(scope="module", params=DOORS)
def refusing_door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A way into a database that many tests share, since whatever they try is refused."""
    if request.param == "psql":
        cluster: Cluster = request.getfixturevalue("cluster")
        assert "template_postroom" == request.getfixturevalue("postgresql_template")
        cluster.sql("CREATE DATABASE refusing TEMPLATE template_postroom")
        return _psql(cluster, "refusing")
    path = tmp_path_factory.mktemp("refusing") / "postroom.db"
    shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    return _python(path) if request.param == "python" else _sqlite3(path)


# --- what is taken ----------------------------------------------------------------------------------------------------

GOOD = [
    "(recipients, subject, body) VALUES ('bob@example.net', 'Grüße', 'Text')",
    "(recipients, subject, body) VALUES ('bob@example.net', 'Only a subject', '')",
    "(recipients, body) VALUES ('Bob <bob@example.net>, carol@example.net', 'a\nb')",
    "(recipients, html) VALUES ('bob@example.net', '<p>Hi</p>')",
    "(recipients, raw) VALUES ('bob@example.net', 'Subject: x\n\nText')",
    "(recipients, cc, bcc, sender, reply_to, subject, headers, priority, idempotency_key, on_doubt, status) VALUES"  # noqa: ISC004 -- one row
    " ('bob@example.net', 'c@example.net', '', 'Anna <anna@example.org>', NULL, 's', '{\"X-Ticket\": \"42 — ü\"}', 5, 'k', 'hold', 'held')",
    "(recipients, body, headers) VALUES ('bob@example.net', 'b', NULL)",
    "(recipients, subject, expires_at) VALUES ('b@example.net', 's', '2999-01-01')",
]


@pytest.mark.parametrize("values", GOOD)
def test_good_rows_are_taken(door: Door, values: str) -> None:
    door(f"INSERT INTO outbox {values}")
    assert ["1"] == door("SELECT count(*) FROM outbox")


# As SQLite's datetime(), PostgreSQL's now(), Python, PHP, Node, Java and date(1) write times, and what people type.
TIMES = [
    ("2999-01-02 03:04:05", "2999-01-02T03:04:05.000Z"),
    ("2999-01-02T03:04:05Z", "2999-01-02T03:04:05.000Z"),
    ("2999-01-02t03:04:05z", "2999-01-02T03:04:05.000Z"),
    ("2999-01-02T03:04:05.678+02:00", "2999-01-02T01:04:05.678Z"),
    ("2999-01-02 03:04:05.9999-0230", "2999-01-02T05:34:05.999Z"),
    ("2999-01-02 03:04:05.5+00", "2999-01-02T03:04:05.500Z"),
    ("2999-01-02T03:04", "2999-01-02T03:04:00.000Z"),
    ("2999-01-02 03:04 +01:00", "2999-01-02T02:04:00.000Z"),
    (" 2999-01-02 ", "2999-01-02T00:00:00.000Z"),
    ("2996-02-29", "2996-02-29T00:00:00.000Z"),
]


@pytest.mark.parametrize("column", ["send_after", "expires_at"])
def test_loose_times_become_one_form(door: Door, request: pytest.FixtureRequest, column: str) -> None:
    """Whatever the zone of the session is: JDBC sends that of its machine."""
    zone = "SET TIME ZONE 'Asia/Kolkata';\n" if "psql" in request.node.name else ""
    rows = ", ".join(f"('b@example.net', 's', '{given}')" for given, _ in TIMES)
    door(f"{zone}INSERT INTO outbox (recipients, subject, {column}) VALUES {rows}")
    assert [kept for _, kept in TIMES] == door(f"SELECT {column} FROM outbox ORDER BY id")


def test_a_row_waits_for_its_send_after_also_when_that_changes(door: Door, request: pytest.FixtureRequest) -> None:
    form = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD')" if "psql" in request.node.name else "substr({}, 1, 10)"
    due = f"SELECT {form.format('next_attempt_at')} FROM outbox"
    door("INSERT INTO outbox (recipients, subject, send_after) VALUES ('b@example.net', 's', '2999-01-02 01:00+14:00')")
    assert ["2999-01-01"] == door(due)
    door("UPDATE outbox SET send_after = '2999-03-04'")
    assert ["2999-03-04"] == door(due)


def test_a_new_row_is_due_at_once_and_a_held_one_is_not(door: Door) -> None:
    door(
        "INSERT INTO outbox (recipients, subject) VALUES ('b@example.net', 's');\n"
        "INSERT INTO outbox (recipients, subject, status) VALUES ('b@example.net', 's', 'held')"
    )
    query = "SELECT status, CASE WHEN next_attempt_at IS NULL THEN 'rests' ELSE 'waits' END FROM outbox ORDER BY id"
    assert ["queued|waits", "held|rests"] == door(query)
    door("UPDATE outbox SET status = CASE status WHEN 'held' THEN 'queued' ELSE 'cancelled' END")
    assert ["cancelled|rests", "queued|waits"] == door(query)


def test_a_failed_row_that_is_queued_again_asks_its_recipients_again(door: Door) -> None:
    door(
        "INSERT INTO outbox (recipients, subject) VALUES ('b@example.net', 's');\n"
        "UPDATE outbox SET status = 'partial' WHERE id = 1;\n"
        "INSERT INTO outbox_recipients (outbox_id, address, status) VALUES (1, 'a@example.net', 'sent'), (1, 'b@example.net', 'failed');\n"
        "UPDATE outbox SET status = 'queued' WHERE id = 1"
    )
    assert ["sent", "queued"] == door("SELECT status FROM outbox_recipients ORDER BY address")
    assert ["1"] == door("SELECT count(*) FROM outbox WHERE next_attempt_at IS NOT NULL")


def test_attachments_come_with_their_row_and_go_with_it(door: Door) -> None:
    door(
        "INSERT INTO outbox (recipients, subject) VALUES ('b@example.net', 's');\n"
        "INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES (1, 'März.txt', 'text')"
    )
    assert ["application/octet-stream"] == door("SELECT content_type FROM outbox_attachments")
    door("DELETE FROM outbox")
    assert ["0"] == door("SELECT count(*) FROM outbox_attachments")


# --- what is refused --------------------------------------------------------------------------------------------------

TO = "'bob@example.net'"
BAD = [
    ("(subject, body) VALUES ('s', 'b')", "outbox.recipients: at least one address"),
    ("(recipients, subject) VALUES ('', 's')", "outbox.recipients: at least one address"),
    ("(recipients, subject) VALUES ('nobody', 's')", "outbox.recipients: at least one address"),
    (
        f"(recipients, subject) VALUES ({TO} || char_10 || 'Bcc: eve@example.com', 's')",
        "outbox.recipients: line breaks",
    ),
    (
        f"(recipients, subject) VALUES ({TO}, 'a' || char_13 || char_10 || 'Bcc: eve@example.com')",
        "outbox.subject: line breaks",
    ),
    (f"(recipients, subject) VALUES ({TO}, 'a' || char_127)", "outbox.subject: line breaks"),
    (f"(recipients, subject, sender) VALUES ({TO}, 's', 'a@b' || char_10)", "outbox.sender: line breaks"),
    (f"(recipients, subject, message_id) VALUES ({TO}, 's', '<a@b>' || char_10)", "outbox.message_id: line breaks"),
    (f"(recipients, subject, cc) VALUES ({TO}, 's', 'carol')", "outbox.cc: not an address"),
    (f"(recipients, subject, bcc) VALUES ({TO}, 's', 'carol')", "outbox.bcc: not an address"),
    (f"(recipients, subject, sender) VALUES ({TO}, 's', 'anna')", "outbox.sender: not an address"),
    (f"(recipients) VALUES ({TO})", "outbox.body: the letter is empty"),
    (f"(recipients, subject, body) VALUES ({TO}, '', '')", "outbox.body: the letter is empty"),
    (f"(recipients, raw, body) VALUES ({TO}, 'Subject: x', 'b')", "outbox.raw: a complete message leaves no room"),
    (f"(recipients, raw, subject) VALUES ({TO}, 'Subject: x', 's')", "outbox.raw: a complete message leaves no room"),
    (f"(recipients, raw) VALUES ({TO}, '')", "outbox.raw: an empty message"),
    (f"(recipients, subject, status) VALUES ({TO}, 's', 'sent')", "outbox.status: a new row is queued or held"),
    (f"(recipients, subject, on_doubt) VALUES ({TO}, 's', 'maybe')", "outbox.on_doubt: takes retry or hold"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{X: 1}}')", "outbox.headers: not JSON"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '')", "outbox.headers: not JSON"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '[1]')", "outbox.headers: a JSON object"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', 'null')", "outbox.headers: a JSON object"),
    (
        f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"X\": 1}}')",
        "outbox.headers: each value must be a JSON string",
    ),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"X Y\": \"1\"}}')", "outbox.headers: a field name"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"X:\": \"1\"}}')", "outbox.headers: a field name"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"Ü\": \"1\"}}')", "outbox.headers: a field name"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"X\": \"a\\nBcc: b\"}}')", "outbox.headers: line breaks"),
    (f"(recipients, subject, headers) VALUES ({TO}, 's', '{{\"X\": \"a\\u0000b\"}}')", "outbox.headers: line breaks"),
    (f"(recipients, subject, status) VALUES ({TO}, 's', NULL)", "outbox.status: a new row is queued or held"),
    (f"(recipients, subject, account) VALUES ({TO}, 's', '')", "outbox.account: an empty name"),
    (f"(recipients, subject, priority) VALUES ({TO}, 's', NULL)", "outbox.priority: a whole number"),
    (f"(recipients, subject, idempotency_key) VALUES ({TO}, 's', '')", "outbox.idempotency_key: an empty key"),
    (
        f"(recipients, subject, send_after, expires_at) VALUES ({TO}, 's', '2999-01-02', '2999-01-01T23:00:00+00:00')",
        "outbox.expires_at: must be later than send_after",
    ),
    (
        f"(recipients, subject, idempotency_key) VALUES ({TO}, 's', '{'k' * 501}')",
        "outbox.idempotency_key: at most 500",
    ),
]
BAD_TIMES = [
    *("", "soon", "now", "tomorrow", "infinity", "12:00", "1700000000", "2460000.5", "20990101"),
    *("2999-13-01", "2999-02-29", "0000-00-00 00:00:00", "2999-01-02 24:00", "2999-01-02 23:59:60", "2999-01-02 3:04"),
    *("2999-01-02T", "2999-01-02Z", "2999-01-02 03:04.5", "2999-01-02 03:04:05.", "2999-01-02 03:04:05 CET"),
    *("2999-01-02 03:04+15:00", "2999-01-02 03:04+01:60", "1066-10-14", "1970-01-01 00:00+01:00", "9999-12-31"),
]


def _spelled(values: str, request: pytest.FixtureRequest) -> str:
    """PostgreSQL calls char(10) chr(10)."""
    name = "chr" if "psql" in request.node.name else "char"
    for code in (10, 13, 127):
        values = values.replace(f"char_{code}", f"{name}({code})")
    return values


@pytest.mark.parametrize(
    ("values", "sentence"), BAD, ids=[f"{n}-{sentence.split(':')[0]}" for n, (_, sentence) in enumerate(BAD)]
)
def test_bad_rows_are_refused_with_a_sentence(
    refusing_door: Door, request: pytest.FixtureRequest, values: str, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        refusing_door(_spelled(f"INSERT INTO outbox {values}", request))
    assert ["0"] == refusing_door("SELECT count(*) FROM outbox")


@pytest.mark.parametrize("column", ["send_after", "expires_at"])
def test_bad_times_are_refused_by_the_same_sentence(database: Database, column: str) -> None:
    insert = text(f"INSERT INTO outbox (recipients, subject, {column}) VALUES ('b@example.net', 's', :time)")
    for time in BAD_TIMES:
        with pytest.raises(errors.RowRefused, match=f"outbox.{column}: not a time"), database.transaction() as tx:
            tx.execute(insert, {"time": time})


@pytest.mark.parametrize(
    ("values", "said"), [("'nul' || char(0) || 'x', NULL", "subject"), ("'s', 'nul' || char(0) || 'x'", "body")]
)
def test_nul_is_refused_on_sqlite(sqlite_url: str, values: str, said: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    with pytest.raises(sqlite3.IntegrityError, match=f"outbox.{said}"):
        connection.execute(f"INSERT INTO outbox (recipients, subject, body) VALUES ({TO}, {values})")
    with pytest.raises(sqlite3.IntegrityError, match=r"outbox.raw: octets or text"):
        connection.execute(f"INSERT INTO outbox (recipients, raw) VALUES ({TO}, 1)")
    connection.close()


BAD_ATTACHMENTS = [
    ("(outbox_id, filename, content) VALUES (99, 'a.txt', 'x')", "outbox_attachments.outbox_id: there is no such row"),
    ("(outbox_id, filename, content) VALUES (2, 'a.txt', 'x')", "outbox_attachments.outbox_id: that row is on its way"),
    (
        "(outbox_id, filename, content) VALUES (3, 'a.txt', 'x')",
        "outbox_attachments.outbox_id: that row is a raw message",
    ),
    ("(outbox_id, filename, content) VALUES (1, '', 'x')", "outbox_attachments.filename: a name is needed"),
    (
        "(outbox_id, filename, content) VALUES (1, '../etc/x', 'x')",
        "outbox_attachments.filename: a name without slashes",
    ),
    ("(outbox_id, filename, content) VALUES (1, 'c:\\x', 'x')", "outbox_attachments.filename: a name without slashes"),
    ("(outbox_id, filename, content) VALUES (1, 'a' || char_10, 'x')", "outbox_attachments.filename: line breaks"),
    ("(outbox_id, filename, content) VALUES (1, 'a.txt', NULL)", "outbox_attachments.content: content is needed"),
    (
        "(outbox_id, filename, content, content_type) VALUES (1, 'a', 'x', 'pdf')",
        "outbox_attachments.content_type: a type",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), BAD_ATTACHMENTS)
def test_bad_attachments_are_refused_with_a_sentence(
    door: Door, request: pytest.FixtureRequest, values: str, sentence: str
) -> None:
    door(
        f"INSERT INTO outbox (recipients, subject) VALUES ({TO}, 's');\n"
        f"INSERT INTO outbox (recipients, subject) VALUES ({TO}, 's');\n"
        f"INSERT INTO outbox (recipients, raw) VALUES ({TO}, 'Subject: x');\n"
        "UPDATE outbox SET status = 'sent' WHERE id = 2"
    )
    with pytest.raises(Refused, match=sentence):
        door(_spelled(f"INSERT INTO outbox_attachments {values}", request))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("recipients = ''", "outbox.recipients"),
        ("subject = NULL", "outbox.body: the letter is empty"),
        ("status = 'done'", "status"),
        ("headers = '1'", "outbox.headers"),
        ("on_doubt = 'x'", "outbox.on_doubt"),
        ("send_after = '1066-10-14'", "outbox.send_after"),
    ],
)
def test_updates_are_held_to_the_same_rules(door: Door, change: str, sentence: str) -> None:
    door(f"INSERT INTO outbox (recipients, subject) VALUES ({TO}, 's')")
    with pytest.raises(Refused, match=sentence):
        door(f"UPDATE outbox SET {change}")


def test_a_letter_that_was_sent_cannot_be_changed(door: Door) -> None:
    door(f"INSERT INTO outbox (recipients, subject) VALUES ({TO}, 's');\nUPDATE outbox SET status = 'sent'")
    with pytest.raises(Refused, match="sent, so its letter can't be changed"):
        door("UPDATE outbox SET subject = 'other'")
    door("UPDATE outbox SET priority = 3, subject = 's'")


def test_an_idempotency_key_is_taken_once(door: Door) -> None:
    insert = f"INSERT INTO outbox (recipients, subject, idempotency_key) VALUES ({TO}, 's', 'k')"
    door(insert)
    with pytest.raises(Refused, match="idempotency_key"):
        door(insert)


def test_a_command_line_without_patience_finds_the_way_free(sqlite_url: str) -> None:
    """The sqlite3 command does not wait for a lock: reading must never hold it up."""
    require_server("the sqlite3 command", present=SQLITE_CLI is not None)
    database = Database(sqlite_url)
    with database.reading() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM outbox")
        insert = f"INSERT INTO outbox (recipients, subject) VALUES ({TO}, 's')"
        _command([str(SQLITE_CLI), sqlite_url.removeprefix("sqlite:///")], insert)
    database.dispose()
