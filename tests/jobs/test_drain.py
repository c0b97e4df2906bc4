"""A drain against an SMTP server on loopback and a real database: what is sent, and what each row and recipient then says."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes, policy

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.mta import Mta
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain, routing
from daemon.jobs.context import Context
from daemon.jobs.sweep import sweep
from daemon.store.database import Database
from tests.doubles import house
from tests.secrets_used import PASSWORD


def insert(database: Database, **columns: object) -> int:
    values = {"recipients": "bob@example.net", "subject": "Hello", "body": "Text.", "account": "home"} | columns
    names = ", ".join(values)
    with database.transaction() as tx:
        row = tx.execute(
            text(f"INSERT INTO outbox ({names}) VALUES ({', '.join(':' + name for name in values)}) RETURNING id"),
            values,
        )
        return int(row.scalar_one())


def row(database: Database, columns: str, row_id: int) -> tuple[object, ...]:
    with database.reading() as conn:
        return tuple(conn.execute(text(f"SELECT {columns} FROM outbox WHERE id = :id"), {"id": row_id}).one())


def recipients(database: Database, row_id: int) -> dict[str, tuple[object, ...]]:
    statement = text("SELECT address, status, code, enhanced_code FROM outbox_recipients WHERE outbox_id = :id")
    with database.reading() as conn:
        return {address: tuple(rest) for address, *rest in conn.execute(statement, {"id": row_id})}


def send(context: Context, server: SmtpServer) -> drain.Result:
    return drain.drain(house.sending(server.port), context)


def test_a_row_of_three_columns_arrives_and_is_sent(context: Context, smtp_server: SmtpServer) -> None:
    row_id = insert(context.database, subject="Grüße", body="Text äöü\n.\nend")
    result = send(context, smtp_server)
    assert (1, 1) == (result.sent, result.rows)
    (letter,) = smtp_server.received
    assert ("anna@example.org", ("bob@example.net",)) == (letter.sender, letter.recipients)
    mail = message_from_bytes(letter.content, policy=policy.default)
    assert ("Grüße", "anna@example.org", "bob@example.net") == (mail["Subject"], mail["From"], mail["To"])
    assert ["Text äöü", ".", "end"] == mail.get_content().splitlines()
    status, attempts, message_id, sent_at = row(context.database, "status, attempts, message_id, sent_at", row_id)
    assert ("sent", 1, mail["Message-ID"]) == (status, attempts, f"<{message_id}>")
    assert sent_at is not None
    assert {"bob@example.net": ("sent", 250, "2.0.0")} == recipients(context.database, row_id)


def test_each_recipient_gets_its_own_verdict(context: Context, clock: house.Clock, smtp_server: SmtpServer) -> None:
    replies = {"no@example.net": "550 5.1.1 no such user", "later@example.net": "451 4.7.1 greylisted"}
    smtp_server.on_rcpt = replies.get
    row_id = insert(context.database, recipients="bob@example.net, no@example.net", cc="later@example.net")
    send(context, smtp_server)
    assert {
        "bob@example.net": ("sent", 250, "2.0.0"),
        "no@example.net": ("failed", 550, "5.1.1"),
        "later@example.net": ("deferred", 451, "4.7.1"),
    } == recipients(context.database, row_id)
    assert ("deferred",) == row(context.database, "status", row_id)

    del replies["later@example.net"]
    assert 0 == send(context, smtp_server).rows, "not before its time"
    clock.forward(minutes=1)
    send(context, smtp_server)
    assert [("bob@example.net",), ("later@example.net",)] == [letter.recipients for letter in smtp_server.received]
    assert smtp_server.received[0].content == smtp_server.received[1].content
    assert ("partial", 2) == row(context.database, "status, attempts", row_id)


def test_bcc_is_in_the_envelope_and_not_in_the_letter(context: Context, smtp_server: SmtpServer) -> None:
    insert(context.database, bcc="secret@example.net")
    send(context, smtp_server)
    (letter,) = smtp_server.received
    assert ("bob@example.net", "secret@example.net") == letter.recipients
    assert b"secret@example.net" not in letter.content


def test_a_bad_row_fails_with_its_reason_and_the_others_go(context: Context, smtp_server: SmtpServer) -> None:
    bad = insert(context.database, recipients="this is @ not an address, at all@")
    good = insert(context.database)
    send(context, smtp_server)
    status, last_error = row(context.database, "status, last_error", bad)
    assert "failed" == status
    assert str(last_error).startswith("recipients: ")
    assert ("sent",) == row(context.database, "status", good)


def test_attachments_go_with_their_row(context: Context, smtp_server: SmtpServer) -> None:
    row_id = insert(context.database, html="<p>Hi</p>")
    with context.database.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO outbox_attachments (outbox_id, filename, content_type, content) "
                "VALUES (:id, 'März.pdf', 'application/pdf', :content)"
            ),
            {"id": row_id, "content": b"%PDF\x00\xff"},
        )
    send(context, smtp_server)
    mail = message_from_bytes(smtp_server.received[0].content, policy=policy.default)
    (attached,) = mail.iter_attachments()
    assert ("März.pdf", b"%PDF\x00\xff") == (attached.get_filename(), attached.get_content())


# --- relays that fail -------------------------------------------------------------------------------------------------

DEFERRING: list[tuple[str, Callable[[SmtpServer], None]]] = [
    ("421 at the greeting", lambda s: s.answers.update(CONNECT=Answer(octets=b"421 4.3.2 busy\r\n", then=Then.CLOSE))),
    ("cut at EHLO", lambda s: s.answers.update(EHLO=Answer(octets=b"", then=Then.RESET))),
    ("cut at MAIL", lambda s: s.answers.update(MAIL=Answer(octets=b"", then=Then.RESET))),
    ("4xx at MAIL", lambda s: s.answers.update(MAIL=Answer(octets=b"451 4.3.0 try later\r\n"))),
    ("4xx at RCPT", lambda s: s.answers.update(RCPT=Answer(octets=b"450 4.2.0 greylisted\r\n"))),
    ("421 at RCPT", lambda s: s.answers.update(RCPT=Answer(octets=b"421 4.3.2 closing\r\n", then=Then.CLOSE))),
    ("4xx at DATA", lambda s: s.answers.update(DATA=Answer(octets=b"451 4.3.0 no room\r\n"))),
    ("cut in the content", lambda s: s.answers.update(CONTENT=Answer(octets=b"", then=Then.RESET))),
    ("4xx at the final dot", lambda s: s.answers.update({".": Answer(octets=b"452 4.3.1 no room\r\n")})),
]


@pytest.mark.parametrize("misbehave", [fault for _, fault in DEFERRING], ids=[name for name, _ in DEFERRING])
def test_a_transient_fault_defers_and_the_letter_arrives_once_later(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, misbehave: Callable[[SmtpServer], None]
) -> None:
    misbehave(smtp_server)
    # Large where the content is cut, so that we feel it before the final dot leaves: after it, it would be a doubt.
    row_id = insert(context.database, body="line of text\n" * (400_000 if "CONTENT" in smtp_server.answers else 1))
    send(context, smtp_server)
    status, next_attempt_at, last_error = row(context.database, "status, next_attempt_at, last_error", row_id)
    assert "deferred" == status
    assert next_attempt_at is not None
    assert last_error
    assert [] == smtp_server.received

    smtp_server.answers.clear()
    clock.forward(hours=5)
    send(context, smtp_server)
    assert ("sent",) == row(context.database, "status", row_id)
    assert 1 == len(smtp_server.received)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
def test_a_permanent_refusal_fails_the_row_and_keeps_the_reply(
    context: Context, smtp_server: SmtpServer, verb: str
) -> None:
    row_id = insert(context.database)
    smtp_server.answers[verb] = Answer(octets=b"554 5.7.1 not from you\r\n")
    send(context, smtp_server)
    assert ("failed", None) == row(context.database, "status, next_attempt_at", row_id)
    assert {"bob@example.net": ("failed", 554, "5.7.1")} == recipients(context.database, row_id)
    with context.database.reading() as conn:
        reply = conn.execute(text("SELECT reply FROM outbox_recipients")).scalar_one()
    assert "not from you" in reply


@pytest.mark.parametrize(
    ("on_doubt", "next_status", "copies"), [("retry", "sent", 2), ("hold", "in_doubt", 1)], ids=["retry", "hold"]
)
def test_a_cut_after_the_final_dot_is_a_doubt_and_the_row_decides(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, on_doubt: str, next_status: str, copies: int
) -> None:
    row_id = insert(context.database, on_doubt=on_doubt)
    smtp_server.answers["."] = Answer(keep=0, then=Then.RESET)
    assert 1 == send(context, smtp_server).in_doubt
    assert ("in_doubt",) == row(context.database, "status", row_id)
    assert "in_doubt" == recipients(context.database, row_id)["bob@example.net"][0]

    smtp_server.answers.clear()
    clock.forward(hours=5)
    send(context, smtp_server)
    assert (next_status,) == row(context.database, "status", row_id)
    assert copies == len(smtp_server.received)
    assert 1 == len({message_from_bytes(letter.content)["Message-ID"] for letter in smtp_server.received})


def test_a_refused_login_pauses_the_relay_and_bounces_nothing(
    context: Context, clock: house.Clock, smtp_server: SmtpServer
) -> None:
    smtp_server.users["anna"] = "another-password"
    smtp_server.needs_auth = True
    first, second = insert(context.database), insert(context.database)
    account = house.sending(smtp_server.port, login=True)
    result = drain.drain(account, context)
    assert isinstance(result.error, errors.AuthFailed)
    for row_id in (first, second):
        assert ("deferred",) == row(context.database, "status", row_id)
    connections = smtp_server.connections
    drain.drain(account, context)
    assert connections == smtp_server.connections, "a paused relay is left alone"

    smtp_server.users["anna"] = PASSWORD
    clock.forward(hours=5)
    assert 2 == drain.drain(account, context).sent


def test_a_stop_puts_claimed_rows_back_untouched(context: Context, smtp_server: SmtpServer) -> None:
    ids = [insert(context.database) for _ in range(5)]
    context = replace(context, step=lambda name, **_: context.stop.set() if name == "drain.recorded" else None)
    assert 1 == send(context, smtp_server).sent
    states = [row(context.database, "status, attempts", row_id) for row_id in ids]
    assert [("sent", 1), *[("queued", 0)] * 4] == sorted(states, key=lambda state: str(state[0]), reverse=True)


def test_a_stop_between_two_letters_of_a_row_sends_nobody_a_second_one(context: Context, clock: house.Clock) -> None:
    """What went with the first letter is written down; the others of the row wait."""
    with Mta(limits={"RCPTMAX": 2}) as server:
        row_id = insert(context.database, recipients=", ".join(f"r{number}@example.net" for number in range(6)))
        stopping = replace(context, step=lambda name, **_: context.stop.set() if name == "drain.answered" else None)
        send(stopping, server)
        assert ("deferred",) == row(context.database, "status", row_id)
        first = Counter(to for letter in server.received for to in letter.recipients)
        assert {"r0@example.net": 1, "r1@example.net": 1}.items() <= first.items()
        context.stop.clear()
        clock.forward(hours=5)
        send(context, server)
        assert ("sent",) == row(context.database, "status", row_id)
        assert {f"r{number}@example.net": 1 for number in range(6)} == Counter(
            to for letter in server.received for to in letter.recipients
        )


def test_no_transaction_is_open_while_the_socket_is_waited_on(context: Context, smtp_server: SmtpServer) -> None:
    waits = []
    context = replace(context, pulse=lambda: waits.append(context.database.in_transaction()))
    insert(context.database)
    send(context, smtp_server)
    assert waits
    assert not any(waits)


@pytest.mark.parametrize("sleeps_at", ["drain.connected", "drain.prepared"])
def test_a_process_that_slept_past_its_lease_does_not_send_what_another_has_taken(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, sleeps_at: str
) -> None:
    """A laptop that was closed for an hour wakes up in the middle of a drain."""
    row_id = insert(context.database)
    other = replace(context, owner="elsewhere/boot/namespace/1/1")

    def sleep(name: str, **_: object) -> None:
        if name == sleeps_at:
            clock.forward(hours=1)
            sweep(other)
            assert 1 == send(other, smtp_server).sent

    send(replace(context, step=sleep), smtp_server)
    assert 1 == len(smtp_server.received)
    assert ("sent",) == row(context.database, "status", row_id)


# --- which account ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "account"),
    [(None, "home"), ("Anna <anna@work.example>", "work"), ("stranger@elsewhere.example", "home")],
)
def test_a_row_without_account_goes_by_its_sender(context: Context, sender: str | None, account: str) -> None:
    row_id = insert(context.database, account=None, sender=sender)
    senders = {"home": house.sending(1), "work": house.sending(1, name="work", address="anna@work.example")}
    assert 1 == routing.route(context, senders)
    assert (account,) == row(context.database, "account", row_id)


def test_a_row_for_an_unknown_account_waits_and_says_so(context: Context) -> None:
    row_id = insert(context.database, account="nobody")
    routing.route(context, {"home": house.sending(1)})
    status, last_error = row(context.database, "status, last_error", row_id)
    assert "deferred" == status
    assert "nobody" in str(last_error)


def test_an_expired_row_ends_as_expired(context: Context, clock: house.Clock, smtp_server: SmtpServer) -> None:
    smtp_server.answers["RCPT"] = Answer(octets=b"450 4.2.0 greylisted\r\n")
    row_id = insert(context.database)
    send(context, smtp_server)
    clock.forward(days=6)
    sweep(context)
    assert ("expired", None) == row(context.database, "status, next_attempt_at", row_id)
