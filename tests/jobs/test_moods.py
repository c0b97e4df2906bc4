"""What a POP3 server says of itself decides when it is visited again, and when not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon import errors, trace
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Maildrop, Pop3Server
from daemon.jobs import maildrop as look
from daemon.jobs import standstill
from daemon.jobs.context import Context
from daemon.jobs.poll import poll
from daemon.jobs.turns import Turns
from daemon.mail.account import Account
from daemon.store import accounts, relays
from daemon.wire.secret import Secret, SecretSource
from tests.doubles import house
from tests.secrets_used import PASSWORD

FIRST, LONGEST = house.BACKOFF.first, house.BACKOFF.longest
LETTER = b"From: bob@example.net\r\nSubject: 1\r\n\r\nHello.\r\n"


def standing(context: Context) -> accounts.Standing:
    with context.database.reading() as conn:
        return accounts.standing(conn, "home")


def row(context: Context) -> Any:
    with context.database.reading() as conn:
        return next(one for one in accounts.all(conn) if one.name == "home")


def refuse(server: Pop3Server, text: str) -> None:
    """Answer the login so, by whatever command it comes."""
    for verb in ("AUTH", "PASS"):
        server.answers[verb] = Answer(octets=f"-ERR {text}\r\n".encode())


def logins(server: Pop3Server) -> int:
    return sum(one.startswith(("AUTH", "PASS")) for one in server.commands)


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch, verb: str) -> Iterator[list[dict[str, Any]]]:
    said: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        patch.setattr(trace, verb, lambda **fields: said.append(fields))
        yield said


# --- moods that pass ------------------------------------------------------------------------------------------------


def test_a_maildrop_in_use_is_tried_again_soon_and_fails_only_when_it_repeats(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account = house.fetching(pop3_server.port)
    refuse(pop3_server, "[IN-USE] do you have it open?")
    result = poll(account, context)
    assert ("failed", errors.MaildropLocked) == (result.outcome, type(result.error))
    now = row(context)
    assert (None, clock.now + FIRST) == (now.failing_since, now.next_poll_at)
    assert "another client holds the maildrop" in now.last_error
    clock.forward(minutes=1)
    poll(account, context)
    assert (clock.now, clock.now + 2 * FIRST) == (row(context).failing_since, row(context).next_poll_at)


@pytest.mark.parametrize(("announced", "wait"), [(None, FIRST), (30, FIRST), (900, timedelta(seconds=900))])
def test_a_login_too_soon_waits_as_long_as_the_server_said(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, announced: int | None, wait: timedelta
) -> None:
    if announced is not None:
        pop3_server.extra_capabilities.append(f"LOGIN-DELAY {announced}")
    refuse(pop3_server, "[LOGIN-DELAY] too soon")
    assert isinstance(poll(house.fetching(pop3_server.port), context).error, errors.LoginTooSoon)
    assert (None, clock.now + wait) == (row(context).failing_since, row(context).next_poll_at)


def test_a_login_delay_known_from_the_last_visit_counts_after_a_refusal_too(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account = house.fetching(pop3_server.port)
    pop3_server.extra_capabilities.append("LOGIN-DELAY 600 USER")
    assert "ok" == poll(account, context).outcome
    pop3_server.extra_capabilities.pop()
    refuse(pop3_server, "[LOGIN-DELAY] too soon")
    poll(account, context)
    assert clock.now + timedelta(minutes=10) == row(context).next_poll_at


def test_a_passing_fault_is_backed_off_from_with_jitter(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    refuse(pop3_server, "[SYS/TEMP] the disk is full")
    poll(house.fetching(pop3_server.port), replace(context, jitter=lambda: 0.0))
    assert (clock.now, clock.now + 0.8 * FIRST) == (row(context).failing_since, row(context).next_poll_at)
    assert None is row(context).stopped_since


# --- moods that stop the polling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["[AUTH] wrong password", "[SYS/PERM] your mailbox is damaged"])
def test_a_refusal_with_its_code_stops_the_polling_at_once(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    refuse(pop3_server, text)
    with traced(monkeypatch, "polling_stopped") as said:
        poll(house.fetching(pop3_server.port), context)
    advice = "polling is stopped until its settings change or `postroom retry home`"
    assert ["home"] == [one["account"] for one in said]
    assert advice == said[0]["advice"]
    now = row(context)
    assert (clock.now, None) == (now.stopped_since, now.next_poll_at)
    assert now.last_error.endswith(advice)
    assert PASSWORD not in now.stopped_settings


def test_a_bare_refusal_stops_the_polling_when_it_repeats(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account = house.fetching(pop3_server.port)
    refuse(pop3_server, "login failed")
    for _ in range(standstill.REFUSALS - 1):
        poll(account, context)
        assert (None, clock.now + LONGEST) == (row(context).stopped_since, row(context).next_poll_at)
        pop3_server.stop()  # an unreachable server says nothing about the password
        poll(account, context)
        pop3_server.start()
    poll(account, context)
    assert clock.now == row(context).stopped_since


def test_a_success_between_bare_refusals_counts_them_anew(context: Context, pop3_server: Pop3Server) -> None:
    account = house.fetching(pop3_server.port)
    for _ in range(standstill.REFUSALS):
        refuse(pop3_server, "login failed")
        poll(account, context)
        pop3_server.answers.clear()
        assert "ok" == poll(account, context).outcome
    assert accounts.Standing(last_login_at=standing(context).last_login_at) == standing(context)


def test_a_visit_by_hand_that_goes_well_ends_the_stop_and_another_fault_does_not(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account = house.fetching(pop3_server.port)
    refuse(pop3_server, "[AUTH] wrong password")
    poll(account, context)
    refuse(pop3_server, "[SYS/TEMP] busy")
    poll(account, context)
    assert (clock.now, None) == (row(context).stopped_since, row(context).next_poll_at)
    assert "polling is stopped" in row(context).last_error
    pop3_server.answers.clear()
    assert "ok" == poll(account, context).outcome
    assert (None, None) == (row(context).stopped_since, row(context).stopped_settings)


# --- what ends a stop -----------------------------------------------------------------------------------------------


def test_a_fingerprint_has_a_salt_and_changes_with_settings_and_password(tmp_path: Path) -> None:
    pop3 = house.fetching(110).pop3
    assert pop3 is not None
    one, other = standstill.fingerprint(pop3), standstill.fingerprint(pop3)
    assert one != other
    assert one.startswith("scrypt$16384$8$5$")
    assert standstill.is_unchanged(pop3, one)
    changes = [
        replace(pop3, username="bob"),
        replace(pop3, password=house.password("another")),
        replace(pop3, endpoint=replace(pop3.endpoint, proxy="socks5://u:p@h:1")),
        replace(pop3, endpoint=replace(pop3.endpoint, client_certificate=tmp_path / "a.pem")),
    ]
    assert [False] * 4 == [standstill.is_unchanged(changed, one) for changed in changes]
    for unreadable in (None, "", "scrypt$1$1$1$zz$zz", "nonsense"):
        assert not standstill.is_unchanged(pop3, unreadable)


def stopped(context: Context, server: Pop3Server, password: SecretSource | None = None) -> Account:
    account = house.fetching(server.port)
    assert account.pop3 is not None
    account = replace(account, pop3=replace(account.pop3, password=password or account.pop3.password))
    refuse(server, "[AUTH] wrong password")
    poll(account, context)
    server.answers.clear()
    return account


def test_a_stopped_account_is_left_alone_also_by_a_new_daemon(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account = stopped(context, pop3_server)
    for turns in (Turns.of(context), Turns.of(context)):
        for _ in range(3):
            clock.forward(hours=5)
            assert not turns.allows(account, context)


def test_changed_settings_end_a_stop_when_the_daemon_starts(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(context, pop3_server, SecretSource(value=Secret("wrong")))
    clock.forward(seconds=1)
    with traced(monkeypatch, "polling_resumed") as said:
        assert Turns.of(context).allows(house.fetching(pop3_server.port), context)
    assert ["home"] == [one["account"] for one in said]
    assert None is row(context).stopped_since


def test_a_new_password_file_ends_a_stop_within_a_minute(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    file.chmod(0o600)
    turns = Turns.of(context)
    account = stopped(context, pop3_server, SecretSource(file=file))
    file.write_text(f"{PASSWORD}\n")
    clock.forward(seconds=59)
    assert not turns.allows(account, context)
    clock.forward(seconds=1)
    assert turns.allows(account, context)


def test_a_password_command_is_run_no_more_often_than_the_longest_wait(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    command = ("sh", "-c", f"echo run >> {runs}; echo wrong")
    turns = Turns.of(context)
    account = stopped(context, pop3_server, SecretSource(command=command))
    before = runs.read_text().count("run")
    clock.now += LONGEST - timedelta(seconds=1)
    assert not turns.allows(account, context)
    assert before == runs.read_text().count("run")
    clock.forward(seconds=1)
    assert not turns.allows(account, context)
    assert not turns.allows(account, context)
    assert before + 1 == runs.read_text().count("run")


def test_a_retry_ends_stop_back_off_and_relay_pause(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    account, turns = stopped(context, pop3_server), Turns.of(context)
    with context.database.transaction() as tx:
        relays.failed(tx, "home", "r:25", "no relay", clock.now, clock.now + LONGEST)
    standstill.retry(context.database, "home", clock.now)
    assert {"home"} == turns.due(context)
    assert turns.allows(account, context)
    assert (None, None) == (row(context).stopped_since, row(context).relay_paused_until)


def test_a_fetch_of_all_leaves_a_stopped_account_alone(context: Context, pop3_server: Pop3Server) -> None:
    account = stopped(context, pop3_server)
    assert "postroom fetch home" in str(standstill.left_alone(account, context))
    assert None is standstill.left_alone(house.fetching(pop3_server.port, secret="new"), context)
    standstill.retry(context.database, "home", context.clock())
    assert None is standstill.left_alone(account, context)


# --- pauses between logins ------------------------------------------------------------------------------------------


def test_a_visit_asked_for_within_the_login_delay_is_kept_for_its_end(
    context: Context, clock: house.Clock, pop3_server: Pop3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, turns = house.fetching(pop3_server.port), Turns.of(context)
    pop3_server.extra_capabilities.append("LOGIN-DELAY 900")
    poll(account, context)
    clock.forward(seconds=899)
    with traced(monkeypatch, "login_delayed") as said:
        assert [False, False] == [turns.allows(account, context), turns.allows(account, context)]
    assert [("home", 900, clock.now + timedelta(seconds=1))] == [tuple(one.values()) for one in said]
    assert set() == turns.due(context)
    assert not Turns.of(context).allows(account, context), "a restart is no reason to log in sooner"
    clock.forward(seconds=1)
    assert {"home"} == turns.due(context)
    assert turns.allows(account, context)
    assert set() == turns.due(context)


def test_what_is_due_is_asked_for_once_and_again_after_a_while(
    context: Context, clock: house.Clock, pop3_server: Pop3Server
) -> None:
    turns = Turns.of(context)
    refuse(pop3_server, "[IN-USE] wait")
    poll(house.fetching(pop3_server.port), context)
    assert set() == turns.due(context)
    clock.forward(minutes=1)
    assert [{"home"}, set()] == [turns.due(context), turns.due(context)]
    clock.forward(seconds=30)
    assert {"home"} == turns.due(context)
    standstill.retry(context.database, "home", clock.now)
    assert {"home"} == turns.due(context), "a retry is another reason"


# --- a server that deletes by itself --------------------------------------------------------------------------------


def expiring(server: Pop3Server, said: str) -> None:
    server.extra_capabilities[:] = [f"EXPIRE {said}"]


def test_expire_0_takes_only_what_is_proven(context: Context, pop3_server: Pop3Server, maildrop: Maildrop) -> None:
    expiring(pop3_server, "0")
    maildrop.add(LETTER)
    account = house.fetching(pop3_server.port)
    assert ("ok", 1) == (poll(account, context).outcome, poll(account, context).listed)
    assert 2 == pop3_server.commands.count("QUIT")


def test_expire_0_and_a_letter_that_was_let_go_end_without_quit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    expiring(pop3_server, "0")
    maildrop.add(LETTER)
    maildrop.add(LETTER + b"x" * 5000, listed_octets=10)
    account = house.fetching(pop3_server.port, max_message_octets=1000, delete=house.AFTER_FETCH)
    result = poll(account, context)
    assert ("ok", 1, 1, 0) == (result.outcome, result.fetched, result.skipped, result.dele_sent)
    assert 0 == pop3_server.commands.count("QUIT")
    assert 2 == len(maildrop.messages)
    expiring(pop3_server, "NEVER")
    assert 1 == poll(account, context).deleted


def test_expire_0_and_a_missing_proof_end_without_quit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring(pop3_server, "0")
    maildrop.add(LETTER)
    monkeypatch.setattr("daemon.store.sources.proven", lambda _conn, _messages: set())
    assert isinstance(poll(house.fetching(pop3_server.port), context).error, errors.ProofMissing)
    assert [] == [one for one in pop3_server.commands if one in {"QUIT", "RSET"}]


def test_expire_0_and_a_look_by_hand_end_without_quit(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    maildrop.add(LETTER)
    account = house.fetching(pop3_server.port)
    assert LETTER == look.show(account, "#1", context)
    assert 1 == pop3_server.commands.count("QUIT")
    expiring(pop3_server, "0")
    assert LETTER == look.show(account, "#1", context)
    assert 1 == pop3_server.commands.count("QUIT")
    look.listing(account, context)
    assert 2 == pop3_server.commands.count("QUIT")


def test_a_retention_shorter_than_wanted_is_warned_of_once(
    context: Context, pop3_server: Pop3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring(pop3_server, "7")
    with traced(monkeypatch, "expiry_noticed") as said:
        for _ in range(2):
            poll(house.fetching(pop3_server.port, max_message_octets=1000), context)
    assert 2 == len(said)
    assert "deletes mail after 7 days (EXPIRE 7)" in said[0]["concern"]


def test_a_letter_that_vanished_from_an_expiring_server_says_so(
    context: Context, pop3_server: Pop3Server, maildrop: Maildrop
) -> None:
    expiring(pop3_server, "60")
    maildrop.add(LETTER)
    account = house.fetching(pop3_server.port)
    poll(account, context)
    maildrop.messages.clear()
    poll(account, context)
    from daemon.store import ledger

    with context.database.reading() as conn:
        (gone,) = ledger.history(conn, "home")
    assert gone.reason.endswith("not deleted by postroom; the server deletes mail after 60 days (EXPIRE 60)")
