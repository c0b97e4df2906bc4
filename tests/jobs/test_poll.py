"""A poll against a POP3 server on loopback and a real database: what is archived, deleted, recorded."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.mail.account import DeletePolicy
from daemon.store.database import Database
from tests.doubles import house


def letter(number: int, body: str = "Hello.") -> bytes:
    return (
        f"From: bob@example.net\r\nSubject: {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\n{body}\r\n".encode()
    )


def deliver(maildrop: Maildrop, *numbers: int) -> None:
    for number in numbers:
        maildrop.add(letter(number))


def hashes(database: Database) -> list[str]:
    with database.reading() as conn:
        return sorted(conn.execute(text("SELECT sha256 FROM messages")).scalars())


def ledger(database: Database) -> list[tuple[str, str, bool, bool]]:
    with database.reading() as conn:
        rows = conn.execute(text("SELECT uidl, status, dele_sent_at, deleted_at FROM ledger ORDER BY id")).all()
    return [(uidl, status, sent is not None, deleted is not None) for uidl, status, sent, deleted in rows]


def one(database: Database, statement: str) -> tuple[object, ...]:
    with database.reading() as conn:
        return tuple(conn.execute(text(statement)).one())


def expected_hashes(*numbers: int) -> list[str]:
    return sorted(hashlib.sha256(letter(number)).hexdigest() for number in numbers)


def test_new_messages_are_archived_octet_for_octet(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, 1, 2, 3)
    result = poll(house.fetching(pop3_server.port), context)
    assert ("ok", 3, 3, 3, 0) == (result.outcome, result.listed, result.fetched, result.new, result.deleted)
    assert expected_hashes(1, 2, 3) == hashes(context.database)
    assert 3 == len(maildrop.messages)


def test_a_second_poll_fetches_only_what_is_new(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    account = house.fetching(pop3_server.port)
    deliver(maildrop, 1, 2)
    poll(account, context)
    deliver(maildrop, 3)
    result = poll(account, context)
    assert (3, 1, 1) == (result.listed, result.fetched, result.new)


def test_after_fetch_deletes_what_is_proven_and_records_it(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, 1, 2)
    result = poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context)
    assert [] == maildrop.messages
    assert (2, 2) == (result.dele_sent, result.deleted)
    assert [("deleted", True, True)] * 2 == [row[1:] for row in ledger(context.database)]


def test_age_deletes_only_what_was_first_seen_long_enough_ago(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=DeletePolicy(kind="age", age=timedelta(days=14)))
    deliver(maildrop, 1)
    poll(account, context)
    clock.forward(days=13)
    deliver(maildrop, 2)
    poll(account, context)
    assert 2 == len(maildrop.messages)
    clock.forward(days=1)
    assert 1 == poll(account, context).deleted
    assert [letter(2)] == maildrop.contents


def test_content_that_is_archived_is_not_stored_again_when_every_uidl_changed(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port)
    deliver(maildrop, 1, 2)
    poll(account, context)
    maildrop.renumber()
    result = poll(account, context)
    assert (2, 0) == (result.fetched, result.new)
    assert expected_hashes(1, 2) == hashes(context.database)
    assert ["gone", "gone", "archived", "archived"] == [row[1] for row in ledger(context.database)]


def test_a_uidl_used_again_for_another_message_is_fetched(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port)
    maildrop.add(letter(1), "same")
    poll(account, context)
    maildrop.messages.clear()
    maildrop.add(letter(2, "a longer body, another size"), "same")
    assert 1 == poll(account, context).new
    assert 2 == len(hashes(context.database))


def test_twin_uidls_are_both_archived(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    account = house.fetching(pop3_server.port)
    maildrop.add(letter(1), "twin")
    maildrop.add(letter(22), "twin")
    assert 2 == poll(account, context).new
    assert 0 == poll(account, context).fetched


@pytest.mark.parametrize("features", [{"UIDL"}, {"UIDL", "TOP"}, {"UIDL", "TOP", "PIPELINING"}, {"CAPA"}])
def test_a_server_without_the_feature_is_fetched_once_and_emptied(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop, features: set[str]
) -> None:
    pop3_server.features -= features
    deliver(maildrop, 1, 2, 3)
    poll(house.fetching(pop3_server.port), context)
    assert 0 == poll(house.fetching(pop3_server.port), context).new
    assert 3 == poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context).deleted
    assert expected_hashes(1, 2, 3) == hashes(context.database)
    assert [] == maildrop.messages


def test_a_message_over_the_limit_stays_with_its_reason(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, 1)
    maildrop.add(letter(2, "x" * 5000))
    account = house.fetching(pop3_server.port, max_message_octets=1000, delete=house.AFTER_FETCH)
    result = poll(account, context)
    assert (1, 1, 1) == (result.fetched, result.skipped, result.deleted)
    status, reason = one(context.database, "SELECT status, reason FROM ledger WHERE message IS NULL")
    assert "skipped" == status
    assert "1000" in str(reason)


# --- what goes wrong ------------------------------------------------------------------------------------------------

CUTS: list[tuple[str, Callable[[Pop3Server], None]]] = [
    ("greeting refused", lambda server: server.answers.update(CONNECT=Answer(octets=b"-ERR no\r\n", then=Then.CLOSE))),
    ("cut at AUTH", lambda server: server.answers.update(AUTH=Answer(octets=b"", then=Then.CLOSE))),
    ("in use", lambda server: server.answers.update(AUTH=Answer(octets=b"-ERR [IN-USE] locked\r\n"))),
    ("cut at UIDL", lambda server: server.answers.update(UIDL=Answer(keep=10, then=Then.CLOSE))),
    (
        "cut in the second message",
        lambda server: server.answers.update(
            RETR=lambda seen: Answer(keep=30, then=Then.RESET) if seen.argument == "2" else None
        ),
    ),
    ("cut at DELE", lambda server: server.answers.update(DELE=Answer(keep=0, then=Then.CLOSE))),
    ("QUIT refused", lambda server: server.answers.update(QUIT=Answer(octets=b"-ERR some not removed\r\n"))),
    ("QUIT not carried out", lambda server: server.answers.update(QUIT=Answer(octets=b"", then=Then.RESET))),
    ("the +OK to QUIT lost", lambda server: server.answers.update(QUIT=Answer(keep=0, then=Then.RESET))),
    ("silence", lambda server: server.answers.update(STAT=Answer(octets=b"", then=Then.STALL))),
]


@pytest.mark.parametrize("misbehave", [cut for _, cut in CUTS], ids=[name for name, _ in CUTS])
def test_after_any_cut_nothing_is_lost_nothing_is_twice_and_the_next_poll_finishes(
    context: Context,
    clock: house.Clock,
    pop3_server: Pop3Server,
    maildrop: Maildrop,
    misbehave: Callable[[Pop3Server], None],
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH, timeout_seconds=0.5)
    deliver(maildrop, 1, 2, 3)
    misbehave(pop3_server)
    failed = poll(account, context)
    assert "failed" == failed.outcome
    assert isinstance(failed.error, errors.PostroomError)
    assert set(expected_hashes(1, 2, 3)) <= set(hashes(context.database)) | {
        hashlib.sha256(content).hexdigest() for content in maildrop.contents
    }
    assert not any(deleted for *_, deleted in ledger(context.database))
    last_error, failures = one(context.database, "SELECT last_error, failures FROM accounts WHERE name = 'home'")
    assert (str(failed.error), 1) == (last_error, failures)

    pop3_server.answers.clear()
    clock.forward(hours=1)
    assert "ok" == poll(account, context).outcome
    assert [] == maildrop.messages
    assert expected_hashes(1, 2, 3) == hashes(context.database)
    assert (None, 0) == one(context.database, "SELECT failing_since, failures FROM accounts WHERE name = 'home'")


def test_one_refused_message_does_not_stop_the_others(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    deliver(maildrop, 1, 2, 3)
    pop3_server.answers["RETR"] = lambda seen: (
        Answer(octets=b"-ERR broken on disk\r\n") if seen.argument == "2" else None
    )
    result = poll(account, context)
    assert ("ok", 2, 2) == (result.outcome, result.fetched, result.deleted)
    assert [letter(2)] == maildrop.contents
    pop3_server.answers.clear()
    assert 1 == poll(account, context).deleted


def test_a_damaged_copy_stops_all_deletion(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    deliver(maildrop, 1, 2)
    poll(house.fetching(pop3_server.port), context)
    with context.database.transaction() as tx:
        tx.execute(
            text("UPDATE message_sources SET content = :octets WHERE message = 1"), {"octets": b"not the letter"}
        )
    result = poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context)
    assert isinstance(result.error, errors.ProofMissing)
    assert 2 == len(maildrop.messages)
    assert "RSET" in pop3_server.commands
    assert "DELE 1" not in pop3_server.commands


def test_an_account_that_another_process_visits_is_left_alone(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    from daemon.store import accounts

    # A living process of another host: nobody can know that it died before its lease runs out.
    with context.database.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org")])
        accounts.lease(tx, "home", "elsewhere/boot/ns/1/1", context.clock(), timedelta(minutes=10))
    result = poll(house.fetching(pop3_server.port), context)
    assert "busy" == result.outcome
    assert 0 == pop3_server.connections


def test_a_stop_ends_the_fetching_and_keeps_what_came(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, *range(1, 2001))
    context = replace(context, step=lambda name, **_: context.stop.set() if name == "poll.listed" else None)
    result = poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context)
    assert "ok" == result.outcome
    assert result.fetched < 2000
    assert 2000 == result.fetched + len(maildrop.messages)


def test_no_transaction_is_open_while_the_socket_is_waited_on(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    waits = []
    context = replace(context, pulse=lambda: waits.append(context.database.in_transaction()))
    deliver(maildrop, 1, 2, 3)
    poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context)
    assert waits
    assert not any(waits)
