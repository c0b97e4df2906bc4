"""Relays: which is used, when one is left alone, how long a connection is kept, and what the rows and tables say meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.mta import Mta
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain
from daemon.jobs.breaker import BROKEN_AFTER
from daemon.jobs.connections import KEPT_SECONDS, WIDEST, Pace
from daemon.jobs.context import Context, utc_now
from daemon.jobs.docket import SLICE_SECONDS
from daemon.jobs.sweep import sweep
from daemon.mail.account import Account
from daemon.schedule import Schedule
from daemon.store import accounts, outbox, relays
from tests.doubles import house

BUSY = Answer(octets=b"451 4.3.2 not now\r\n")
PATIENCE_SECONDS = 10.0


def account(*ports: int, name: str = "home", **smtp: Any) -> Account:
    """An account with a relay and those that it falls back to."""
    made = house.sending(ports[0], name=name)
    assert made.smtp is not None
    return replace(made, smtp=replace(made.smtp, fallbacks=tuple(map(house.endpoint, ports[1:])), **smtp))


def drop(context: Context, rows: int = 1, **columns: object) -> None:
    values = {"recipients": "bob@example.net", "body": "x", "account": "home"} | columns
    names = ", ".join(values)
    with context.database.transaction() as tx:
        statement = text(f"INSERT INTO outbox ({names}) VALUES ({', '.join(':' + name for name in values)})")
        tx.execute(statement, [values] * rows)


def rows(context: Context, columns: str = "status, attempts") -> list[tuple[Any, ...]]:
    with context.database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(f"SELECT {columns} FROM outbox ORDER BY id"))]


def standing(context: Context, port: int) -> relays.Standing:
    with context.database.reading() as conn:
        return relays.standings(conn, "home").get(f"127.0.0.1:{port}", relays.Standing())


def paused_until(context: Context) -> datetime | None:
    with context.database.reading() as conn:
        return relays.paused_until(conn, "home")


@pytest.fixture
def down() -> int:
    """A port where nobody listens."""
    with SmtpServer() as server:
        return server.port


@pytest.fixture
def second() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


# --- in their order ---------------------------------------------------------------------------------------------------


def test_where_the_first_is_down_the_second_is_used_at_once(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, down: int
) -> None:
    drop(context, 3)
    home = account(down, smtp_server.port)
    assert (3, 3) == ((result := drain.drain(home, context)).sent, len(smtp_server.received))
    assert 1 == result.put_back, "the one that the first was to be tried with"
    assert [("sent", 1)] * 3 == rows(context)
    assert (1, None) == (standing(context, down).failures, paused_until(context))

    drop(context)
    drain.drain(home, context)
    assert 1 == standing(context, down).failures, "it is paused"
    clock.forward(hours=1)
    with SmtpServer(port=down) as first:
        drop(context, 2)
        assert 2 == drain.drain(home, context).sent
        assert 2 == len(first.received), "preferred again"
        assert relays.Standing() == standing(context, down)
        context.connections.close_idle(float("inf"))


def test_where_all_are_down_rows_wait_until_the_first_pause_ends(
    context: Context, clock: house.Clock, down: int, second: SmtpServer
) -> None:
    second.stop()
    drop(context, 5)
    home = account(down, second.port)
    result = drain.drain(home, replace(context, jitter=iter([0.5, 0.0]).__next__))
    earlier = clock.now + context.backoff.wait(1, 0.0)
    assert isinstance(result.error, errors.Unreachable)
    assert earlier == paused_until(context) == standing(context, second.port).paused_until
    assert [("deferred", 0, earlier)] * 5 == [
        (status, attempts, datetime.fromisoformat(str(at)))
        for status, attempts, at in rows(context, "status, attempts, next_attempt_at")
    ]
    assert all(f":{second.port}: " in error for (error,) in rows(context, "last_error"))

    drop(context)
    assert 1 == drain.drain(home, context).put_back, "what comes later waits with it"
    assert rows(context, "last_error")[0] == rows(context, "last_error")[-1]

    with context.database.transaction() as tx:  # `postroom retry`, `postroom send` and a start do this
        assert 6 == outbox.unpause(tx, "home", earlier, clock.now)
        accounts.end_pauses(tx, "home")
        relays.end_pauses(tx, "home")
    second.start()
    assert 6 == drain.drain(home, context).sent


def test_after_a_pause_one_letter_is_the_probe(context: Context, clock: house.Clock, smtp_server: SmtpServer) -> None:
    drop(context, 60)
    smtp_server.answers["MAIL"] = BUSY
    drain.drain(account(smtp_server.port), context)
    assert BROKEN_AFTER == sum(line.startswith("MAIL") for line in smtp_server.commands)
    clock.forward(minutes=2)
    drain.drain(account(smtp_server.port), context)
    assert BROKEN_AFTER + 1 == sum(line.startswith("MAIL") for line in smtp_server.commands)
    assert 2 == standing(context, smtp_server.port).failures

    smtp_server.answers.clear()
    clock.forward(hours=5)
    assert 60 == drain.drain(account(smtp_server.port), context).sent
    assert relays.Standing() == standing(context, smtp_server.port)


# --- the circuit breaker ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("MAIL", b"451 4.3.2 not now"),
        ("RCPT", b"452 no room"),
        (".", b"452 4.3.1 no room"),
        ("RCPT", b"421 4.7.0 too much of you"),
    ],
)
def test_a_relay_that_puts_off_letter_after_letter_pauses_and_nothing_fails(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, verb: str, reply: bytes
) -> None:
    drop(context, 100)
    then = Then.CLOSE if reply.startswith(b"421") else Then.GO_ON
    smtp_server.answers[verb] = Answer(octets=reply + b"\r\n", then=then)
    result = drain.drain(account(smtp_server.port), context)
    assert isinstance(result.error, errors.RelayRefused)
    assert {"deferred"} == {status for status, _ in rows(context)}
    tried = sum(attempts for _, attempts in rows(context))
    assert BROKEN_AFTER == tried
    waiting = rows(context, "last_error")
    assert 100 - tried == sum("letter after letter" in error for (error,) in waiting)
    assert clock.now + timedelta(minutes=1) == paused_until(context)


def test_letters_that_are_on_their_way_when_a_relay_breaks_are_not_sent_again(
    context: Context, clock: house.Clock
) -> None:
    """What the relay takes behind the letters that it put off is known to be sent."""
    with Mta() as mta:
        context.connections.pace(("home", f"127.0.0.1:{mta.port}")).letters = WIDEST
        drop(context, WIDEST)
        mta.answers["MAIL"] = lambda seen: BUSY if 1 < seen.nth <= 1 + BROKEN_AFTER else None
        assert None is drain.drain(account(mta.port), context).error, "it took the later ones"
        assert 1 < len(mta.received) == sum(status == "sent" for status, _ in rows(context))
        mta.answers.clear()
        clock.forward(hours=5)
        drain.drain(account(mta.port), context)
        assert [("sent",)] * WIDEST == rows(context, "status")
        assert WIDEST == len(mta.received)
        context.connections.close_idle(float("inf"))


def test_greylisting_opens_no_breaker(context: Context, smtp_server: SmtpServer) -> None:
    drop(context, 30)
    smtp_server.on_rcpt = lambda _address: "450 4.7.1 greylisted"
    assert (30, None) == ((result := drain.drain(account(smtp_server.port), context)).deferred, result.error)
    assert [("deferred", 1)] * 30 == rows(context)
    assert relays.Standing() == standing(context, smtp_server.port)


def test_an_extra_connection_that_is_refused_pauses_nothing_and_is_not_tried_again_soon(
    context: Context, smtp_server: SmtpServer
) -> None:
    now = time.monotonic()
    context = replace(context, monotonic=lambda: now)
    home = account(smtp_server.port, max_connections=2)
    pace = context.connections.pace(("home", f"127.0.0.1:{smtp_server.port}"))
    pace.letters = 8
    drop(context, 3)
    smtp_server.answers["CONNECT"] = Answer(octets=b"421 4.7.0 one at a time\r\n", then=Then.CLOSE)
    for _ in range(3):
        assert None is drain.drain(home, context, is_extra=True).error
    assert 1 == smtp_server.connections
    assert [("queued", 0)] * 3 == rows(context)
    assert (relays.Standing(), None, 8) == (
        standing(context, smtp_server.port),
        paused_until(context),
        pace.letters,
    )

    now += drain.ALONE_SECONDS
    smtp_server.answers.clear()
    assert 3 == drain.drain(home, context, is_extra=True).sent


def test_a_fallback_that_failed_once_keeps_no_extra_connection_from_the_first(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, down: int
) -> None:
    home = account(smtp_server.port, down, max_connections=2)
    with context.database.transaction() as tx:
        relays.failed(tx, "home", f"127.0.0.1:{down}", "it was down", clock.now, clock.now)
    drop(context)
    assert 1 == drain.drain(home, context, is_extra=True).sent
    with context.database.transaction() as tx:
        relays.failed(tx, "home", f"127.0.0.1:{smtp_server.port}", "it was down", clock.now, clock.now)
    drop(context)
    assert 0 == drain.drain(home, context, is_extra=True).rows, "an extra one does not probe"


@pytest.mark.parametrize(("eases", "expected"), [(1, 25), (5, 1), (9, 1)])
def test_a_pace_eases_down_to_one(eases: int, expected: int) -> None:
    pace = Pace(letters=WIDEST)
    for _ in range(eases):
        pace.ease()
    assert expected == pace.letters
    pace.slacken()
    pace.ease()
    assert 0 == pace.letters


# --- connections that are kept ----------------------------------------------------------------------------------------


def test_two_drains_need_one_connection_and_none_is_left_at_the_end(context: Context, smtp_server: SmtpServer) -> None:
    now = time.monotonic()
    context = replace(context, monotonic=lambda: now)
    for _ in range(2):
        drop(context)
        assert 1 == drain.drain(account(smtp_server.port), context).sent
    assert (1, 0) == (smtp_server.connections, smtp_server.commands.count("QUIT"))
    context.connections.close_idle(now - KEPT_SECONDS)
    assert 0 == smtp_server.commands.count("QUIT")
    now += KEPT_SECONDS + 1
    context.connections.close_idle(now - KEPT_SECONDS)
    assert 1 == smtp_server.commands.count("QUIT"), "relays log those that hang up"
    smtp_server.drop_all()
    assert 0 == smtp_server.open_connections


def test_a_connection_that_the_relay_closed_meanwhile_is_replaced(context: Context, smtp_server: SmtpServer) -> None:
    home = account(smtp_server.port)
    drop(context)
    drain.drain(home, context)
    smtp_server.drop_all()
    drop(context)
    assert (1, None) == ((result := drain.drain(home, context)).sent, result.error)
    assert (2, None) == (smtp_server.connections, paused_until(context))
    assert [("sent", 1)] * 2 == rows(context)


def test_a_relay_that_takes_so_many_letters_a_connection_is_called_again(context: Context) -> None:
    for limits, answers in ({"MAILMAX": 3}, {}), ({}, {"MAIL": _full}):
        with Mta(limits=limits) as mta:
            mta.answers.update(answers)
            drop(context, 10)
            result = drain.drain(account(mta.port), context)
            assert (10, None) == (result.sent, result.error)
            assert (4, 10) == (mta.connections, len(mta.received))
            assert None is paused_until(context)
            context.connections.close_idle(float("inf"))


def _full(seen: Seen) -> Answer | None:
    """Exim's smtp_accept_max_per_connection."""
    return Answer(octets=b"421 too many messages in this connection\r\n", then=Then.CLOSE) if seen.nth > 3 else None


