"""Fetching from a real Dovecot: octet for octet, over every kind of line, and deleted when the policy says so and only then."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from daemon import errors
from tests import corpus
from tests.e2e.daemon_process import command
from tests.e2e.real_house import House, digests
from tests.servers import certificates as making
from tests.servers.dovecot import Dovecot

FIVE_HUNDRED: Final = 500
pytestmark = pytest.mark.servers


def port(dovecot: Dovecot, security: str) -> int:
    return dovecot.pop3s_port if security == "tls" else dovecot.pop3_port


def some(count: int, seed: int = 2) -> list[bytes]:
    return [letter.octets for letter in corpus.letters(count, seed)]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_five_hundred_letters_come_in_octet_for_octet_and_stay(
    house: House, dovecot: Dovecot, user: str, security: str
) -> None:
    dovecot.fill(user, some(FIVE_HUNDRED, seed=1))
    result = house.with_pop3(user, port(dovecot, security), security).fetch()

    assert (None, FIVE_HUNDRED, FIVE_HUNDRED, 0) == (result.error, result.listed, result.new, result.deleted)
    on_the_server = digests(dovecot.contents(user))
    assert FIVE_HUNDRED == on_the_server.total()
    assert on_the_server == house.digests()
    assert on_the_server == digests(some(FIVE_HUNDRED, seed=1)), "nothing was touched on the server"
    recorded = {row["sha256"]: row["octets"] for row in house.rows("SELECT sha256, octets FROM messages")}
    assert set(on_the_server) == set(recorded)
    assert sum(map(len, dovecot.contents(user))) == sum(recorded.values())

    again = house.fetch()
    assert (None, FIVE_HUNDRED, 0) == (again.error, again.listed, again.fetched)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_five_hundred_letters_are_deleted_after_the_fetch_when_that_is_the_policy(
    house: House, dovecot: Dovecot, user: str, security: str
) -> None:
    letters = some(FIVE_HUNDRED, seed=3)
    dovecot.fill(user, letters)
    result = house.with_pop3(user, port(dovecot, security), security, delete="after_fetch").fetch()

    assert (None, FIVE_HUNDRED, FIVE_HUNDRED) == (result.error, result.new, result.deleted)
    assert [] == dovecot.files(user)
    assert digests(letters) == house.digests()
    ledger = house.rows("SELECT count(*) AS n FROM ledger WHERE deleted_at IS NOT NULL AND dele_sent_at IS NOT NULL")
    assert FIVE_HUNDRED == ledger[0]["n"]


def test_letters_are_deleted_at_their_age_and_not_before(house: House, dovecot: Dovecot, user: str) -> None:
    first, second = some(20)[:10], some(20)[10:]
    dovecot.fill(user, first)
    house.with_pop3(user, dovecot.pop3_port, "starttls", delete="14d")
    assert (10, 0) == ((result := house.fetch()).fetched, result.deleted)
    dovecot.fill(user, second)
    assert (10, 0) == ((result := house.fetch(later=timedelta(days=13))).fetched, result.deleted)
    assert 20 == len(dovecot.files(user))

    assert (0, 10) == ((result := house.fetch(later=timedelta(days=15))).fetched, result.deleted)
    assert digests(second) == digests(dovecot.contents(user))
    assert digests(first + second) == house.digests()


def test_a_policy_that_changes_later_deletes_what_is_archived_without_fetching_it_again(
    house: House, dovecot: Dovecot, user: str
) -> None:
    dovecot.fill(user, some(10))
    house.with_pop3(user, dovecot.pop3_port, "starttls").fetch()
    assert 10 == len(dovecot.files(user))
    result = house.with_pop3(user, dovecot.pop3_port, "starttls", delete="after_fetch").fetch()
    assert (None, 0, 10) == (result.error, result.fetched, result.deleted)
    assert [] == dovecot.files(user)


def test_nothing_is_deleted_when_the_archive_does_not_read_back_equal(
    house: House, dovecot: Dovecot, user: str
) -> None:
    letters = some(10)
    dovecot.fill(user, letters)
    house.with_pop3(user, dovecot.pop3_port, "starttls").fetch()
    house.change(
        "UPDATE message_sources SET content = :other WHERE message = (SELECT min(id) FROM messages)", other=b"rotten"
    )
    result = house.with_pop3(user, dovecot.pop3_port, "starttls", delete="after_fetch").fetch()
    assert isinstance(result.error, errors.ProofMissing)
    assert 0 == result.deleted
    assert digests(letters) == digests(dovecot.contents(user))


def test_only_what_is_new_is_fetched(house: House, dovecot: Dovecot, user: str) -> None:
    letters = some(30)
    dovecot.fill(user, letters[:20])
    house.with_pop3(user, dovecot.pop3s_port, "tls").fetch()
    dovecot.fill(user, letters[20:])
    assert (30, 10) == ((result := house.fetch()).listed, result.fetched)
    assert digests(letters) == house.digests()


def test_equal_letters_in_two_maildrops_are_stored_once(house: House, dovecot: Dovecot, user: str) -> None:
    letters = some(10)
    dovecot.fill(user, [*letters, *letters])
    result = house.with_pop3(user, dovecot.pop3_port, "starttls").fetch()
    assert (20, 10) == (result.fetched, result.new)
    assert digests(letters) == house.digests()


def test_stored_with_bare_line_feeds_or_no_end_it_is_archived_as_the_server_sends_it(
    house: House, dovecot: Dovecot, user: str
) -> None:
    """Dovecot's LIST counts two octets less than it sends of a letter that has no last line end."""
    stored = [one.replace(b"\r\n", b"\n") for one in some(100) if b"\r\r" not in one]
    stored += [one.removesuffix(b"\r\n") for one in some(20, seed=4)] + [b"Subject: x\n\n.\n..\n", b"\r\n", b""]
    dovecot.fill(user, stored)
    result = house.with_pop3(user, dovecot.pop3_port, "starttls", delete="after_fetch").fetch()
    assert (None, len(stored)) == (result.error, result.fetched)
    assert set(digests([corpus.as_sent(one) for one in stored])) == set(house.digests())
    assert [] == dovecot.files(user)


