"""What is fetched and what is left, as an account's settings say: against a server on loopback and a real database."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs import seen_list
from daemon.jobs.context import Context
from daemon.jobs.first import came_at
from daemon.jobs.poll import poll
from daemon.mail.account import DeletePolicy, First
from daemon.store import sources
from daemon.store.database import Database
from tests.doubles import house

NEW = First(kind="new")
SINCE = First(kind="since", since=datetime(2026, 1, 1, tzinfo=UTC))
BIG = b"From: bob@example.net\r\nSubject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 100
SMALL = b"From: bob@example.net\r\nSubject: small\r\n\r\nHello.\r\n"
LIMIT = 500
ABOVE_NOTHING = DeletePolicy(kind="above", octets=0)


def rows(database: Database, columns: str = "uidl, status, reason", table: str = "ledger") -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(f"SELECT {columns} FROM {table} ORDER BY id"))]


def dated(day: str, received: str | None = None) -> bytes:
    came = f"Received: from a by b; {received}\r\nReceived: from c by a; Mon, 01 Jan 2001 00:00:00 +0000\r\n"
    return f"{came if received else ''}Date: {day}\r\nSubject: x\r\n\r\nHello.\r\n".encode()


# --- by the header section alone ------------------------------------------------------------------------------------


def test_what_is_too_large_is_archived_by_its_header_section(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(BIG, "big")
    maildrop.add(SMALL, "small")
    account = house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers", delete=ABOVE_NOTHING)
    result = poll(account, context)
    assert ("ok", 1, 1) == (result.outcome, result.fetched, result.skipped)
    reason = f"{len(BIG)} octets, and MAX_MESSAGE_OCTETS is {LIMIT}"
    assert [("big", "headers", reason), ("small", "archived", None)] == rows(context.database)
    found = rows(context.database, "uidl, retrieved, octets", "messages")
    assert [("big", "headers", BIG.index(b"0123")), ("small", "whole", len(SMALL))] == found
    poll(account, context)
    poll(account, context)
    assert [BIG] == maildrop.contents  # by `above` everything may go, and yet
    assert ["TOP 1 0"] == [one for one in pop3_server.commands if one.startswith("TOP")]


def test_a_header_section_gives_way_to_the_whole_message(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(BIG, "big")
    poll(house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers"), context)
    first_seen = rows(context.database, "first_seen_at")
    clock.forward(days=1)
    assert 1 == poll(house.fetching(pop3_server.port), context).new
    assert [("big", "archived", None)] == rows(context.database)
    assert first_seen == rows(context.database, "first_seen_at")
    assert [("whole", len(BIG))] == rows(context.database, "retrieved, octets", "messages")
    with context.database.reading() as conn:
        assert BIG == sources.whole(conn, conn.execute(text("SELECT message FROM ledger")).scalar_one())


def test_a_header_section_of_a_message_that_went_and_came_back_is_no_proof_of_it(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers", delete=house.AFTER_FETCH)
    held = maildrop.add(BIG, "big")
    poll(account, context)
    maildrop.messages.clear()
    poll(account, context)
    assert "gone" == rows(context.database)[0][1]
    maildrop.messages.append(held)
    for _ in range(2):
        assert ("ok", 0) == (poll(account, context).outcome, poll(account, context).deleted)
    assert [BIG] == maildrop.contents
    assert "headers" == rows(context.database)[0][1]
    assert 1 == len(rows(context.database, "id", "messages"))


def test_a_message_without_a_body_is_whole_once_it_was_retrieved(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    bodiless = b"Subject: nothing\r\n\r\n"
    maildrop.add(bodiless, "x", listed_octets=10_000)
    poll(house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers"), context)
    result = poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), context)
    assert ("ok", 1) == (result.outcome, result.deleted)
    assert [("whole",)] == rows(context.database, "retrieved", "messages")


def test_a_server_without_top_has_its_large_messages_skipped(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    pop3_server.features -= {"TOP"}
    maildrop.add(BIG, "big")
    poll(house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers"), context)
    ((_uidl, status, reason),) = rows(context.database)
    assert "skipped" == status
    assert str(reason).endswith("; the server has no TOP for its header section")


def test_a_refused_top_is_a_reason_to_skip(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    pop3_server.features -= {"TOP", "CAPA"}
    maildrop.add(BIG, "big")
    result = poll(house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers"), context)
    assert ("ok", 1) == (result.outcome, result.skipped)
    assert "TOP for its header section was refused" in str(rows(context.database)[0][2])


def test_a_large_message_under_a_used_uidl_is_never_taken_for_the_archived_one(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(SMALL, "same")
    poll(house.fetching(pop3_server.port), context)
    maildrop.messages.clear()
    maildrop.add(BIG, "same")
    account = house.fetching(pop3_server.port, max_message_octets=LIMIT, delete=house.AFTER_FETCH)
    poll(account, context)
    assert 0 == poll(account, context).deleted
    assert [BIG] == maildrop.contents


# --- the first contact ----------------------------------------------------------------------------------------------


def test_of_a_new_maildrop_only_what_comes_later_is_fetched(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, first=NEW, delete=house.AFTER_FETCH)
    maildrop.add(SMALL, "old")
    maildrop.add(SMALL, "old")  # twins
    result = poll(account, context)
    assert ("ok", 0, 2) == (result.outcome, result.fetched, result.seen)
    assert [("old", "seen", "there before the first visit")] * 2 == rows(context.database)
    maildrop.add(BIG, "later")
    result = poll(account, context)
    assert (1, 0, 1) == (result.fetched, result.seen, result.deleted)
    assert [SMALL, SMALL] == maildrop.contents


def test_the_first_contact_with_an_empty_maildrop_is_one(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, first=NEW)
    poll(account, context)
    maildrop.add(SMALL)
    assert 1 == poll(account, context).fetched


def test_an_account_that_was_visited_before_is_not_met_anew(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    poll(house.fetching(pop3_server.port), context)
    maildrop.add(SMALL)
    assert 1 == poll(house.fetching(pop3_server.port, first=NEW), context).fetched


def test_what_came_since_a_day_is_fetched_and_so_is_what_has_no_date(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    old, young = "Thu, 25 Dec 2025 10:00:00 +0000", "Fri, 02 Jan 2026 10:00:00 +0000"
    maildrop.add(dated(old), "old")
    maildrop.add(dated(young), "young")
    maildrop.add(dated(old, received=young), "sent early, came late")
    maildrop.add(dated(young, received=old), "sent in the future")
    maildrop.add(dated("once upon a time"), "undatable")
    result = poll(house.fetching(pop3_server.port, first=SINCE), context)
    assert (3, 2) == (result.fetched, result.seen)
    assert {("old", "seen"), ("sent in the future", "seen")} == {
        (uidl, status) for uidl, status, _reason in rows(context.database) if status == "seen"
    }
    assert "came before 2026-01-01" == rows(context.database)[0][2]


def test_a_first_contact_that_is_cut_begins_anew(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    account = house.fetching(pop3_server.port, first=SINCE)
    for number in range(3):
        maildrop.add(dated("Thu, 25 Dec 2025 10:00:00 +0000"), f"old{number}")
    pop3_server.answers["TOP"] = lambda seen: Answer(keep=10, then=Then.CLOSE) if seen.argument == "2 0" else None
    assert "failed" == poll(account, context).outcome
    assert [] == rows(context.database)
    pop3_server.answers.clear()
    result = poll(account, context)
    assert ("ok", 0, 3) == (result.outcome, result.fetched, result.seen)


@pytest.mark.parametrize(
    ("missing", "first", "expected"),
    [
        ({"UIDL"}, NEW, (0, 2)),  # known by TOP
        ({"UIDL", "TOP"}, NEW, (2, 0)),  # they can't be told apart later: all are fetched
        ({"TOP"}, SINCE, (2, 0)),  # no dates
        ({"CAPA"}, NEW, (0, 2)),
        ({"CAPA", "TOP"}, SINCE, (2, 0)),
        ({"PIPELINING"}, SINCE, (0, 2)),
    ],
)
def test_a_first_contact_works_as_far_as_the_server_does(
    context: Context,
    pop3_server: Pop3Server,
    maildrop: Maildrop,
    missing: set[str],
    first: First,
    expected: tuple[int, int],
) -> None:
    pop3_server.features -= missing
    for second in (1, 2):
        maildrop.add(dated(f"Thu, 25 Dec 2025 10:00:0{second} +0000"))
    account = house.fetching(pop3_server.port, first=first)
    result = poll(account, context)
    assert ("ok", *expected) == (result.outcome, result.fetched, result.seen)
    assert 0 == poll(account, context).new


def test_a_maildrop_of_many_messages_is_met_in_one_transaction(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    for number in range(20_000):
        maildrop.add(SMALL, f"{number:08x}")
    account = house.fetching(pop3_server.port, first=NEW)
    assert 20_000 == poll(account, context).seen
    assert 0 == poll(account, context).fetched


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", None),
        (b"Received: from a\r\nDate: Fri, 02 Jan 2026 10:00:00 +0100\r\n\r\n", datetime(2026, 1, 2, 9, tzinfo=UTC)),
        (b"Received: by x;\r\n Fri, 02 Jan 2026 10:00:00 +0000 (UTC)\r\n\r\n", datetime(2026, 1, 2, 10, tzinfo=UTC)),
        (b"\xff\xfe;;;\r\nReceived: ;\r\nDate: \xff\r\n\r\n", None),
    ],
)
def test_when_a_message_came(header: bytes, expected: datetime | None) -> None:
    assert expected == came_at(header)


# --- asked for, marked, taken over ----------------------------------------------------------------------------------


def test_what_is_asked_for_is_fetched_whole(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    account = house.fetching(pop3_server.port, first=NEW, max_message_octets=LIMIT)
    maildrop.add(BIG, "big")
    maildrop.add(SMALL, "small")
    poll(account, context)
    result = poll(account, context, uidls=frozenset({"small", "nowhere"}))
    assert (1, ("nowhere",)) == (result.fetched, result.missing)
    assert ["seen", "archived"] == [row[1] for row in rows(context.database)]
    assert 0 == poll(account, context).fetched


def test_what_is_asked_for_is_fetched_whatever_its_size(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(BIG, "big")
    account = house.fetching(pop3_server.port, max_message_octets=LIMIT, oversize="headers")
    poll(account, context)
    assert 1 == poll(account, context, uidls=frozenset({"big"})).fetched
    assert [("big", "archived", None)] == rows(context.database)
    assert 0 == poll(account, context).fetched


def test_a_maildrop_is_marked_as_seen_without_a_download(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port)
    maildrop.add(SMALL, "archived")
    poll(account, context)
    maildrop.add(BIG, "left")
    result = poll(account, context, mark_seen=True)
    assert ("ok", 2, 1, 0) == (result.outcome, result.listed, result.seen, result.fetched)
    assert [("archived", "archived", None), ("left", "seen", "marked as seen")] == rows(context.database)
    assert 0 == poll(account, context).fetched


def test_what_another_client_has_seen_is_not_fetched(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    maildrop.add(SMALL, "seen")
    maildrop.add(BIG, "new")
    content = b"anna@127.0.0.1 seen\nanna@127.0.0.1 gone\nbob@127.0.0.1 new\n"
    assert (2, 2) == seen_list.take_over(account, "fetchmail", content, context)
    assert (2, 0) == seen_list.take_over(account, "fetchmail", content, context)
    assert (1, 1) == (poll(account, context).fetched, len(maildrop.messages))
    found = rows(context.database)
    assert ("seen", "seen", "seen by fetchmail") == found[0]
    assert ["seen", "gone", "deleted"] == [row[1] for row in found]


def test_an_account_without_a_maildrop_takes_nothing_over(context: Context) -> None:
    with pytest.raises(errors.InputInvalid, match="no POP3 settings"):
        seen_list.take_over(house.sending(1), "mpop", b"", context)


# --- the limits of a visit, and of a maildrop -----------------------------------------------------------------------


def test_a_visit_ends_with_the_message_that_goes_beyond_its_octets(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    for number in range(5):
        maildrop.add(SMALL + b"%d\r\n" % number)
    account = house.fetching(pop3_server.port, max_octets_per_poll=len(SMALL) + 10)
    assert [2, 2, 1, 0] == [poll(account, context).fetched for _ in range(4)]


def test_a_maildrop_is_kept_below_its_size(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    for number in range(4):
        maildrop.add(SMALL + b"%d\r\n" % number)
    policy = DeletePolicy(kind="above", octets=2 * len(maildrop.contents[0]))
    account = house.fetching(pop3_server.port, delete=policy)
    assert [0, 2, 0] == [poll(account, context).deleted for _ in range(3)]
    assert [SMALL + b"2\r\n", SMALL + b"3\r\n"] == maildrop.contents
