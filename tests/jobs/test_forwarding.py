"""What comes in is sent on: which messages, once each, octet for octet; and what is not, with the reason in its row."""

import hashlib
import tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import text

from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain, index, match
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.jobs.step import Step
from daemon.mail.account import Account, First, Smtp
from daemon.store import archive, prune
from daemon.store.database import Database
from tests.doubles import house
from tests.doubles.kills import Killed

TARGET = "anna@elsewhere.example"


def account(pop3: Pop3Server, smtp: SmtpServer | None = None, *, forward: str | None = TARGET, **more: Any) -> Account:
    relay = None if smtp is None else Smtp(endpoint=house.endpoint(smtp.port))
    return replace(house.fetching(pop3.port, **more), smtp=relay, forward=forward)


def letter(number: int, came: datetime | None = None, body: bytes = b"Hello.\r\n") -> bytes:
    stamp = "" if came is None else f"Received: by mx.example.org; {format_datetime(came)}\r\n"
    head = f"{stamp}From: bob@example.net\r\nSubject: {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\n"
    return head.encode() + body


def forwarded(database: Database) -> list[str]:
    """The subjects of the messages that rows of the outbox forward, in the order of the rows."""
    query = "SELECT s.content FROM outbox o JOIN message_sources s ON s.message = o.forwards ORDER BY o.id"
    with database.reading() as conn:
        sources = conn.execute(text(query)).scalars()
        return [bytes(one).split(b"Subject: ")[1].split(b"\r\n")[0].decode() for one in sources]


def one(database: Database, columns: str) -> tuple[object, ...]:
    with database.reading() as conn:
        return tuple(conn.execute(text(f"SELECT {columns} FROM outbox")).one())


@pytest.fixture
def met(context: Context, pop3_server: Pop3Server, clock: house.Clock) -> Context:
    """A house that has visited the empty maildrop before."""
    poll(account(pop3_server), context)
    clock.forward(minutes=5)
    return context


