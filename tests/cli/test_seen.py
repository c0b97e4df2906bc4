"""`fetch --uidl`, `fetch --mark-seen` and `import`, from end to end."""

from tests.cli.test_verbs import House, house, servers

__all__ = ["house", "servers"]  # pytest finds fixtures by their names


def test_a_maildrop_is_marked_and_one_message_fetched_after_all(house: House) -> None:
    assert "work: 2 listed, 0 fetched, 2 marked as seen\n" == house("fetch", "work", "--mark-seen").stdout
    assert "work: 2 listed, 0 fetched\n" == house("fetch").stdout
    uidl = str(house.json("maildrop", "list", "work")[0]["uidl"])
    assert "1 fetched" in house("fetch", "work", "--uidl", uidl).stdout
    assert [("archived",), ("seen",)] == house.sql("SELECT status FROM ledger ORDER BY id")


def test_a_uidl_that_is_not_there_is_an_error(house: House) -> None:
    result = house("fetch", "work", "--uidl", "nowhere", expected=66)
    assert "nowhere: not in the maildrop (2 messages are)" in result.stderr


def test_these_take_one_account(house: House) -> None:
    assert "--uidl wants one ACCOUNT." in house("fetch", "--uidl", "x", expected=64).stderr
    assert "--mark-seen wants one ACCOUNT." in house("fetch", "--mark-seen", expected=64).stderr
    assert "Say one of" in house("fetch", "work", "--mark-seen", "--uidl", "x", expected=64).stderr


def test_a_seen_list_is_taken_over(house: House) -> None:
    (house.directory / "oldmail").write_bytes(b"one\0" + b"1795502317\ntwo\0" + b"1795502317\n")
    words = ("import", "--seen-from", "getmail", "--account", "work", "oldmail")
    assert "work: 2 messages marked as seen by getmail, 2 in the list\n" == house(*words).stdout
    assert "work: 0 messages marked as seen by getmail, 2 in the list\n" == house(*words).stdout
    assert [("one", "seen", "seen by getmail")] == house.sql(
        "SELECT uidl, status, reason FROM ledger WHERE uidl = 'one'"
    )


def test_a_list_of_another_kind_is_refused_with_a_line(house: House) -> None:
    (house.directory / "notes").write_text("to do: everything\n")
    result = house("import", "--seen-from", "mpop", "--account", "work", "notes", expected=65)
    assert "postroom: notes: line 1 is not as mpop writes its seen list" in result.stderr


def test_a_list_that_is_not_there_is_named(house: House) -> None:
    assert (
        "nowhere: No such file"
        in house("import", "--seen-from", "mpop", "--account", "work", "nowhere", expected=66).stderr
    )