def test_lying_chunking_is_found_out_once_and_pauses_nothing(context: Context) -> None:
    with Mta() as mta:
        mta.knows_bdat = False
        drop(context, 3)
        home = account(mta.port)
        assert 3 == drain.drain(home, context).sent
        drop(context, 3)
        assert 3 == drain.drain(home, context).sent
        assert 1 == sum(line.startswith("BDAT") for line in mta.commands)
        assert ([("sent", 1)] * 6, None) == (rows(context), paused_until(context))
        context.connections.close_idle(float("inf"))


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_a_row_of_higher_priority_leaves_before_those_that_are_not_claimed_yet(
    context: Context, smtp_server: SmtpServer
) -> None:
    drop(context, 2000)

    def hurry(_letter: object) -> None:
        if len(smtp_server.received) == 300:
            drop(context, recipients="now@example.net", priority=9)
        if smtp_server.letters_to("now@example.net") or len(smtp_server.received) > 1000:
            context.stop.set()

    smtp_server.on_letter = hurry
    drain.drain(account(smtp_server.port), context)
    (place,) = [n for n, one in enumerate(smtp_server.received) if one.recipients == ("now@example.net",)]
    assert place <= 300 + 3 * WIDEST, "what is under way, and what is claimed behind it"


def test_a_drain_ends_after_its_slice_and_goes_on_with_its_connection(
    context: Context, smtp_server: SmtpServer
) -> None:
    now = time.monotonic()

    def answered(name: str, **_: object) -> None:
        nonlocal now
        now += SLICE_SECONDS / 8 if name == "drain.answered" else 0

    context = replace(context, monotonic=lambda: now, step=answered)
    drop(context, 100)
    home = account(smtp_server.port)
    first = drain.drain(home, context)
    assert 8 <= first.sent < 100
    assert 0 < drain.drain(home, context).sent < 100 - first.sent
    assert (
        100 - sum(status == "sent" for status, _ in rows(context)) == drain.drain(home, context, even_paused=True).sent
    )
    assert 1 == smtp_server.connections


