"""How people write values: each spelling, and each slip with what is said about it."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import notation
from daemon.mail.account import Cron, DeletePolicy, Every, First, Quota
from daemon.retry import Backoff


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (30, "30s"),
        (300, "5m"),
        (300, "5M"),
        (5400, "1h30m"),
        (5400, "1h 30m"),
        (5400, "1.5h"),
        (14 * 86400, "14d"),
        (14 * 86400, "2w"),
        (0.2, "0.2s"),
    ],
)
def test_a_wait_has_a_unit(expected: float, text: str) -> None:
    assert timedelta(seconds=expected) == notation.wait(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("a unit is missing: 5s, 5m, 5h or 5d?", "5"),
        ("it must be longer than nothing", "0s"),
        ("that is more than a century", "99999999w"),
        ("", "five minutes"),
        ("", "-5m"),
        ("", "5m?"),
        ("", "٥m"),  # noqa: RUF001 -- a digit that is not ours
        ("", "²s"),
        ("", ""),
    ],
)
def test_a_wrong_wait_says_what_is_wrong_with_it(expected: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the message is compared below
        notation.wait(text)
    assert expected == str(caught.value)


def test_seconds_may_stand_without_a_unit() -> None:
    assert [60.0, 2.5, 120.0] == [notation.seconds(text) for text in ("60", "2.5", "2m")]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e3", ""])
def test_seconds_are_a_plain_number_above_zero(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any message will do
        notation.seconds(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [(1, "1"), (26214400, "25M"), (26214400, "25MiB"), (26214400, "25 mb"), (2**31, "2G"), (1024, "1k")],
)
def test_octets_are_counted_in_powers_of_1024(expected: int, text: str) -> None:
    assert expected == notation.octets(text)


@pytest.mark.parametrize("text", ["0", "-5", "5T", "M", "1.5M", "9" * 30, "five"])
def test_octets_are_a_whole_number_above_zero(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any message will do
        notation.octets(text)


def test_a_backoff_is_two_waits_or_one() -> None:
    minute, hours = timedelta(minutes=1), timedelta(hours=4)
    assert Backoff(first=minute, longest=hours) == notation.backoff("1m..4h")
    assert Backoff(first=minute, longest=hours) == notation.backoff("1m .. 4h")
    assert Backoff(first=minute, longest=minute) == notation.backoff("1m")
    with pytest.raises(ValueError, match="the first wait is longer than the longest one"):
        notation.backoff("4h..1m")


def test_quotas_are_counts_per_period() -> None:
    expected = (Quota(count=10, period=timedelta(seconds=1)), Quota(count=500, period=timedelta(hours=1)))
    assert expected == notation.quotas("10/s, 500/H")


@pytest.mark.parametrize(
    ("expected", "text"), [("twice", "1/s,2/s"), ("never send", "0/d"), ("^$", "10"), ("^$", "10/y"), ("^$", "1/s,")]
)
def test_a_wrong_budget_is_refused(expected: str, text: str) -> None:
    with pytest.raises(ValueError, match=expected):
        notation.quotas(text)


def test_a_delete_policy_is_a_word_or_an_age() -> None:
    assert DeletePolicy(kind="never") == notation.delete_policy("Never")
    assert DeletePolicy(kind="after_fetch") == notation.delete_policy("after_fetch")
    assert DeletePolicy(kind="age", age=timedelta(days=14)) == notation.delete_policy("14d")
    assert DeletePolicy(kind="above", octets=500 * 1024**2) == notation.delete_policy("above: 500 MB")
    with pytest.raises(ValueError, match="a size is missing"):
        notation.delete_policy("above:")
    with pytest.raises(ValueError, match=r"did you mean after_fetch\?"):
        notation.delete_policy("after-fetch")
    with pytest.raises(ValueError, match="a unit is missing: 14s, 14m, 14h or 14d"):
        notation.delete_policy("14")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        ("0 8-18/2 1,15 * *", "0 8-18/2 1,15 * *"),
        ("0 0 * jan,jul *", "0 0 * 1,7 *"),
        ("0 0 * jan,feb,mar *", "0 0 * Jan-Mar *"),
        ("0 8 * * mon,tue,wed,thu,fri", "0  8 * * 1-5"),
        ("0 8 * * sun", "0 8 * * 0"),
        ("0 8 * * sun", "0 8 * * 7"),
        ("0 8 * * fri,sat,sun", "0 8 * * 5-7"),
        ("0 8 * * fri,sat,sun", "0 8 * * fri-sun"),
        ("0 8 * * sun,tue,thu,sat", "0 8 * * */2"),
    ],
)
def test_cron_weekdays_are_cron_s_and_leave_as_names(expected: str, text: str) -> None:
    """The scheduler counts weekdays from Monday, cron from Sunday; names mean one thing."""
    assert Cron(expression=expected) == notation.cron(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("minute '60' is not from 0 to 59", "60 * * * *"),
        ("hour 'x' is not from 0 to 23", "0 x * * *"),
        ("day of month '0' is not from 1 to 31", "0 0 0 * *"),
        ("month '13' is not from 1 to 12", "0 0 1 13 *"),
        ("weekday '8' is not from 0 to 7", "0 0 * * 8"),
        ("minute '\\*/0' is empty", "*/0 * * * *"),
        ("hour '9-5' is empty", "0 9-5 * * *"),
        ("minute '5/15' is not", "5/15 * * * *"),
        ("minute '' is not", "1, * * * *"),
        ("weekday '1#2' is not", "0 0 * * 1#2"),
        ("say the day of month or the weekday, not both", "0 0 13 * 5"),
        ("cron has five fields, these are 4", "* * * *"),
    ],
)
def test_wrong_cron_fields_are_named(expected: str, text: str) -> None:
    with pytest.raises(ValueError, match=expected):
        notation.cron(text)


def test_a_poll_is_an_interval_or_cron() -> None:
    assert Every(interval=timedelta(minutes=5)) == notation.poll("5m")
    assert Cron(expression="*/5 * * * *") == notation.poll("*/5 * * * *")
    with pytest.raises(ValueError, match="a second is the shortest interval"):
        notation.poll("0.5s")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("sqlite:///postroom.db", "sqlite:///postroom.db"),
        ("sqlite:////var/lib/postroom/postroom.db", "sqlite:////var/lib/postroom/postroom.db"),
        ("postgresql+psycopg://a:b@h/n", "postgresql+psycopg://a:b@h/n"),
        ("postgresql+psycopg://a:b@h/n", "postgresql://a:b@h/n"),
        ("postgresql+psycopg:///n?host=/tmp", "postgres:///n?host=/tmp"),
    ],
)
def test_a_database_url_names_one_of_two_databases(expected: str, text: str) -> None:
    assert expected == notation.database_url(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (r"did you mean sqlite:///mail\.db\?", "mail.db"),
        ("three slashes", "sqlite://mail.db"),
        ("needs a file", "sqlite:///:memory:"),
        ("needs a file", "sqlite:///"),
        ("did you mean sqlite", "sqllite:///x.db"),
        ("mysql is not one of them", "mysql://h/n"),
        ("it has no ://", "postroom"),
    ],
)
def test_a_wrong_database_url_says_what_is_wrong(expected: str, text: str) -> None:
    with pytest.raises(ValueError, match=expected):
        notation.database_url(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [("pop.example.org", "pop.example.org"), ("::1", "[::1]"), ("::1", "::1"), ("127.0.0.1", "127.0.0.1")],
)
def test_a_host_is_a_name_or_an_address(expected: str, text: str) -> None:
    assert expected == notation.host(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("leave pop3s:// away", "pop3s://pop.example.org"),
        ("the port stands in PORT", "pop.example.org:995"),
        ("^$", "a b"),
        ("^$", "h/x"),
        ("^$", "u@h"),
    ],
)
def test_a_wrong_host_says_where_the_rest_belongs(expected: str, text: str) -> None:
    with pytest.raises(ValueError, match=expected):
        notation.host(text)


def test_a_fingerprint_is_64_hexadecimal_digits_however_divided() -> None:
    plain = "0123456789abcdef" * 4
    colons = ":".join(plain[i : i + 2].upper() for i in range(0, 64, 2))
    assert [plain] * 3 == [notation.fingerprint(text) for text in (plain, colons, f"SHA256:{colons}")]
    with pytest.raises(ValueError, match="40 hexadecimal digits are not 64"):
        notation.fingerprint("ab" * 20)


def test_a_word_of_a_choice_is_found_by_its_letters() -> None:
    assert "json" == notation.choice("JSON", ("console", "json"))
    with pytest.raises(ValueError, match=r"did you mean failures\?"):
        notation.choice("failure", ("off", "failures", "all"))


def test_a_first_contact_is_a_word_or_a_moment() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert [First(kind="all"), First(kind="new")] == [notation.first("ALL"), notation.first("new")]
    for text in ("since:2026-01-01", "Since: 20260101", "since:2026-01-01T00:00", "since:2026-01-01T01:00+01:00"):
        assert First(kind="since", since=day) == notation.first(text), text
    for text, says in (("since", "date is missing"), ("since:yesterday", "ISO date"), ("nwe", "did you mean new")):
        with pytest.raises(ValueError, match=says):
            notation.first(text)


@pytest.mark.parametrize(
    "text",
    [
        "socks5://h:1",
        "SOCKS5h://u:p%40%2F@h:1080/",
        "socks4://u@10.0.0.1:1080",
        "http://u:p@[::1]:3128",
    ],
)
def test_a_proxy_is_a_url_with_a_port(text: str) -> None:
    assert text == notation.proxy_url(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("no ://", "proxy:1080"),
        ("none of socks5", "https://s3cret@h:1"),
        ("port is missing", "http://u:s3cret@h"),
        ("a port from 1", "http://u:s3cret@h:99999"),
        ("host is missing", "http://s3cret@:1"),
        ("follows the port", "http://h:1/s3cret"),
        ("follows the port", "socks5://u:s3/cret@h:1"),
        ("no password", "socks4://u:s3cret@h:1"),
    ],
)
def test_a_wrong_proxy_is_told_without_its_login(expected: str, text: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        notation.proxy_url(text)
    assert "cret" not in str(caught.value)


def test_a_language_is_a_tag() -> None:
    assert ["de", "pt-BR", "*"] == [notation.language(text) for text in ("de", "pt-BR", "*")]
    with pytest.raises(ValueError, match="minus"):
        notation.language("pt_BR")


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    """No reader lets another exception out, whatever a person types."""
    readers = (
        notation.wait,
        notation.seconds,
        notation.octets,
        notation.backoff,
        notation.quotas,
        notation.delete_policy,
        notation.poll,
        notation.cron,
        notation.database_url,
        notation.address,
        notation.host,
        notation.fingerprint,
        notation.command,
        notation.first,
        notation.language,
        notation.proxy_url,
    )
    for read in readers:
        with suppress(ValueError):
            read(text)


@given(st.lists(st.text(alphabet="0123456789*,-/abcdefjmnoprstuvwy", min_size=1, max_size=8), min_size=5, max_size=5))
def test_cron_fields_of_any_letters_are_cron_or_a_value_error(fields: list[str]) -> None:
    try:
        cron = notation.cron(" ".join(fields))
    except ValueError:
        return
    assert 5 == len(cron.expression.split())
