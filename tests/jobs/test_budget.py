"""Budgets are counted from the attempts in the database, and a row that waits for one says so."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain
from daemon.jobs.context import Context
from daemon.mail.account import Account, Quota
from daemon.store import budget, suppression
from tests.doubles import house

HOURLY = Quota(count=2, period=timedelta(hours=1))
DAILY = Quota(count=3, period=timedelta(days=1))


def account(port: int, quotas: Iterable[Quota]) -> Account:
    plain = house.sending(port)
    assert plain.smtp is not None
    return replace(plain, smtp=replace(plain.smtp, budget=tuple(quotas)))


def drop(context: Context, rows: int) -> None:
    with context.database.transaction() as tx:
        for _ in range(rows):
            tx.execute(text("INSERT INTO outbox (recipients, body, account) VALUES ('bob@example.net', 'x', 'home')"))


def test_no_more_than_the_budget_leaves_and_the_rest_says_until_when(
    context: Context, clock: house.Clock, smtp_server: SmtpServer
) -> None:
    drop(context, 5)
    home = account(smtp_server.port, [HOURLY])
    assert (2, 3) == ((result := drain.drain(home, context)).sent, result.put_back)
    with context.database.reading() as conn:
        waiting = conn.execute(text("SELECT status, last_error FROM outbox WHERE status <> 'sent'")).all()
    assert 3 == len(waiting)
    assert all("budget" in last_error for _status, last_error in waiting)
    assert 0 == drain.drain(home, context).rows
    clock.forward(hours=1, seconds=1)
    assert 2 == drain.drain(home, context).sent
    assert 4 == len(smtp_server.received)


def test_the_tightest_of_several_quotas_counts(context: Context, clock: house.Clock, smtp_server: SmtpServer) -> None:
    drop(context, 5)
    home = account(smtp_server.port, [HOURLY, DAILY])
    drain.drain(home, context)
    clock.forward(hours=1, seconds=1)
    assert 1 == drain.drain(home, context).sent
    with context.database.reading() as conn:
        room = budget.room(conn, "home", [HOURLY, DAILY], clock.now)
    assert 0 == room.letters
    assert clock.now + timedelta(hours=22) < (room.until or clock.now)


def test_a_letter_to_nobody_but_suppressed_recipients_is_in_no_budget(
    context: Context, smtp_server: SmtpServer
) -> None:
    home = account(smtp_server.port, [HOURLY])
    with context.database.transaction() as tx:
        suppression.add(tx, ["bob@example.net"], now=context.clock())
    drop(context, 3)
    with context.database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, body, account) VALUES ('carl@example.net', 'x', 'home')"))
    assert (3, 1, 0) == ((result := drain.drain(home, context)).failed, result.sent, result.put_back)
    with context.database.reading() as conn:
        assert 1 == budget.room(conn, "home", [HOURLY], context.clock()).letters


@pytest.mark.parametrize(("quotas", "letters"), [([], None), ([HOURLY], 2)])
def test_an_unused_budget_has_room(context: Context, quotas: list[Quota], letters: int | None) -> None:
    with context.database.reading() as conn:
        assert budget.Room(letters=letters) == budget.room(conn, "home", quotas, context.clock())
