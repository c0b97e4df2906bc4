"""A visit of several sessions: a cut is taken up where it was, deletions become real in portions, round trips are saved."""

from collections.abc import Callable

import pytest

from daemon import errors
from daemon.demo.connection import Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.mail.account import DeletePolicy
from daemon.pop3.memory import Memory
from daemon.store import accounts
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from tests.doubles import house
from tests.jobs.test_poll import deliver, expected_hashes, hashes, ledger

EVERY_TENTH_CUT: Callable[..., Answer | None] = lambda seen: (  # noqa: E731 -- a table entry
    Answer(keep=30, then=Then.RESET) if seen.nth % 10 == 0 else None
)


def retrieved(server: Pop3Server) -> list[str]:
    return [command for command in server.commands if command.startswith("RETR")]


def remembered(context: Context) -> Memory | None:
    with context.database.reading() as conn:
        return Memory.parse(accounts.capabilities(conn, "home"))


# --- cuts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [set(), {"PIPELINING"}], ids=["pipelining", "one by one"])
def test_a_cut_session_goes_on_at_the_next_message(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop, without: set[str]
) -> None:
    pop3_server.features -= without
    deliver(maildrop, *range(1, 26))
    pop3_server.answers["RETR"] = EVERY_TENTH_CUT
    result = poll(house.fetching(pop3_server.port), context)
    assert ("ok", 25, 25) == (result.outcome, result.fetched, result.new)
    assert expected_hashes(*range(1, 26)) == hashes(context.database)
    assert pop3_server.connections > 1
    if without:  # what was whole was not asked for twice: only the message of each cut was
        assert 25 + pop3_server.connections - 1 == len(retrieved(pop3_server))


def test_sessions_that_bring_nothing_end_the_visit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, 1, 2, 3)
    pop3_server.answers["RETR"] = lambda seen: Answer(keep=30, then=Then.RESET) if seen.argument == "2" else None
    result = poll(house.fetching(pop3_server.port), context)
    assert ("failed", 1) == (result.outcome, result.fetched)
    assert isinstance(result.error, errors.ConnectionLost)
    assert 2 == pop3_server.connections


def test_a_server_that_wants_pauses_between_logins_is_not_called_again_at_once(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, *range(1, 26))
    pop3_server.extra_capabilities.append("LOGIN-DELAY 60")
    pop3_server.answers["RETR"] = EVERY_TENTH_CUT
    assert "failed" == poll(house.fetching(pop3_server.port), context).outcome
    assert 1 == pop3_server.connections


# --- deletions in portions ------------------------------------------------------------------------------------------


def test_deletions_become_real_after_so_many(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    deliver(maildrop, *range(1, 24))
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH, deletes_per_session=10)
    result = poll(account, context)
    assert ("ok", 23, 23) == (result.outcome, result.fetched, result.deleted)
    assert [] == maildrop.messages
    assert 3 == pop3_server.commands.count("QUIT")
    assert all(deleted for *_, deleted in ledger(context.database))


def test_known_messages_are_deleted_in_portions_too(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    from datetime import timedelta

    deliver(maildrop, *range(1, 24))
    policy = DeletePolicy(kind="age", age=timedelta(days=1))
    account = house.fetching(pop3_server.port, delete=policy, deletes_per_session=10)
    assert 23 == poll(account, context).fetched
    clock.forward(days=2)
    result = poll(account, context)
    assert (23, 0) == (result.deleted, len(maildrop.messages))
    assert 1 + 3 == pop3_server.connections


def test_a_portion_that_is_not_carried_out_ends_the_visit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    deliver(maildrop, *range(1, 24))
    pop3_server.answers["QUIT"] = lambda _: (
        Answer(octets=b"", then=Then.RESET) if pop3_server.connections == 2 else None
    )
    account = house.fetching(pop3_server.port, delete=house.AFTER_FETCH, deletes_per_session=10)
    result = poll(account, context)
    assert ("failed", 20, 10) == (result.outcome, result.fetched, result.deleted)
    pop3_server.answers.clear()
    assert 13 == poll(account, context).deleted
    assert expected_hashes(*range(1, 24)) == hashes(context.database)


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_the_second_visit_saves_round_trips(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    deliver(maildrop, 1)
    account = house.fetching(pop3_server.port)
    poll(account, context)
    first = list(pop3_server.commands)
    assert remembered(context) is not None
    deliver(maildrop, 2)
    assert ("ok", 1) == ((result := poll(account, context)).outcome, result.fetched)
    second = pop3_server.commands[len(first) :]
    # CAPA is still asked twice: what is remembered is verified.
    assert sorted(one.split()[0] for one in first) == sorted(one.split()[0] for one in second)


def test_a_server_that_changed_is_asked_anew(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    deliver(maildrop, 1)
    account = house.fetching(pop3_server.port)
    poll(account, context)
    pop3_server.mechanisms = ("LOGIN",)
    deliver(maildrop, 2)
    result = poll(account, context)
    assert ("ok", 1) == (result.outcome, result.fetched)
    memory = remembered(context)
    assert memory is not None
    assert "LOGIN" == memory.login


def test_a_failed_visit_forgets(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    deliver(maildrop, 1)
    account = house.fetching(pop3_server.port)
    poll(account, context)
    pop3_server.answers["UIDL"] = Answer(keep=10, then=Then.CLOSE)
    assert "failed" == poll(account, context).outcome
    assert remembered(context) is None


def test_a_setting_counts_more_than_the_memory() -> None:
    memory = Memory(login="PLAIN", lines=("PIPELINING", "UIDL"))
    who = Credentials(username="anna", secret=Secret("x"))
    assert [] == memory.flight(who, "login", most_octets=255)
    assert 1 == len(memory.flight(who, "auto", most_octets=255))
    assert [] == memory.flight(who, "auto", most_octets=10)
    assert memory == Memory.parse(str(memory))