@pytest.mark.parametrize(("server", "fewest", "most"), [(SmtpServer, 2, 12), (Mta, WIDEST, 2 * WIDEST)])
def test_on_a_far_line_by_data_rows_are_left_to_other_connections(
    context: Context, server: type[SmtpServer], fewest: int, most: int
) -> None:
    """By DATA a letter a round trip leaves, however many wait on this side; in chunks as many as are under way."""
    now, taken = time.monotonic(), []

    def answered(name: str, **_: object) -> None:
        nonlocal now
        if name == "drain.answered":
            now += 0.05
            taken.append([status for status, _ in rows(context)].count("sending"))

    context = replace(context, monotonic=lambda: now, step=answered)
    drop(context, 150)
    with server() as relay:
        assert 150 == drain.drain(account(relay.port), context).sent
        context.connections.close_idle(float("inf"))
    assert fewest <= max(taken) <= most


def test_the_backlog_of_one_account_does_not_delay_another(
    context: Context, smtp_server: SmtpServer, second: SmtpServer
) -> None:
    smtp_server.answers["."] = lambda _seen: Answer(delay_seconds=0.1)
    context = replace(context, clock=utc_now)
    drop(context, 200)
    schedule = Schedule(context, [account(smtp_server.port), account(second.port, name="work")])
    schedule.start()
    try:
        assert smtp_server.wait_for(1)
        drop(context, account="work")
        assert second.wait_for(1, PATIENCE_SECONDS)
        assert len(smtp_server.received) < 200
    finally:
        assert schedule.stop(PATIENCE_SECONDS)


