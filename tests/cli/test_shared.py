"""Attachments that repeat as an operator meets them: recompressed, told of, verified, backed up, exported, pruned."""

from pathlib import Path

from tests.cli.test_backup import house
from tests.cli.test_verbs import House, servers
from tests.jobs.test_share import FILE, attached, encoded

__all__ = ["house", "servers"]  # pytest finds fixtures by their names
LETTERS = [attached(encoded(FILE), subject=f"number {n}") for n in (1, 2, 3)]


def test_what_is_shared_is_told_of_verified_and_goes_wherever_the_mail_goes(house: House) -> None:
    Path("in").mkdir()
    for number, letter in enumerate(LETTERS, start=1):
        Path(f"in/{number}.eml").write_bytes(letter)
    house("import", "in")
    house("db", "recompress")
    assert "nothing was left to do\n" == house("db", "recompress").stdout
    assert [(1, 3)] == house.sql("SELECT count(DISTINCT blob), count(blob) FROM message_sources")
    assert " of it shared, in " in house("status").stdout

    house("export", "--format", "eml", "out")
    assert sorted(LETTERS) == sorted(one.read_bytes() for one in Path("out").rglob("*.eml"))
    assert LETTERS[0] == house("show", "1", "--raw").stdout_bytes
    assert "Subject: number 1" in house("show", "1", "--headers").stdout
    house("db", "backup", "b.db")
    house("db", "restore", "b.db", "--into", "drill.db")

    house.sql("DELETE FROM messages WHERE id = 1")
    house.sql("UPDATE blobs SET content = zeroblob(100)")
    said = house("db", "verify", expected=65).stdout
    assert "message 2: part 1 can't be read" in said
    assert "blob 1: its octets are not those that came (SHA-256); needed by messages 2, 3\n" in said
    house.sql("DELETE FROM messages")
    assert [(0,)] == house.sql("SELECT count(*) FROM blobs")

    house.environ["POSTROOM_DATABASE_URL"] = "sqlite:///drill.db"
    assert "3 messages read, 0 broken" in house("db", "verify").stdout
    house.environ["POSTROOM_COMPRESSION"] = "none"
    house("db", "recompress")
    assert LETTERS[2] == house("show", "3", "--raw").stdout_bytes
