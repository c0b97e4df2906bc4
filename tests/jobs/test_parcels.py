"""What leaves for a row: as many letters as its recipients need, from which sender, asking for which reports, and to whom not."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from daemon.demo.mta import Mta
from daemon.jobs import drain
from daemon.jobs.context import Context
from daemon.mail import verp
from daemon.mail.account import Account, Quota
from daemon.store import keys, suppression
from tests.doubles import house


def account(server: Mta, **smtp: Any) -> Account:
    plain = house.sending(server.port)
    assert plain.smtp is not None
    return replace(plain, smtp=replace(plain.smtp, **smtp))


def insert(context: Context, recipients: str) -> int:
    statement = "INSERT INTO outbox (recipients, body, account) VALUES (:to, 'Text.', 'home') RETURNING id"
    with context.database.transaction() as tx:
        return int(tx.execute(text(statement), {"to": recipients}).scalar_one())


def status(context: Context, row: int) -> str:
    with context.database.reading() as conn:
        return str(conn.execute(text("SELECT status FROM outbox WHERE id = :id"), {"id": row}).scalar_one())


def verdicts(context: Context, row: int) -> dict[str, tuple[str, str]]:
    statement = text("SELECT address, status, reply FROM outbox_recipients WHERE outbox_id = :id")
    with context.database.reading() as conn:
        return {one.address: (one.status, one.reply or "") for one in conn.execute(statement, {"id": row})}


def many(count: int) -> list[str]:
    return [f"r{number}@example.net" for number in range(count)]


def taken(server: Mta) -> Counter[str]:
    return Counter(to for letter in server.received for to in letter.recipients)


def test_a_row_of_many_recipients_is_several_letters_and_each_recipient_has_a_verdict(context: Context) -> None:
    with Mta(limits={"RCPTMAX": 100}) as server:
        server.on_rcpt = {"r7@example.net": "550 5.1.1 no such user", "r200@example.net": "450 4.2.0 later"}.get
        row = insert(context, ", ".join(many(250)))
        drain.drain(account(server), context)
        assert [99, 100, 49] == [len(letter.recipients) for letter in server.received]
    assert Counter(sent=248, failed=1, deferred=1) == Counter(one for one, _ in verdicts(context, row).values())
    assert "deferred" == status(context, row)
    with context.database.reading() as conn:
        assert [3] == list(conn.execute(text("SELECT letters FROM outbox_attempts")).scalars())


def test_a_budget_counts_letters_not_rows(context: Context) -> None:
    with Mta(limits={"RCPTMAX": 2}) as server:
        home = account(server, budget=(Quota(count=3, period=timedelta(hours=1)),))
        large, small = insert(context, ", ".join(many(6))), insert(context, "bob@example.net")
        drain.drain(home, context)
        assert 3 == len(server.received)
    assert ("sent", "deferred") == (status(context, large), status(context, small))


def test_with_verp_each_recipient_gets_a_letter_from_an_address_that_names_it(context: Context) -> None:
    with Mta() as server:
        row = insert(context, ", ".join(many(3)))
        drain.drain(account(server, verp=True), context)
        assert dict.fromkeys(many(3), 1) == taken(server)
        with context.database.reading() as conn:
            key = keys.return_path(conn)
        assert key is not None
        for letter in server.received:
            marked = verp.read(letter.sender, key)
            assert marked is not None
            assert (row, verp.mark(letter.recipients[0], key)) == (marked.outbox_id, marked.recipient)
    assert "sent" == status(context, row)


@pytest.mark.parametrize("notify", [frozenset({"failure", "delay"}), frozenset({"success"}), frozenset[str]()])
def test_reports_are_asked_for_where_the_relay_can_give_them(context: Context, notify: frozenset[str]) -> None:
    with Mta() as server:
        insert(context, "bob@example.net")
        drain.drain(account(server, notify=notify), context)
        (mail,) = [command for command in server.commands if command.startswith("MAIL")]
        (rcpt,) = [command for command in server.commands if command.startswith("RCPT")]
    assert " RET=HDRS" in mail
    assert " ENVID=" in mail
    asked = rcpt.partition("NOTIFY=")[2].partition(" ")[0].lower()
    assert (notify or {"never"}) == set(asked.split(","))
    assert "ORCPT=rfc822;bob@example.net" in rcpt


def test_a_relay_without_reports_is_not_asked(context: Context) -> None:
    with Mta() as server:
        server.extensions.discard("DSN")
        row = insert(context, "bob@example.net")
        drain.drain(account(server), context)
        assert not any("NOTIFY" in command or "ENVID" in command for command in server.commands)
    assert "sent" == status(context, row)


def test_a_suppressed_recipient_fails_with_the_reason_and_the_others_go(context: Context) -> None:
    with context.database.transaction() as tx:
        suppression.add(tx, ["Bob@Example.NET"], now=context.clock(), reason="asked us to stop")
    with Mta() as server:
        both, alone = insert(context, "bob@example.net, carol@example.net"), insert(context, "bob@example.net")
        drain.drain(account(server), context)
        assert {"carol@example.net": 1} == taken(server)
        assert ("partial", "failed") == (status(context, both), status(context, alone))
        assert ("failed", "suppressed: asked us to stop") == verdicts(context, both)["bob@example.net"]

        with context.database.transaction() as tx:
            suppression.remove(tx, ["bob@example.net"])
            tx.execute(text("UPDATE outbox SET status = 'queued' WHERE id = :id"), {"id": alone})
        drain.drain(account(server), context)
        assert {"carol@example.net": 1, "bob@example.net": 1} == taken(server)


def test_an_lmtp_relay_answers_for_each_recipient(context: Context) -> None:
    with Mta(lmtp=True) as server:
        server.on_final = {"full@example.net": "452 4.2.2 mailbox full"}.get
        row = insert(context, "bob@example.net, full@example.net")
        drain.drain(account(server, protocol="lmtp"), context)
        assert any(command.startswith("LHLO") for command in server.commands)
    found = verdicts(context, row)
    assert ("sent", "deferred") == (found["bob@example.net"][0], found["full@example.net"][0])
    assert "deferred" == status(context, row)
