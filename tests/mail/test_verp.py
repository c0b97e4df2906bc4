"""Sender addresses that name row and recipient: read by us, made up by nobody else, short enough for every relay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mail import address, verp
from daemon.mail.verp import Marked

KEY = b"k" * 32
LOCAL = st.text("abcxyz019._-+", min_size=1, max_size=64).filter(lambda one: ".." not in one and one.strip(".") == one)


@given(local=LOCAL, outbox_id=st.integers(1, 2**63 - 1), recipient=st.text(max_size=30))
def test_what_is_made_is_read_and_stays_an_address(local: str, outbox_id: int, recipient: str) -> None:
    made = verp.sender(f"{local}@example.org", outbox_id, recipient, KEY)
    if made == f"{local}@example.org":
        assert len(local) > 64 - len("+pr-") - 13 - 16
        return
    assert made == address.check(made)
    assert len(made.partition("@")[0]) <= address.MAX_LOCAL_OCTETS
    expected = Marked(outbox_id, verp.mark(recipient, KEY))
    assert expected == verp.read(made, KEY) == verp.read(made.upper(), KEY) == verp.read(f"<{made}>", KEY)
    assert None is verp.read(made, b"another key")


def test_spellings_of_a_recipient_have_one_mark() -> None:
    assert verp.mark("Bob@BÜCHER.example", KEY) == verp.mark("bob@xn--bcher-kva.example", KEY)
    assert verp.mark("bob@example.net", KEY) != verp.mark("bob@example.org", KEY)


def test_no_letter_of_a_marked_address_can_be_changed() -> None:
    made = verp.sender("anna@example.org", 12345, "bob@example.net", KEY)
    begin, end = made.index("+pr") + 3, made.index("@")
    for place in range(begin, end):
        for letter in "az27":
            forged = made[:place] + letter + made[place + 1 :]
            if forged != made:
                assert None is verp.read(forged, KEY), forged


@pytest.mark.parametrize(
    "plain", ["", '"anna x"@example.org', f"{'a' * 45}@example.org", "nonsense", "größe" * 11 + "@example.org"]
)
def test_what_can_not_be_marked_stays_as_it_is(plain: str) -> None:
    assert plain == verp.sender(plain, 2**31, "bob@example.net", KEY)
    assert not verp.is_marked(plain)


@pytest.mark.parametrize(
    "other",
    ["anna@example.org", "anna+pr7@example.org", "anna+pr7-abcdefghij234567", "+pr-@x", "anna+prö-aaaaaaaaaaaaaaaa@x"],
)
def test_other_addresses_say_nothing(other: str) -> None:
    assert None is verp.read(other, KEY)
