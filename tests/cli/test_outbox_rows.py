"""`outbox list`, `show --transcript`, `purge` and `add --forward`, from end to end."""

from tests.cli.test_verbs import House, house, servers

__all__ = ["house", "servers"]  # pytest finds fixtures by their names


def add(house: House, *more: str, to: str = "bob@example.net") -> None:
    house("outbox", "add", "--to", to, "--subject", "x", *more, stdin=b"y")


def ids(house: House, *arguments: str) -> list[object]:
    return [row["id"] for row in house.json("outbox", "list", *arguments)]


def test_rows_are_listed_by_account_and_recipient(house: House) -> None:
    add(house, "--account", "work")
    add(house, "--account", "other", "--cc", "Carl <CARL@example.net>")
    add(house, "--bcc", "50%_off@example.net")
    assert [3, 2, 1] == ids(house)
    assert [1] == ids(house, "--account", "work")
    assert [2] == ids(house, "--to", "carl@example.net")
    assert [3] == ids(house, "--to", "50%_OFF")
    assert [] == ids(house, "--to", "bob@example.net", "--status", "failed")


def test_show_says_how_each_attempt_went_and_what_was_said_when_asked(house: House) -> None:
    house.smtp.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("bob") else None
    add(house)
    house("send")
    shown = house("outbox", "show", "1").stdout
    assert "1\t" in shown
    assert "\tfailed\t550 5.1.1\t" in shown
    assert "the session of attempt 1 was kept: --transcript shows it\n" in shown
    assert "RCPT TO" not in shown
    shown = house("outbox", "show", "1", "--transcript").stdout
    assert "attempt 1, session " in shown
    assert "RCPT TO:<bob@example.net>" in shown
    assert "550 5.1.1 no such user" in shown
    assert "was kept" not in shown


def test_purge_says_what_it_would_do_and_does_it_when_told(house: House) -> None:
    for number in range(3):
        add(house, *(["--key", "k"] if number == 2 else []))
    house("send")
    add(house)
    longago = "2020-01-01T00:00:00.000Z"
    house.sql(f"UPDATE outbox SET updated_at = '{longago}'")
    would = house("outbox", "purge", "--older-than", "90d").stdout
    assert would.startswith("2 rows over before ")
    assert would.endswith(" UTC would be deleted, 1 row with an idempotency key emptied; --yes does it\n")
    assert [4, 3, 2, 1] == ids(house)
    assert "0 rows deleted, 0 rows emptied\n" == house(
        "outbox", "purge", "--older-than", "90d", "--status", "failed, expired", "--yes"
    ).stdout  # fmt: skip
    assert "2 rows deleted, 1 row emptied\n" == house("outbox", "purge", "--older-than", "90d", "--yes").stdout
    assert [4, 3] == ids(house)
    assert "3\n" == house("outbox", "add", "--to", "b@example.net", "--subject", "x", "--key", "k", stdin=b"y").stdout
    assert "1 row deleted, 0 rows emptied\n" == house(
        "outbox", "purge", "--older-than", "90d", "--keys", "--yes"
    ).stdout  # fmt: skip


def test_purge_refuses_what_is_not_over_or_too_young(house: House) -> None:
    assert "'queued' is not one of sent, partial" in house(
        "outbox", "purge", "--older-than", "90d", "--status", "queued", expected=64
    ).stderr  # fmt: skip
    assert "a day at least" in house("outbox", "purge", "--older-than", "1h", expected=64).stderr
    assert "is not an age like 90d" in house("outbox", "purge", "--older-than", "x", expected=64).stderr
    both = house("outbox", "purge", "--older-than", "90d", "--yes", "--dry-run", expected=64)
    assert "not both" in both.stderr


def test_an_archived_message_is_sent_on_by_hand(house: House) -> None:
    house("fetch")
    house("outbox", "add", "--to", "bob@example.net", "--forward", "1")
    assert "work: 1 sent\n" == house("send").stdout
    assert house.smtp.received[0].content.endswith(b"\r\nPlease pay.\r\n")
    assert "forwards: 1\n" in house("outbox", "show", "1").stdout
    refused = house("outbox", "add", "--to", "bob@example.net", "--forward", "7", expected=65)
    assert "outbox.forwards: there is no such message in the archive" in refused.stderr