def test_one_large_letter_comes_in_octet_for_octet(house: House, dovecot: Dovecot, user: str) -> None:
    letter = b"Subject: large\r\n\r\n" + b"".join(b".%07d " % n + b"x" * 90 + b"\r\n" for n in range(250_000))
    assert len(letter) > 24_000_000
    dovecot.fill(user, [letter])
    house.with_pop3(user, dovecot.pop3s_port, "tls", delete="after_fetch").fetch()
    assert digests([letter]) == house.digests()
    assert [] == dovecot.files(user)


def test_a_letter_over_the_limit_stays_and_the_ledger_says_why(house: House, dovecot: Dovecot, user: str) -> None:
    dovecot.fill(user, [b"small\r\n", b"large\r\n" * 1000])
    result = house.with_pop3(
        user, dovecot.pop3_port, "starttls", delete="after_fetch", max_message_octets="1000"
    ).fetch()
    assert (None, 1, 1, 1) == (result.error, result.fetched, result.skipped, result.deleted)
    assert [b"large\r\n" * 1000] == dovecot.contents(user)
    (row,) = house.rows("SELECT status, reason FROM ledger WHERE message IS NULL")
    assert "skipped" == row["status"]
    assert row["reason"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_an_unknown_authority_ends_the_visit_before_the_password(
    house: House, dovecot: Dovecot, user: str, security: str, tmp_path: Path
) -> None:
    stranger = making.make(tmp_path)
    dovecot.fill(user, some(1))
    house.with_pop3(user, port(dovecot, security), security, ca_file=str(stranger.ca_file))
    result = house.fetch()
    assert isinstance(result.error, errors.CertificateRejected)
    (row,) = house.rows("SELECT outcome, transcript FROM polls")
    assert "failed" == row["outcome"]
    assert not any(word in (row["transcript"] or "") for word in ("USER", "PASS", "AUTH"))


def test_a_refused_login_is_one_clear_error(house: House, dovecot: Dovecot, user: str) -> None:
    result = house.with_pop3(user, dovecot.pop3_port, "starttls", password="not-the-password").fetch()
    assert isinstance(result.error, errors.AuthFailed)
    (row,) = house.rows("SELECT last_error, failures FROM accounts WHERE name = 'home'")
    assert 1 == row["failures"]
    assert "\n" not in row["last_error"]
    (visit,) = house.rows("SELECT transcript FROM polls")
    assert "STLS" in visit["transcript"]
    assert "not-the-password" not in visit["transcript"]


@pytest.mark.parametrize("auth", ["user", "plain", "login"])
def test_every_way_to_log_in_works(house: House, dovecot: Dovecot, user: str, auth: str) -> None:
    dovecot.fill(user, some(1))
    assert 1 == house.with_pop3(user, dovecot.pop3_port, "starttls", auth=auth).fetch().fetched


def test_the_commands_do_the_same(house: House, dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    letters = some(3)
    dovecot.fill(user, letters)
    environment = house.with_pop3(user, dovecot.pop3_port, "starttls").environment

    def postroom(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command(*words), env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False
        )

    assert 0 == postroom("check").returncode
    assert 0 == postroom("fetch").returncode
    ids = [row["id"] for row in house.rows("SELECT id FROM messages ORDER BY id")]
    shown = [postroom("show", str(one), "--raw").stdout for one in ids]
    assert digests(letters) == digests(shown)
    uidl = house.rows("SELECT uidl FROM ledger ORDER BY id")[0]["uidl"]
    assert uidl.encode() in postroom("maildrop", "list", "home").stdout
    deleting = postroom("maildrop", "delete", "home", uidl)
    assert 0 == deleting.returncode, deleting.stderr
    assert 2 == len(dovecot.files(user))
