"""EXPIRE (RFC 2449 section 6.7) is read whatever is in it, said in words, and compared with what the operator wants."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.mail.account import DeletePolicy, First
from daemon.pop3.retention import Expire
from tests.doubles import house


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("٣", None),
        ("NEVER", Expire(days=None)),
        ("never user", Expire(days=None, is_per_user=True)),
        ("0", Expire(days=0)),
        ("60", Expire(days=60)),
        ("30 USER", Expire(days=30, is_per_user=True)),
        ("9" * 5000, Expire(days=None)),
    ],
)
def test_expire_is_read(said: str | None, expected: Expire | None) -> None:
    assert expected == Expire.parse(said)


@pytest.mark.parametrize(
    ("expire", "words", "is_never", "is_at_quit"),
    [
        (Expire(days=None), "keeps mail until it is deleted", True, False),
        (Expire(days=0), "deletes what was fetched when the session ends (EXPIRE 0)", False, True),
        (Expire(days=1), "deletes mail after 1 day (EXPIRE 1)", False, False),
        (
            Expire(days=30, is_per_user=True),
            "deletes mail after 30 days (EXPIRE 30), or as it is set for each user",
            False,
            False,
        ),
    ],
)
def test_expire_is_said_in_words(expire: Expire, words: str, *, is_never: bool, is_at_quit: bool) -> None:
    assert (words, is_never, is_at_quit) == (str(expire), expire.is_never, expire.is_at_quit)


AGE = DeletePolicy(kind="age", age=timedelta(days=14))
SINCE = First(kind="since", since=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("days", "settings", "expected"),
    [
        (None, {"delete": house.NEVER}, []),
        (0, {"delete": house.AFTER_FETCH}, []),
        (0, {"delete": house.NEVER}, ["DELETE is never"]),
        (14, {"delete": AGE}, []),
        (13, {"delete": AGE}, ["the 14 days of DELETE"]),
        (60, {"delete": house.AFTER_FETCH, "max_message_octets": 9}, ["larger than 9 octets"]),
        (60, {"delete": house.AFTER_FETCH, "max_message_octets": 9, "oversize": "headers"}, ["but for their header"]),
        (60, {"delete": house.AFTER_FETCH, "first": SINCE}, ["FIRST"]),
    ],
)
def test_what_the_server_will_not_do_is_said(days: int | None, settings: dict[str, Any], expected: list[str]) -> None:
    pop3 = house.fetching(110, **settings).pop3
    assert pop3 is not None
    found = Expire(days=days).concerns(pop3)
    assert len(expected) == len(found)
    assert all(part in one for part, one in zip(expected, found, strict=True))
