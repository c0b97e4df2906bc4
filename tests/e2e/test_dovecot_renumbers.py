"""A real Dovecot that lost its list of UIDs: every message gets a new UIDL, and nothing is fetched or deleted for it."""

import pytest

from tests import corpus
from tests.e2e.real_house import House, digests
from tests.servers.dovecot import Dovecot

COUNT = 200
pytestmark = pytest.mark.servers


def letters(count: int, start: int = 0) -> list[bytes]:
    """Make letters as an MTA delivers them: each has a Received field of its own."""
    received = "Received: by mx.example.org with ESMTP id {:06d}; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    found = [letter.octets for letter in corpus.letters(start + count, 5)][start:]
    return [received.format(start + n).encode() + octets for n, octets in enumerate(found)]


def test_after_a_reset_of_uids_nothing_is_fetched_and_nothing_is_lost(
    house: House, dovecot: Dovecot, user: str
) -> None:
    old, new = letters(COUNT), letters(7, COUNT)
    dovecot.fill(user, old)
    house.with_pop3(user, dovecot.pop3_port, "starttls").fetch()
    before = {row["uidl"] for row in house.rows("SELECT uidl FROM ledger")}
    dovecot.forget(user)
    dovecot.fill(user, new)
    result = house.with_pop3(user, dovecot.pop3_port, "starttls", delete="after_fetch").fetch()
    assert (None, COUNT + 7, 7, 7, 7) == (result.error, result.listed, result.fetched, result.new, result.deleted)
    assert digests(old) == digests(dovecot.contents(user)), "what has a new name is not deleted at once"
    assert before.isdisjoint(row["uidl"] for row in house.rows("SELECT uidl FROM ledger"))

    result = house.fetch()
    assert (None, 0, COUNT) == (result.error, result.fetched, result.deleted)
    assert digests(old + new) == house.digests()


def test_another_mailbox_under_the_same_account_is_held(house: House, dovecot: Dovecot, user: str) -> None:
    other = f"{user[:90]}-other"
    dovecot.fill(user, letters(COUNT))
    dovecot.fill(other, theirs := letters(COUNT, COUNT))
    house.with_pop3(user, dovecot.pop3_port, "starttls").fetch()
    try:
        result = house.with_pop3(other, dovecot.pop3_port, "starttls", delete="after_fetch").fetch()
        assert f"none of the {COUNT} that were there" in str(result.error)
        assert digests(theirs) == digests(dovecot.contents(other))
        assert digests(letters(COUNT)) == house.digests()
    finally:
        dovecot.empty(other)
    assert 0 == house.with_pop3(user, dovecot.pop3_port, "starttls").fetch().fetched
    assert None is house.rows("SELECT held_since FROM accounts WHERE name = 'home'")[0]["held_since"]
