"""`export` and `import` as a person meets them."""

import json
from pathlib import Path

from tests.cli.test_verbs import PLAIN, RICH, House, house, servers

__all__ = ["house", "servers"]  # pytest finds fixtures by their names


def test_what_was_exported_is_imported_and_found(house: House) -> None:
    house("fetch")
    assert "2 messages written to out.jsonl\n" == house("export", "--format", "jsonl", "out.jsonl").stdout
    house.sql("DELETE FROM messages")
    assert "work: 2 messages archived\n2 messages archived, 0 were there\n" == house("import", "out.jsonl").stdout
    assert "work: 0 messages archived\n0 messages archived, 2 were there\n" == house("import", "out.jsonl").stdout
    (found,) = house.json("search", "subject:invoice")
    assert PLAIN == house("show", str(found["id"]), "--raw").stdout_bytes


def test_an_account_need_not_be_set(house: House) -> None:
    Path("old").mkdir()
    Path("old/a.eml").write_bytes(RICH)
    Path("old/index.html").write_bytes(b"<html>")
    said = house("import", "--account", "Old", "old").stdout
    assert "old: 1 message archived\n1 message archived, 0 were there, 1 file left out\n" == said
    assert "account   old" in house("status").stdout
    assert "1 message written to mail\n" == house("export", "--format", "maildir", "mail", "--account", "old").stdout


def test_without_a_name_the_only_account_is_meant(house: House) -> None:
    Path("a.eml").write_bytes(PLAIN)
    assert house("import", "a.eml").stdout.startswith("work: 1 message archived\n")


def test_what_is_broken_is_named_and_the_rest_goes_on(house: House) -> None:
    lines = ["{}", json.dumps({"raw": "YQ=="})]
    Path("in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    result = house("import", "in.jsonl", expected=65)
    assert "postroom: in.jsonl, line 1: there is no `raw`, the octets in Base64\n" == result.stderr
    assert "1 message archived, 0 were there, 1 could not be read\n" in result.stdout


def test_a_source_that_is_not_there_is_named_before_anything_is_done(house: House) -> None:
    Path("a.eml").write_bytes(PLAIN)
    assert "nowhere.mbox: No such file" in house("import", "a.eml", "nowhere.mbox", expected=66).stderr
    assert [] == house.sql("SELECT id FROM messages")


def test_a_seen_list_wants_an_account(house: House) -> None:
    assert (
        "--seen-from wants --account NAME and one SOURCE."
        in house("import", "--seen-from", "mpop", "x", expected=64).stderr
    )