# --- stops and faults -------------------------------------------------------------------------------------------------


def test_a_stop_in_the_middle_of_a_window_doubts_nothing(context: Context, smtp_server: SmtpServer) -> None:
    context.connections.pace(("home", f"127.0.0.1:{smtp_server.port}")).letters = WIDEST
    drop(context, 200)
    smtp_server.on_letter = lambda _letter: context.stop.set() if len(smtp_server.received) == 20 else None
    result = drain.drain(account(smtp_server.port), context)
    taken = len(smtp_server.received)
    assert 20 < taken < 200
    assert [("sent", 1)] * taken == rows(context)[:taken]
    assert {0} == {attempts for _, attempts in rows(context)[taken:]}
    assert (taken, 0) == (result.sent, result.in_doubt)


def test_a_session_that_is_ended_from_outside_doubts_only_the_letter_that_is_with_the_relay(
    context: Context, clock: house.Clock, smtp_server: SmtpServer
) -> None:
    context.connections.pace(("home", f"127.0.0.1:{smtp_server.port}")).letters = WIDEST
    drop(context, 100)
    smtp_server.answers["."] = lambda seen: _abort(context) if seen.nth == 20 else None
    result = drain.drain(account(smtp_server.port), context)
    assert isinstance(result.error, errors.Stopped)
    assert [("sent", 1)] * 19 + [("in_doubt", 1)] == rows(context)[:20]
    assert {("queued", 0), ("deferred", 0)} >= set(rows(context)[20:])


