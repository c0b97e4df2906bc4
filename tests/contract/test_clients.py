"""The outbox in plain SQL from every language on this machine, on both databases: the same rows, defaults and refusals.

One table of statements (STATEMENTS), one table of clients (clients.py); the statements run in order on one database each.
"""

import threading

import pytest

from tests.contract.clients import CLIENTS, Client, Place, Refused, Rows, Statement, Value

PAIRS = [
    pytest.param(client, kind, id=f"{client.name}-{kind}", marks=[pytest.mark.servers] if kind == "postgresql" else [])
    for client in CLIENTS
    for kind in client.kinds
]

BOB = "Bob <bob@example.net>"
LETTER = "INSERT INTO outbox (recipients, subject, body) VALUES (?, ?, ?)"
KEYED = "INSERT INTO outbox (recipients, subject, idempotency_key) VALUES (?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING"
UNNAMED = KEYED.replace(" (idempotency_key) DO", " DO")
BODY = 'Grüße 🎻\r\nfrom Windows\r\n.\r\nit\'s \\n not "a" line ? end\r\n'
LONG = "a long line, " * 7_000
OCTETS = b"Subject: x\r\n\r\nC:\\temp\\101 \xff\xfe\x00\r\n"
TIMES = [
    ("2999-01-02 03:04:05", "2999-01-02T03:04:05.000Z"),
    ("2999-01-02T03:04:05Z", "2999-01-02T03:04:05.000Z"),
    ("2999-01-02T03:04:05.678+01:00", "2999-01-02T02:04:05.678Z"),
    ("2999-01-02 03:04:05.678901+00", "2999-01-02T03:04:05.678Z"),
    ("2999-01-02", "2999-01-02T00:00:00.000Z"),
]

DELAYED: list[tuple[str, tuple[Value, ...], Rows | str]] = [
    (
        "INSERT INTO outbox (recipients, subject, send_after) VALUES (?, ?, ?) RETURNING subject",
        (BOB, "s", given),
        [("s",)],
    )
    for given, _ in TIMES
]