def test_a_new_message_goes_on_as_it_came(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    source = letter(1, body=b"8-bit: \xff\xc3\xa4\r\n.\r\n..dots\r\n")
    maildrop.add(source)
    home = account(pop3_server, smtp_server)
    poll(home, met)
    assert 1 == drain.drain(home, met).sent
    (got,) = smtp_server.received
    assert ("anna@example.org", (TARGET,)) == (got.sender, got.recipients)
    head, body = got.content[: -len(source)], got.content[-len(source) :]
    assert source == body
    names = [line.partition(b":")[0] for line in head.splitlines()]
    assert [b"Resent-Date", b"Resent-From", b"Resent-To", b"Resent-Message-ID"] == names
    status, message_id = one(met.database, "status, message_id")
    assert "sent" == status
    assert f"Resent-Message-ID: <{message_id}>\r\n".encode() in head


def test_the_backlog_of_the_first_visit_stays_where_it_is(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop, clock: house.Clock
) -> None:
    """However many visits the first contact takes; what comes meanwhile is sent on."""
    began = clock()
    home = account(pop3_server, max_messages_per_poll=2)
    for number in range(4):
        maildrop.add(letter(number, began - timedelta(days=1)))
    maildrop.add(letter(4))
    poll(home, context)
    clock.forward(minutes=10)
    maildrop.add(letter(5, began + timedelta(minutes=1)))
    maildrop.add(letter(6))
    for _ in range(3):
        poll(home, context)
    assert 7 == len(hashes(context.database))
    assert ["4", "5", "6"] == forwarded(context.database), "4 says nothing of when it came, and was met later"


def hashes(database: Database) -> list[str]:
    with database.reading() as conn:
        return list(conn.execute(text("SELECT sha256 FROM messages")).scalars())


def test_what_does_not_say_when_it_came_was_there_at_the_first_visit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(letter(1))
    poll(account(pop3_server), context)
    assert [] == forwarded(context.database)


def test_switched_on_later_it_begins_with_what_comes_then(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(letter(1))
    poll(account(pop3_server, forward=None), context)
    maildrop.add(letter(2))
    poll(account(pop3_server), context)
    assert ["2"] == forwarded(context.database)


def test_content_that_is_known_is_not_sent_on_again(met: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    for uidl in ("a", "b"):
        maildrop.add(letter(1), uidl)
    poll(account(pop3_server), met)
    maildrop.add(letter(1), "c")
    poll(account(pop3_server), met)
    assert ["1"] == forwarded(met.database)


def test_marking_as_seen_sends_nothing_on(met: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    maildrop.add(letter(1))
    poll(account(pop3_server), met, mark_seen=True)
    assert [] == forwarded(met.database)


def test_what_the_first_visit_left_out_is_not_made_up_for(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(letter(1))
    home = account(pop3_server, first=First(kind="new"))
    poll(home, context)
    maildrop.add(letter(2))
    poll(home, context)
    assert ["2"] == forwarded(context.database)


def test_a_message_known_by_its_header_goes_on_when_it_is_whole(
    met: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(letter(1, body=b"x" * 2000 + b"\r\n"), "u1")
    home = account(pop3_server, max_message_octets=1000, oversize="headers")
    poll(home, met)
    assert [] == forwarded(met.database)
    poll(home, met, uidls=frozenset({"u1"}))
    assert ["1"] == forwarded(met.database)


@pytest.mark.parametrize("step", list(Step))
def test_killed_at_any_step_a_message_is_sent_on_once(
    met: Context, pop3_server: Pop3Server, maildrop: Maildrop, step: Step
) -> None:
    """The row is put in by the transaction that archives the message: there are both or none."""
    maildrop.add(letter(1))
    maildrop.add(letter(2))

    def kill(reached: object, **_facts: object) -> None:
        if reached == step:
            raise Killed

    home = account(pop3_server, delete=house.AFTER_FETCH)
    with pytest.raises(Killed):
        poll(home, replace(met, step=kill, owner="dead:0:0"))
    with met.database.transaction() as tx:
        assert len(list(tx.execute(text("SELECT id FROM messages")))) == len(
            list(tx.execute(text("SELECT 1 FROM outbox")))
        )
        tx.execute(text("UPDATE accounts SET lease_until = NULL, lease_owner = NULL"))
    poll(home, met)
    assert ["1", "2"] == forwarded(met.database)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (f"Delivered-To: {TARGET}\r\n", "Delivered-To"),
        ("Received: by x\r\n" * 101, "more than 100"),
        ("Return-Path: <>\r\nContent-Type: multipart/report\r\nX-Failed: " + TARGET + "\r\n", "a report about mail to"),
    ],
)
def test_a_circle_ends_in_a_row_that_says_so(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop, fields: str, reason: str
) -> None:
    maildrop.add(fields.encode() + letter(1))
    home = account(pop3_server, smtp_server)
    poll(home, met)
    assert 1 == drain.drain(home, met).failed
    assert [] == smtp_server.received
    status, last_error = one(met.database, "status, last_error")
    assert "failed" == status
    assert reason in str(last_error)
    assert str(last_error).startswith("forwards: not sent on, it would go in a circle: ")


def test_a_forward_that_comes_back_ends_there(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    """The target sends everything back, and its relay answers with bounces: nothing is sent a second time."""
    maildrop.add(letter(1))
    home = account(pop3_server, smtp_server)
    poll(home, met)
    drain.drain(home, met)
    (sent,) = smtp_server.received
    maildrop.add(b"Received: by elsewhere.example\r\n" + sent.content)
    bounce = b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\n\r\nSorry.\r\n\r\n" + sent.content
    maildrop.add(bounce)
    poll(home, met)
    result = drain.drain(home, met)
    assert (0, 2) == (result.sent, result.failed)
    assert 1 == len(smtp_server.received)


def test_a_bounce_of_what_was_sent_on_is_written_into_its_row(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    """And into no other: the letter that came was one of this house's own."""
    home = account(pop3_server, smtp_server)
    with met.database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, body, account) VALUES ('anna@example.org', 'x', 'home')"))
    drain.drain(home, met)
    maildrop.add(smtp_server.received[0].content)
    poll(home, met)
    drain.drain(home, met)
    sent = smtp_server.received[1]
    assert (TARGET,) == sent.recipients
    maildrop.add(
        b'Return-Path: <>\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n'
        b"\r\n--b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        b"Final-Recipient: rfc822; " + TARGET.encode() + b"\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + sent.content.split(b"\r\n\r\n")[0] + b"\r\n\r\n--b--\r\n"
    )
    poll(home, met)
    index.index(met.database, now=met.clock, stop=met.stop, progress=met.pulse)
    match.match(met, [home])
    with met.database.reading() as conn:
        rows = conn.execute(text("SELECT address, status FROM outbox_recipients ORDER BY outbox_id")).all()
    assert [("anna@example.org", "sent"), (TARGET, "bounced")] == [tuple(row) for row in rows]
    assert 1 == drain.drain(home, met).failed, "nor is the bounce sent on"


def test_a_letter_that_this_house_sent_there_is_not_sent_there_again(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    home = account(pop3_server, smtp_server)
    with met.database.transaction() as tx:
        tx.execute(
            text("INSERT INTO outbox (recipients, cc, body) VALUES (:to, 'anna@example.org', 'x')"), {"to": TARGET}
        )
        tx.execute(text("UPDATE outbox SET account = 'home'"))
    drain.drain(home, met)
    maildrop.add(smtp_server.received[0].content)
    poll(home, met)
    assert 1 == drain.drain(home, met).failed


def test_any_program_may_send_an_archived_message_on(met: Context, smtp_server: SmtpServer) -> None:
    """From where the row says, to whom it says; a source of bare line ends leaves as mail has to."""
    from daemon.wire.spool import Spool

    source = letter(1).replace(b"\r\n", b"\n")
    with met.database.transaction() as tx:
        spool = Spool.of(source)
        (filed,) = archive.add(tx, "home", [archive.Incoming(uidl="u", spool=spool)], met.clock())
        row = "INSERT INTO outbox (recipients, bcc, sender, account, forwards) VALUES ('bob@x.example', 'c@x.example', 'Ann <a@example.org>', 'home', :id)"
        tx.execute(text(row), {"id": filed.message})
    drain.drain(house.sending(smtp_server.port), met)
    (got,) = smtp_server.received
    assert ("a@example.org", ("bob@x.example", "c@x.example")) == (got.sender, got.recipients)
    assert got.content.endswith(b"\r\n" + letter(1))
    assert b"Resent-From: Ann <a@example.org>\r\nResent-To: bob@x.example\r\n" in got.content
    assert b"c@x.example" not in got.content


def test_a_row_whose_message_was_pruned_says_so(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    maildrop.add(letter(1))
    home = account(pop3_server, smtp_server)
    poll(home, met)
    with met.database.transaction() as tx:
        prune.prune(tx, archive.ids(tx, limit=10), before=met.clock() + timedelta(days=1))
    assert 1 == drain.drain(home, met).failed
    status, last_error = one(met.database, "status, last_error")
    assert "failed" == status
    assert "gone: the message that it forwards" in str(last_error)


def test_a_message_of_many_parts_goes_on_whole_in_bounded_memory(
    met: Context, pop3_server: Pop3Server, smtp_server: SmtpServer, maildrop: Maildrop
) -> None:
    source = letter(1, body=(b"\xe4" * 76 + b"\r\n") * 120_000)
    maildrop.add(source)
    home = account(pop3_server, smtp_server)
    poll(home, met)
    expected = hashlib.sha256(source).digest()
    maildrop.messages.clear()
    tracemalloc.start()
    try:
        assert 1 == drain.drain(home, met).sent
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected == hashlib.sha256(smtp_server.received[0].content[-len(source) :]).digest()
    assert peak < 9 * len(source), "the relay's side, in this process too, takes its share"
