"""A server that changes its UIDLs: nothing is stored twice, nothing downloaded or deleted in masses because of it."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.mail.account import DeletePolicy
from daemon.store import relink
from daemon.store.database import Database
from tests.doubles import house

COUNT = 40


def letter(number: int, *, like: int | None = None, of: str = "example.net") -> bytes:
    """Make a letter as large as any other of its number, or as number `like`."""
    size = 100 + 7 * (number if like is None else like)
    octets = f"Message-ID: <{number:06d}@{of}>\r\nSubject: {number:06d}\r\nStatus: O\r\n\r\n".encode()
    return octets + b"x" * size + b"\r\n"


def deliver(maildrop: Maildrop, numbers: Iterable[int]) -> None:
    for number in numbers:
        maildrop.add(letter(number))


def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return [tuple(row) for row in conn.execute(text(statement))]


def statuses(database: Database) -> dict[object, object]:
    return dict(rows(database, "SELECT status, count(*) FROM ledger GROUP BY status"))  # type: ignore[arg-type]


def said(server: Pop3Server) -> Counter[str]:
    """Count what was said since the last call."""
    verbs = Counter(command.split()[0] for command in server.commands)
    server.seen.clear()
    return verbs


def is_held(database: Database) -> bool:
    with database.reading() as conn:
        return relink.standing(conn, "home").held_since is not None


@pytest.fixture
def archived(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> Context:
    """Forty letters, fetched under their old names."""
    deliver(maildrop, range(COUNT))
    assert COUNT == poll(house.fetching(pop3_server.port), context).new
    said(pop3_server)
    return context


def test_after_a_reset_rows_get_the_new_names_and_nothing_is_fetched(
    archived: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    before = rows(archived.database, "SELECT id, message, first_seen_at, uidl FROM ledger ORDER BY id")
    clock.forward(hours=1)
    maildrop.renumber()
    result = poll(house.fetching(pop3_server.port), archived)
    assert ("ok", None, COUNT, 0) == (result.outcome, result.error, result.listed, result.fetched)
    assert {"TOP": COUNT} == {verb: n for verb, n in said(pop3_server).items() if verb in {"TOP", "RETR"}}
    after = rows(archived.database, "SELECT id, message, first_seen_at, uidl, reason FROM ledger ORDER BY id")
    assert [row[:3] for row in before] == [row[:3] for row in after]
    assert [held.uidl for held in maildrop.messages] == [row[3] for row in after]
    day = f"{clock.now:%Y-%m-%d}"
    assert [f"the server changed its UIDLs on {day}; was {row[3]}" for row in before] == [row[4] for row in after]
    assert {"archived": COUNT} == statuses(archived.database)
    assert 0 == poll(house.fetching(pop3_server.port), archived).fetched
    assert 0 == said(pop3_server)["TOP"], "the next visit is like any other"


def test_letters_of_one_size_are_told_apart_by_their_headers(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    for number in range(COUNT):
        maildrop.add(letter(number, like=1))
    poll(house.fetching(pop3_server.port), context)
    maildrop.renumber()
    for number in range(900, 905):
        maildrop.add(letter(number, like=1))
    result = poll(house.fetching(pop3_server.port), context)
    assert (5, 5) == (result.fetched, result.new)
    assert {"archived": COUNT + 5} == statuses(context.database)


def test_after_a_reset_new_mail_is_fetched_and_what_left_is_gone(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    del maildrop.messages[:10]
    maildrop.renumber()
    deliver(maildrop, range(100, 107))
    result = poll(house.fetching(pop3_server.port), archived)
    assert (None, 7, 7) == (result.error, result.fetched, result.new)
    assert {"archived": COUNT - 10 + 7, "gone": 10} == statuses(archived.database)
    assert [(COUNT + 7,)] == rows(archived.database, "SELECT count(*) FROM messages")


def test_names_that_are_dealt_anew_among_the_messages_are_sorted_out(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    """Every new name is an old name of another message."""
    for number in range(COUNT):
        maildrop.add(letter(number), str(number))
    poll(house.fetching(pop3_server.port), context)
    del maildrop.messages[0]
    for number, held in enumerate(maildrop.messages):
        held.uidl = str(number)
    result = poll(house.fetching(pop3_server.port), context)
    assert (None, 0) == (result.error, result.fetched)
    assert {"archived": COUNT - 1, "gone": 1} == statuses(context.database)
    listed = {(str(held.uidl), hashlib.sha256(held.content).hexdigest()) for held in maildrop.messages}
    query = "SELECT l.uidl, m.sha256 FROM ledger l JOIN messages m ON m.id = l.message WHERE l.status = 'archived'"
    assert listed == set(rows(context.database, query))
    assert 0 == poll(house.fetching(pop3_server.port), context).fetched


def test_age_goes_on_counting_and_deletion_begins_at_the_visit_after_the_reset(
    archived: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=DeletePolicy(kind="age", age=timedelta(days=14)))
    clock.forward(days=15)
    maildrop.renumber()
    assert (None, 0, 0) == ((result := poll(account, archived)).error, result.fetched, result.deleted)
    assert COUNT == len(maildrop.messages)
    assert (0, COUNT) == ((result := poll(account, archived)).fetched, result.deleted)
    assert [] == maildrop.messages


@pytest.mark.parametrize("like", [True, False], ids=["as large as ours", "of other sizes"])
def test_another_mailbox_is_neither_fetched_nor_emptied(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop, *, like: bool
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    ours = list(maildrop.messages)
    maildrop.messages.clear()
    for number in range(COUNT):
        maildrop.add(letter(number, like=None if like else number + 1000, of="another.example"))
    for _ in range(2):
        result = poll(account, archived)
        assert isinstance(result.error, errors.MaildropChanged)
        assert f"holds {COUNT} messages and none of the {COUNT} that were there" in str(result.error)
        assert "postroom maildrop accept home" in str(result.error)
        assert {"RETR", "DELE"}.isdisjoint(verbs := said(pop3_server))
        assert verbs["TOP"] <= 20
        assert is_held(archived.database)
    assert COUNT == len(maildrop.messages)
    assert {"archived": COUNT} == statuses(archived.database)

    maildrop.messages[:] = ours
    result = poll(house.fetching(pop3_server.port), archived)
    assert ("ok", 0) == (result.outcome, result.fetched)
    assert not is_held(archived.database), "the old ones are back"


def test_a_mailbox_that_shares_but_a_few_letters_is_another_one(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    del maildrop.messages[3:]
    maildrop.renumber()
    for number in range(COUNT):
        maildrop.add(letter(number, like=number + 1000, of="another.example"))
    assert isinstance(poll(house.fetching(pop3_server.port), archived).error, errors.MaildropChanged)
    assert 0 == said(pop3_server)["RETR"]
    assert {"archived": COUNT} == statuses(archived.database)


@pytest.mark.parametrize("like", [True, False], ids=["as large as ours", "of other sizes"])
def test_a_maildrop_of_which_half_is_ours_is_ours(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop, *, like: bool
) -> None:
    half = COUNT // 2
    del maildrop.messages[half:]
    maildrop.renumber()
    for number in range(half):
        maildrop.add(letter(number, like=None if like else number + 1000, of="another.example"))
    result = poll(house.fetching(pop3_server.port), archived)
    assert (None, half, half) == (result.error, result.fetched, result.new)
    assert {"archived": COUNT, "gone": half} == statuses(archived.database)


def test_what_was_only_seen_is_not_fetched_in_masses_after_a_reset(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    """Nothing is known of the headers of such messages."""
    with archived.database.transaction() as tx:
        tx.execute(text("UPDATE ledger SET status = 'seen', message = NULL WHERE id % 4 <> 0"))
    maildrop.renumber()
    assert isinstance(poll(house.fetching(pop3_server.port), archived).error, errors.MaildropChanged)
    assert 0 == said(pop3_server)["RETR"]


@pytest.mark.parametrize(
    "features", [{"TOP"}, {"TOP", "UIDL"}, {"CAPA"}], ids=["no TOP", "neither TOP nor UIDL", "TOP refused"]
)
def test_a_reset_that_can_not_be_proven_is_held(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop, features: set[str]
) -> None:
    pop3_server.features -= features
    pop3_server.answers["TOP"] = Answer(octets=b"-ERR not today\r\n")
    maildrop.renumber()
    result = poll(house.fetching(pop3_server.port, delete=house.AFTER_FETCH), archived)
    assert isinstance(result.error, errors.MaildropChanged)
    assert {"RETR", "DELE"}.isdisjoint(said(pop3_server))
    assert is_held(archived.database)


def test_a_server_that_has_no_uidl_any_more_is_known_by_header_sections(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    pop3_server.features -= {"UIDL"}
    assert (None, 0) == ((result := poll(house.fetching(pop3_server.port), archived)).error, result.fetched)
    pop3_server.features |= {"UIDL"}
    assert (None, 0) == ((result := poll(house.fetching(pop3_server.port), archived)).error, result.fetched)
    assert {"archived": COUNT} == statuses(archived.database)


def test_what_was_accepted_is_fetched_once_and_nothing_is_stored_twice(
    archived: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port)
    pop3_server.features -= {"TOP"}
    maildrop.renumber()
    deliver(maildrop, [500])
    poll(account, archived)
    with archived.database.transaction() as tx:
        relink.accept(tx, "home", clock.now)
    result = poll(account, archived)
    assert ("ok", COUNT + 1, 1) == (result.outcome, result.fetched, result.new)
    assert {"gone": COUNT, "archived": COUNT + 1} == statuses(archived.database)
    with archived.database.reading() as conn:
        assert (None, None, None) == relink.standing(conn, "home"), "the word is used up"
    assert 0 == poll(account, archived).fetched
    maildrop.renumber("again")
    assert isinstance(poll(account, archived).error, errors.MaildropChanged), "and counts once"


def test_messages_that_we_deleted_without_an_answer_need_not_be_there(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    with archived.database.transaction() as tx:
        tx.execute(text("UPDATE ledger SET dele_sent_at = first_seen_at"))
    maildrop.messages.clear()
    deliver(maildrop, range(100, 100 + COUNT))
    assert (None, COUNT) == ((result := poll(house.fetching(pop3_server.port), archived)).error, result.new)


@pytest.mark.parametrize("delete", [house.NEVER, house.AFTER_FETCH], ids=["left", "deleted by us"])
def test_a_backup_under_new_names_is_recognised_though_the_maildrop_was_empty_before(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop, delete: DeletePolicy
) -> None:
    account = house.fetching(pop3_server.port, delete=delete)
    deliver(maildrop, range(200))
    backup = list(maildrop.messages)
    poll(account, context)
    maildrop.messages.clear()
    poll(account, context)
    maildrop.messages[:] = backup
    maildrop.renumber()
    deliver(maildrop, [500])
    result = poll(account, context)
    assert (None, 201, 1, 1) == (result.error, result.listed, result.fetched, result.new)
    assert maildrop.messages[:200] == backup, "nothing of it is deleted in this visit"
    assert 0 == poll(account, context).fetched
    assert (200 if delete is house.NEVER else 0) <= len(maildrop.messages)


def test_much_new_mail_is_fetched_however_large_it_is(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    deliver(maildrop, range(200))
    poll(account, context)
    for number in range(200):
        maildrop.add(letter(number, of="another.example"))
    assert (None, 200) == ((result := poll(account, context)).error, result.deleted)


@pytest.mark.parametrize("has_top", [True, False])
def test_a_message_that_is_back_is_believed_by_its_header_section_only(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop, *, has_top: bool
) -> None:
    account = house.fetching(pop3_server.port)
    away = maildrop.messages[:2]
    del maildrop.messages[:2]
    poll(account, archived)
    assert {"gone": 2, "archived": COUNT - 2} == statuses(archived.database)
    maildrop.add(away[0].content, away[0].uidl)
    maildrop.add(letter(777, like=1), away[1].uidl)
    assert away[1].octets == maildrop.messages[-1].octets
    if not has_top:
        pop3_server.features -= {"TOP"}
    said(pop3_server)
    result = poll(account, archived)
    assert (1 if has_top else 2, 1) == (result.fetched, result.new)
    assert {"archived": COUNT} == statuses(archived.database)


def test_no_row_of_a_doubted_name_is_believed(archived: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    """Two messages had the name, both left, and a third of their size has it now."""
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH)
    for number in (100, 101):
        maildrop.add(letter(number, like=100), "used")
    poll(house.fetching(pop3_server.port), archived)
    del maildrop.messages[-2:]
    poll(house.fetching(pop3_server.port), archived)
    maildrop.add(letter(102, like=100), "used")
    assert (None, 1, 1) == ((result := poll(account, archived)).error, result.fetched, result.new)


def test_without_uidl_changed_message_numbers_do_no_harm(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    pop3_server.features -= {"UIDL"}
    deliver(maildrop, range(COUNT))
    poll(house.fetching(pop3_server.port), context)
    del maildrop.messages[:7]
    maildrop.messages.reverse()
    deliver(maildrop, [500, 501])
    result = poll(house.fetching(pop3_server.port), context)
    assert (None, 2, 2) == (result.error, result.fetched, result.new)
    assert {"archived": COUNT - 7 + 2, "gone": 7} == statuses(context.database)


def test_no_transaction_is_open_while_headers_are_waited_for(
    archived: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    from dataclasses import replace

    waits: list[bool] = []
    context = replace(archived, pulse=lambda: waits.append(archived.database.in_transaction()))
    maildrop.renumber()
    assert 0 == poll(house.fetching(pop3_server.port), context).fetched
    assert waits
    assert not any(waits)
