"""`hold` and what it means for `db prune`, `show` and `status`."""

from tests.cli.test_verbs import House, house, servers

__all__ = ["house", "servers"]  # pytest finds fixtures by their names


def test_a_hold_is_shown_wherever_one_looks_until_it_ends(house: House) -> None:
    house("fetch")
    house.sql("UPDATE messages SET archived_at = '2020-01-01T00:00:00.000Z'")
    assert "hold 1: 1 message\n" == house("hold", "add", "--reason", "case 12", "subject:invoice").stdout
    assert "case 12" in house("hold", "list").stdout
    assert [("subject:invoice", "case 12", 1)] == [
        (one["query"], one["reason"], one["messages"]) for one in house.json("hold", "list")
    ]
    (found,) = house.json("search", "invoice")
    assert "On hold: 1: case 12\n" in house("show", str(found["id"])).stdout
    assert "1 on hold\n" in house("status").stdout
    assert house("db", "prune", "--older-than", "365d").stdout.endswith(
        "would be deleted; --yes deletes them; 1 on hold stay\n"
    )
    assert (
        "1 message deleted from the archive; 1 on hold stay\n"
        == house("db", "prune", "--older-than", "365d", "--yes").stdout
    )
    assert "hold 1 ended\n" == house("hold", "remove", "1").stdout
    assert "1 message deleted" in house("db", "prune", "--older-than", "365d", "--yes", "subject:invoice").stdout


def test_what_is_missing_is_said(house: House) -> None:
    assert "Give a QUERY, or --account NAME." in house("hold", "add", "--reason", "x", expected=64).stderr
    assert "--reason is empty" in house("hold", "add", "--reason", " ", "x", expected=64).stderr
    assert "there is no hold 7" in house("hold", "remove", "7", expected=66).stderr
    assert [] == house.json("hold", "list")
