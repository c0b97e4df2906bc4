"""`postroom suppress` from end to end."""

from daemon import errors
from tests.cli.test_verbs import House, house, servers

__all__ = ["house", "servers"]  # fixtures


def test_addresses_are_suppressed_listed_and_let_go(house: House) -> None:
    added = house("suppress", "add", "Bob <Bob@example.NET>", "carol@example.com", "--reason", "asked for it")
    assert "2 addresses suppressed\n" == added.stdout
    assert "0 addresses suppressed\n" == house("suppress", "add", "bob@example.net").stdout
    rows = house.json("suppress", "list")
    assert [("bob@example.net", "hand", "asked for it"), ("carol@example.com", "hand", "asked for it")] == [
        (row["address"], row["suppressed_by"], row["reason"]) for row in rows
    ]
    assert "bob@example.net\thand\t" in house("suppress", "list").stdout
    assert "1 address removed\n" == house("suppress", "remove", "BOB@example.net").stdout
    assert ["carol@example.com"] == [row["address"] for row in house.json("suppress", "list")]


def test_what_is_no_address_and_what_is_not_there_is_said(house: House) -> None:
    assert "name@domain is needed" in house("suppress", "add", "bob", expected=errors.EX_DATAERR).stderr
    house("suppress", "add", "bob@example.net")
    result = house("suppress", "remove", "bob@example.net", "dora@example.net", expected=errors.EX_NOINPUT)
    assert "postroom: not suppressed: dora@example.net\n" == result.stderr
    assert 1 == len(house.json("suppress", "list")), "all or none"