# What is said, with which parameters, and what comes back: rows, or the sentence of the refusal.
STATEMENTS: list[tuple[str, tuple[Value, ...], Rows | str]] = [
    (LETTER, (BOB, "Grüße 🎻", BODY), []),
    (
        ("SELECT id, recipients, body, status, priority, attempts, on_doubt, cc, html, headers, send_after, sent_at, last_error,"
        " message_id, CASE WHEN next_attempt_at <= created_at THEN 'due' END FROM outbox WHERE subject = ?"),
        ("Grüße 🎻",),
        [("1", BOB, BODY, "queued", "0", "0", "retry", None, None, None, None, None, None, None, "due")],
    ),
    (
        ("INSERT INTO outbox (recipients, cc, bcc, sender, reply_to, account, subject, body, html, headers, expires_at, priority,"
        " idempotency_key, on_doubt, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING subject, priority"),
        (BOB, "c@example.net", "", None, "Anna <anna@example.org>", "home", "all", "", "<p>Hi</p>", '{"X-Ticket": "42 — ü"}',
         "2999-01-01 10:00", 5, "all", "hold", "held"),
        [("all", "5")],
    ),
    (
        ("SELECT cc, bcc, sender, reply_to, account, body, html, headers, expires_at, priority, on_doubt, status, next_attempt_at"
        " FROM outbox WHERE idempotency_key = ?"),
        ("all",),
        [("c@example.net", "", None, "Anna <anna@example.org>", "home", "", "<p>Hi</p>", '{"X-Ticket": "42 — ü"}',
          "2999-01-01T10:00:00.000Z", "5", "hold", "held", None)],
    ),
    (LETTER, (BOB, "long", LONG), []),
    ("SELECT body FROM outbox WHERE subject = ?", ("long",), [(LONG,)]),
    # Octets are octets, backslashes and all, whatever the driver calls them.
    ("INSERT INTO outbox (recipients, raw) VALUES (?, ?)", (BOB, OCTETS), []),
    ("SELECT count(*), max(length(raw)) FROM outbox WHERE raw = ?", (OCTETS,), [("1", str(len(OCTETS)))]),
    (
        "INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES ((SELECT id FROM outbox WHERE subject = 'all'), ?, ?)",
        ("März.bin", OCTETS),
        [],
    ),
    (
        "SELECT filename, content_type, content_id FROM outbox_attachments WHERE content = ?",
        (OCTETS,),
        [("März.bin", "application/octet-stream", None)],
    ),
    # The first verdict is found, however long ago it came.
    (KEYED, (BOB, "first", "invoice-7"), []),
    (KEYED, (BOB, "second", "invoice-7"), []),
    ("UPDATE outbox SET status = 'sent' WHERE idempotency_key = ?", ("invoice-7",), []),
    (UNNAMED, (BOB, "third", "invoice-7"), []),
    ("SELECT subject, status FROM outbox WHERE idempotency_key = ?", ("invoice-7",), [("first", "sent")]),
    # Rows are taken back, and let go.
    ("UPDATE outbox SET status = 'cancelled' WHERE subject = ?", ("long",), []),
    ("SELECT status, next_attempt_at FROM outbox WHERE subject = ?", ("long",), [("cancelled", None)]),
    *DELAYED,
    ("SELECT send_after FROM outbox WHERE send_after IS NOT NULL ORDER BY id", (), [(kept,) for _, kept in TIMES]),
    # Refused, with the column and the reason.
    (LETTER, (None, "s", "b"), "outbox.recipients: at least one address is needed, like anna@example.org"),
    (LETTER, ("nobody", "s", "b"), "outbox.recipients: at least one address is needed, like anna@example.org"),
    (LETTER, (f"{BOB}\nBcc: eve@example.com", "s", "b"),
     "outbox.recipients: line breaks, tabs and other control characters are not allowed here"),
    (LETTER, (BOB, "s\r\nBcc: eve@example.com", "b"),
     "outbox.subject: line breaks, tabs and other control characters are not allowed here"),
    (LETTER, (BOB, "", None), "outbox.body: the letter is empty; give subject, body, html, raw or forwards"),
    ("INSERT INTO outbox (recipients, raw, subject) VALUES (?, ?, ?)", (BOB, OCTETS, "s"),
     "outbox.raw: a complete message leaves no room for subject, body, html, headers or reply_to; give either"),
    ("INSERT INTO outbox (recipients, raw) VALUES (?, ?)", (BOB, b""), "outbox.raw: an empty message can't be sent"),
    ("INSERT INTO outbox (recipients, subject, headers) VALUES (?, 's', ?)", (BOB, "{X: 1}"),
     'outbox.headers: not JSON; an object of strings is needed, like {"X-Ticket": "42"}'),
    ("INSERT INTO outbox (recipients, subject, headers) VALUES (?, 's', ?)", (BOB, '{"X": "a\\r\\nBcc: eve@example.com"}'),
     "outbox.headers: line breaks, tabs and other control characters are not allowed in a value"),
    *[
        (f"INSERT INTO outbox (recipients, subject, {column}) VALUES (?, 's', ?)", (BOB, given),
         f"outbox.{column}: not a time from 1970 to 9999; write it like 2026-11-23T10:00:00Z, or with +01:00 at its end")
        for column, given in [("send_after", "tomorrow"), ("expires_at", "2999-02-29"), ("send_after", "")]
    ],
    (KEYED, (BOB, "s", ""), "outbox.idempotency_key: an empty key is no key; leave it out, or give NULL"),
    ("INSERT INTO outbox (recipients, subject, priority) VALUES (?, 's', ?)", (BOB, None),
     "outbox.priority: a whole number is needed; leave it out for 0"),
    ("INSERT INTO outbox (recipients, subject, status) VALUES (?, 's', ?)", (BOB, "sent"),
     "outbox.status: a new row is queued or held"),
    ("INSERT INTO outbox (recipients, subject, on_doubt) VALUES (?, 's', ?)", (BOB, "maybe"),
     "outbox.on_doubt: takes retry or hold"),
    ("UPDATE outbox SET subject = ? WHERE idempotency_key = 'invoice-7'", ("other",),
     "outbox.status: this row is being sent or was sent, so its letter can't be changed; insert a new row"),
    ("INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES (?, ?, ?)", (1, "a/b", b"x"),
     "outbox_attachments.filename: a name without slashes is needed"),
    ("INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES (?, ?, ?)", (999, "a", b"x"),
     "outbox_attachments.outbox_id: there is no such row in outbox"),
    # And nothing of what was refused is there.
    ("SELECT count(*) FROM outbox", (), [(str(5 + len(TIMES)),)]),
]  # fmt: skip


def place_of(url: str) -> Place:
    if url.startswith("sqlite"):
        return Place("sqlite", url.removeprefix("sqlite:///"))
    name, _, directory = url.partition("?host=")
    return Place("postgresql", directory, name.rpartition("/")[2])


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str) -> Place:
    return place_of(request.getfixturevalue(f"{kind}_url"))


@pytest.mark.parametrize(("client", "kind"), PAIRS)
def test_every_client_is_told_the_same(client: Client, place: Place) -> None:
    client.ensure_present()
    heard = client.run(place, [(sql, parameters) for sql, parameters, _ in STATEMENTS])
    for (sql, _, expected), answer in zip(STATEMENTS, heard, strict=True):
        if isinstance(expected, str):
            assert isinstance(answer, Refused), sql
            assert expected in answer
        else:
            assert expected == answer, sql


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def test_a_key_makes_one_row_when_all_clients_come_at_once(kind: str, place: Place) -> None:
    """Each of them with the same twenty keys."""
    clients = [client for client in CLIENTS if kind in client.kinds and not client.is_optional]
    for client in clients:
        client.ensure_present()
    keys: list[Statement] = [(KEYED, (BOB, "s", f"key {number}")) for number in range(20)]
    heard: list[list[Rows | Refused]] = []
    threads = [threading.Thread(target=lambda one: heard.append(one.run(place, keys)), args=(one,)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[[]] * 20] * len(clients) == heard
    count: Statement = ("SELECT count(*), count(DISTINCT idempotency_key) FROM outbox", ())
    assert [[("20", "20")]] == clients[0].run(place, [count])