def _abort(context: Context) -> Answer:
    context.sessions.abort_all()
    return Answer(octets=b"", then=Then.STALL)


def test_a_row_that_is_held_while_it_is_sent_by_a_process_that_dies_is_no_secret(
    context: Context, clock: house.Clock
) -> None:
    """The letter may have gone: held or not, the row says so."""
    drop(context, 2)
    with context.database.transaction() as tx:
        owner = "elsewhere/boot/namespace/1/1"
        claimed = outbox.claim(tx, owner=owner, now=clock.now, lease=timedelta(minutes=1), limit=2)
        begun = [
            outbox.Begun(outbox_id=one.id, message_id=None, recipients=[("bob@example.net", "to")]) for one in claimed
        ]
        made = outbox.prepare(tx, begun, account="home", relay="r:25", session="s", now=clock.now, owner=owner)
        outbox.committing(tx, [made[claimed[0].id].id], clock.now)
    with context.database.transaction() as tx:
        tx.execute(text("UPDATE outbox SET status = 'held'"))
    clock.forward(minutes=2)
    sweep(context)
    assert [("held", None), ("held", None)] == rows(context, "status, lease_owner")
    with context.database.reading() as conn:
        assert ["in_doubt", "queued"] == list(
            conn.execute(text("SELECT status FROM outbox_recipients ORDER BY outbox_id")).scalars()
        )
        letters = conn.execute(text("SELECT outcome, letters FROM outbox_attempts ORDER BY id")).all()
    assert [("in_doubt", 1), ("interrupted", 0)] == [tuple(one) for one in letters], (
        "what did not leave is in no budget"
    )


class Moments(threading.Event):
    """A stop that is never asked for; whoever waits for a moment lets something happen."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self._then()
        return False


REFUSE = {
    "sqlite": "CREATE TRIGGER full BEFORE UPDATE ON outbox_recipients BEGIN SELECT RAISE(ABORT, 'no room'); END",
    "postgresql": "CREATE FUNCTION full_() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no room''; END';"
    "CREATE TRIGGER full_ BEFORE UPDATE ON outbox_recipients FOR EACH ROW EXECUTE FUNCTION full_()",
}
TAKE = {"sqlite": "DROP TRIGGER full", "postgresql": "DROP FUNCTION full_ CASCADE"}


@pytest.mark.parametrize("for_good", [False, True])
def test_verdicts_that_the_database_does_not_take_are_not_lost(
    context: Context, clock: house.Clock, smtp_server: SmtpServer, *, for_good: bool
) -> None:
    database, waits, answers = context.database, 0, 0

    def run(statement: str) -> None:
        with database.transaction() as tx:
            for one in statement.split(";", 0 if "BEGIN" in statement else -1):
                tx.exec_driver_sql(one)

    def wait() -> None:
        nonlocal waits
        waits += 1
        if waits == 2 and not for_good:
            run(TAKE[database.kind])

    def answered(name: str, **_: object) -> None:
        nonlocal answers
        answers += name == "drain.answered"
        if answers == 4 and name == "drain.answered":
            run(REFUSE[database.kind])

    drop(context, 10)
    result = drain.drain(account(smtp_server.port), replace(context, stop=Moments(wait), step=answered))
    taken = len(smtp_server.received)
    if not for_good:
        assert ([("sent", 1)] * 10, 10, None) == (rows(context), taken, result.error)
        return
    assert isinstance(result.error, errors.StoreError)
    run(TAKE[database.kind])
    clock.forward(hours=1)
    sweep(context)
    statuses = [status for status, _ in rows(context)]
    assert set(statuses[:taken]) == {"sent", "in_doubt"}, "what is not written is in doubt"
    assert "sent" not in statuses[taken:]
    drain.drain(account(smtp_server.port), context)
    assert [("sent",)] * 10 == rows(context, "status")
