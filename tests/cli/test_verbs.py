"""The verbs from end to end: settings in the environment, a loopback POP3 and SMTP server, one SQLite file."""

import json
import mailbox
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from daemon import errors
from daemon.cli import main
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from daemon.store.database import Database
from tests.secrets_used import PASSWORD

PLAIN = b"From: Bob <bob@example.net>\r\nTo: anna@example.org\r\nSubject: Invoice 7\r\nMessage-ID: <7@example.net>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nPlease pay.\r\n"
RICH = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>\r\nTo: anna@example.org\r\nSubject: =?utf-8?b?5L2g5aW9?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary="a"\r\n\r\n'
    b"--a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe \x1b[31m\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe</p>\r\n--a--\r\n"
    b'--b\r\nContent-Type: text/plain; name="../notes.txt"\r\nContent-Disposition: attachment; filename="../notes.txt"\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8K\r\n--b--\r\n'
)


class House:
    """The command with its surroundings: a directory, two servers, one account, a database."""

    def __init__(self, directory: Path, pop3: Pop3Server, smtp: SmtpServer, database_url: str) -> None:
        self.directory, self.pop3, self.smtp, self.database_url = directory, pop3, smtp, database_url
        work = "POSTROOM_ACCOUNTS__WORK__"
        self.environ = {
            "POSTROOM_DATABASE_URL": database_url,
            f"{work}ADDRESS": "anna@example.org",
            f"{work}POP3__HOST": "127.0.0.1",
            f"{work}POP3__PORT": str(pop3.port),
            f"{work}POP3__SECURITY": "plaintext",
            f"{work}POP3__PASSWORD": PASSWORD,
            f"{work}SMTP__HOST": "127.0.0.1",
            f"{work}SMTP__PORT": str(smtp.port),
            f"{work}SMTP__SECURITY": "plaintext",
        }

    def __call__(self, *arguments: str, stdin: bytes = b"", expected: int = 0, **environ: str) -> Result:
        result = CliRunner(env=self.environ | environ).invoke(main, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert expected == result.exit_code, result.output
        return result

    def json(self, *arguments: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(self(*arguments, "--json").stdout)
        return rows

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        database = Database(self.database_url)
        try:
            with database.transaction() as tx:
                done = tx.exec_driver_sql(statement)
                return [tuple(row) for row in done] if done.returns_rows else []
        finally:
            database.dispose()


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pop3Server, SmtpServer]]:
    """Two servers, and a directory of the test's own to work in."""
    monkeypatch.chdir(tmp_path)
    with Pop3Server({"anna@example.org": [PLAIN, RICH]}, PASSWORD) as pop3, SmtpServer() as smtp:
        yield pop3, smtp


@pytest.fixture
def house(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer], database_url: str) -> House:
    """On a migrated database, once of each kind."""
    return House(tmp_path, *servers, database_url)


@pytest.fixture
def new_house(tmp_path: Path, servers: tuple[Pop3Server, SmtpServer]) -> House:
    """On a database that is not there yet."""
    return House(tmp_path, *servers, f"sqlite:///{tmp_path}/mail.db")


# --- fetch, status, search, show ------------------------------------------------------------------------------------


def test_fetch_archives_and_indexes_what_is_new(house: House) -> None:
    assert "work: 2 listed, 2 fetched (" in house("fetch").stdout
    assert "work: 2 listed, 0 fetched\n" == house("fetch", "WORK").stdout
    assert [(2,)] == house.sql("SELECT count(*) FROM messages WHERE parser_version > 0")


def test_fetch_gives_every_count_as_json(house: House) -> None:
    row = house.json("fetch")[0]
    assert ("work", "ok", 2, 2, None) == (row["account"], row["outcome"], row["listed"], row["fetched"], row["error"])


def test_fetch_exits_by_the_first_error_and_names_the_account(house: House) -> None:
    result = house("fetch", expected=errors.EX_NOPERM, POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD="wrong")
    assert result.stderr.startswith("postroom: ")
    assert "work" in result.stderr
    house.pop3.stop()
    result = house("fetch", expected=errors.EX_UNAVAILABLE)
    assert f"127.0.0.1:{house.pop3.port}" in result.stderr
    house.pop3.start()


def test_fetch_of_an_unknown_account_names_those_that_are_there(house: House) -> None:
    result = house("fetch", "wrok", expected=errors.EX_NOINPUT)
    assert "postroom: no account 'wrok' in the settings; did you mean work?\n" == result.stderr


def test_fetch_without_any_account_says_what_to_set(house: House) -> None:
    house.environ = {"POSTROOM_DATABASE_URL": house.environ["POSTROOM_DATABASE_URL"]}
    assert (
        "no account has POP3: set POSTROOM_ACCOUNTS__<NAME>__POP3__HOST"
        in house("fetch", expected=errors.EX_CONFIG).stderr
    )


def test_status_tells_how_it_stands(house: House) -> None:
    house("fetch")
    text = house("status").stdout
    assert text.startswith("all is well\n")
    assert "daemon    none runs; version " in text
    assert ("sqlite" not in house.database_url) == ("on a server" in text)
    assert "archive   2 messages" in text
    assert "outbox    empty" in text
    assert "account   work  anna@example.org, 2 messages" in text
    assert "fetch: ok 0 s ago" in text or "fetch: ok 1 s ago" in text
    assert "send:  never yet" in text
    house.pop3.stop()
    house("fetch", expected=errors.EX_UNAVAILABLE)
    house.pop3.start()
    text = house("status", expected=errors.EX_TEMPFAIL).stdout
    assert text.startswith("problem   work fetch for ")
    assert "do: tried again by itself; `postroom check work` tries now" in text
    assert "fetch: failing for" in text
    told = json.loads(house("status", "--json", expected=errors.EX_TEMPFAIL).stdout)
    assert (2, [("fetch", "work", False)]) == (
        told["messages"],
        [(one["what"], one["account"], one["needs_person"]) for one in told["problems"]],
    )


def test_a_stopped_account_is_shown_and_left_alone_until_it_is_retried(house: House) -> None:
    house.pop3.answers["AUTH"] = house.pop3.answers["PASS"] = Answer(octets=b"-ERR [AUTH] not today\r\n")
    house("fetch", expected=errors.EX_NOPERM)
    text = house("status", expected=errors.EX_UNAVAILABLE).stdout
    assert "fetch: stopped for 0 s" in text or "fetch: stopped for 1 s" in text
    assert "polling is stopped until its settings change or `postroom retry work`" in text
    assert (
        None
        is not json.loads(house("status", "--json", expected=errors.EX_UNAVAILABLE).stdout)["accounts"][0][
            "stopped_since"
        ]
    )
    house.pop3.answers.clear()
    refused = house("fetch", expected=errors.EX_NOPERM)
    assert "by hand: `postroom fetch work`" in refused.stderr
    assert "work: due now\n" == house("retry", "WORK").stdout
    assert "2 fetched" in house("fetch").stdout
    assert "fetch: ok" in house("status").stdout


def test_retry_of_an_unknown_account_names_those_that_are_there(house: House) -> None:
    assert "did you mean work?" in house("retry", "wrok", expected=errors.EX_NOINPUT).stderr


def test_status_tells_of_a_maildrop_in_use_without_calling_it_failing(house: House) -> None:
    house.pop3.answers["AUTH"] = house.pop3.answers["PASS"] = Answer(octets=b"-ERR [IN-USE] wait\r\n")
    house("fetch", expected=errors.EX_TEMPFAIL)
    text = house("status").stdout
    assert "fetch: waiting: " in text
    assert "next visit in" in text
    assert "failing" not in text


def test_check_says_how_long_the_server_keeps_mail_and_what_of_it_is_not_wanted(house: House) -> None:
    house.pop3.extra_capabilities[:] = ["EXPIRE 7", "LOGIN-DELAY 60"]
    text = house("check").stdout
    assert "wants 60 s between logins; deletes mail after 7 days (EXPIRE 7); warning: the server deletes" in text
    house.pop3.extra_capabilities[:] = ["EXPIRE NEVER"]
    assert "; keeps mail until it is deleted\n" in house("check").stdout


def test_status_names_a_relay_that_another_stands_in_for(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    house.environ |= {
        "POSTROOM_ACCOUNTS__WORK__SMTP__PORT": str(port),
        "POSTROOM_ACCOUNTS__WORK__SMTP__FALLBACK": f"127.0.0.1:{house.smtp.port}",
    }
    house("outbox", "add", "--to", "bob@example.net", "--subject", "x", stdin=b"text")
    house("send")
    assert 1 == len(house.smtp.received)
    text = house("status", expected=errors.EX_TEMPFAIL).stdout
    assert "send:  ok" in text
    assert f"127.0.0.1:{port} failing for" in text
    (account,) = json.loads(house("status", "--json", expected=errors.EX_TEMPFAIL).stdout)["accounts"]
    assert [(f"127.0.0.1:{port}", 1)] == [(one["relay"], one["failures"]) for one in account["relays"]]


def test_status_tells_a_reader_without_settings_what_the_database_knows(house: House) -> None:
    house("fetch")
    house.environ = {"POSTROOM_DATABASE_URL": house.environ["POSTROOM_DATABASE_URL"]}
    text = house("status").stdout
    assert "fetch: ok" in text
    assert "settings" not in text


def test_what_looks_into_an_archive_that_is_not_there_says_how_to_make_it(new_house: House) -> None:
    for verb in (("status",), ("search", "x"), ("outbox", "list"), ("db", "verify")):
        result = new_house(*verb, expected=errors.DatabaseUnusable.exit_code)
        assert "does not exist yet; `postroom run` or `postroom db upgrade` makes it" in result.stderr
    assert not (new_house.directory / "mail.db").exists()


def test_search_finds_and_show_shows(house: House) -> None:
    house("fetch")
    found = house.json("search", "subject:invoice", "from:bob")
    assert ["Invoice 7"] == [row["subject"] for row in found]
    assert "Invoice 7" in house("search", "invoice").stdout
    number = str(found[0]["id"])
    text = house("show", number).stdout
    assert "From: Bob <bob@example.net>\n" in text
    assert "Sent: 2026-11-02 10:00:00\n" in text
    assert text.endswith("\n\nPlease pay.\n")
    assert house("show", number, "--raw").stdout_bytes == PLAIN
    assert "Invoice 7" == json.loads(house("show", number, "--json").stdout)["subject"]


def test_show_keeps_escapes_from_the_terminal_and_gives_html(house: House) -> None:
    house("fetch")
    number = str(house.json("search", "has:attachment")[0]["id"])
    text = house("show", number).stdout
    assert "Subject: 你好" in text
    assert "Grüße \ufffd[31m" in text
    assert "\x1b" not in text
    assert "<p>Grüße</p>" in house("show", number, "--html").stdout
    plain = str(house.json("search", "invoice")[0]["id"])
    assert "has no HTML text" in house("show", plain, "--html", expected=errors.EX_NOINPUT).stderr


def test_show_of_a_message_that_is_not_there(house: House) -> None:
    house("fetch")
    assert house("show", "99", expected=errors.EX_NOINPUT).stderr.startswith("postroom: ")


def test_a_wrong_query_is_one_clear_line_above_its_place(house: House) -> None:
    house("fetch")
    result = house("search", "after:yesterdayish", expected=errors.EX_DATAERR)
    assert [True, False, False] == [line.startswith("postroom: query: ") for line in result.stderr.splitlines()]


def test_search_json_of_nothing_found_is_an_empty_array(house: House) -> None:
    house("fetch")
    assert [] == house.json("search", "zzzz")


# --- attachment, export ---------------------------------------------------------------------------------------------


def test_an_attachment_is_listed_and_written_without_leaving_the_directory(house: House) -> None:
    house("fetch")
    number = str(house.json("search", "has:attachment")[0]["id"])
    listed = house.json("attachment", number)
    assert 1 == len(listed)
    part = str(listed[0]["part"])
    assert b"hello\n" == house("attachment", number, part, "-o", "-").stdout_bytes
    house("attachment", number, part)
    house("attachment", number, "--all", "-o", "sub/")
    assert b"hello\n" == Path("notes.txt").read_bytes()
    assert b"hello\n" == Path("sub/notes.txt").read_bytes()
    house("attachment", number, part)
    assert Path("notes-2.txt").exists()
    house("attachment", number, part, "-o", "notes.txt", expected=errors.EX_CANTCREAT)
    assert "has no attachment '9'; there are: " in house("attachment", number, "9", expected=errors.EX_NOINPUT).stderr


def test_export_writes_the_octets_as_archived(house: House) -> None:
    house("fetch")
    assert "2 messages written to out\n" == house("export", "--format", "eml", "out").stdout
    assert sorted([PLAIN, RICH]) == sorted(path.read_bytes() for path in Path("out").iterdir())
    assert "1 message written to one.mbox\n" == house("export", "--format", "mbox", "one.mbox", "invoice").stdout
    box = mailbox.mbox("one.mbox")
    assert ["Invoice 7"] == [message["Subject"] for message in box]
    box.close()
    house("export", "--format", "jsonl", "all.jsonl")
    assert 2 == len(Path("all.jsonl").read_text().splitlines())
    house("export", "--format", "maildir", "md")
    assert 2 == len(list(Path("md").rglob("*/*")))


# --- outbox, send ---------------------------------------------------------------------------------------------------


def test_outbox_add_prints_the_id_and_send_sends_it(house: House) -> None:
    Path("page.html").write_text("<p>Grüße</p>")
    Path("ü.pdf").write_bytes(b"%PDF")
    added = house(
        "outbox", "add", "--to", "Bob <bob@example.net>", "--to", "carl@example.net", "--bcc", "dora@example.net", "--subject", "Grüße",
        "--html", "page.html", "--attach", "ü.pdf", "--header", "X-Run: 7", stdin=b"Hallo\n",
    )  # fmt: skip
    assert "1\n" == added.stdout
    assert "work: 1 sent\n" == house("send").stdout
    assert "work: nothing is due\n" == house("send").stdout
    received = house.smtp.received[0]
    assert ("anna@example.org", {"bob@example.net", "carl@example.net", "dora@example.net"}) == (
        received.sender,
        set(received.recipients),
    )
    assert b"dora" not in received.content
    assert b"X-Run: 7" in received.content
    assert ["sent"] == [row["status"] for row in house.json("outbox", "list")]
    shown = house("outbox", "show", "1").stdout
    assert "status: sent" in shown
    assert "bob@example.net\tsent\t250" in shown


def test_the_same_key_is_put_in_once(new_house: House) -> None:
    for _ in range(2):
        assert (
            "1\n"
            == new_house("outbox", "add", "--to", "b@example.net", "--subject", "x", "--key", "k", stdin=b"y").stdout
        )
    assert 1 == len(new_house.json("outbox", "list"))


def test_a_raw_message_is_given_whole(house: House) -> None:
    Path("letter.eml").write_bytes(b"From: a@example.org\nSubject: raw\n\nbody\n")
    house("outbox", "add", "--to", "b@example.net", "--raw", "letter.eml")
    house(
        "outbox",
        "add",
        "--to",
        "b@example.net",
        "--raw",
        "-",
        stdin=b"From: a@example.org\r\nSubject: raw\r\n\r\nbody\r\n",
    )
    house("send")
    assert [b"body"] * 2 == [one.content.split(b"\r\n\r\n")[1].strip() for one in house.smtp.received]


def test_nonsense_is_refused_with_the_reason(house: House) -> None:
    for arguments in (
        ("--to", "nobody", "--subject", "x"),
        ("--to", "b@example.net", "--subject", "a\nBcc: evil@example.net"),
    ):
        result = house("outbox", "add", *arguments, stdin=b"y", expected=errors.EX_DATAERR)
        assert 1 == len(result.stderr.splitlines())
        assert result.stderr.startswith("postroom: ")
    result = house("outbox", "add", "--to", "b@example.net", stdin=b"\xff", expected=errors.EX_DATAERR)
    assert (
        "postroom: stdin: octet 1 is not UTF-8; a complete message of any octets can be given by --raw\n"
        == result.stderr
    )
    assert [] == house.json("outbox", "list")


def test_a_refused_recipient_can_be_retried(house: House) -> None:
    house.smtp.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("bob") else None
    house("outbox", "add", "--to", "bob@example.net, carl@example.net", "--subject", "x", stdin=b"y")
    assert "work: 1 partial\n" == house("send").stdout
    house.smtp.on_rcpt = lambda _address: None
    house("outbox", "retry", "1")
    house("send")
    assert ["bob@example.net"] == list(house.smtp.received[-1].recipients)
    assert ["sent"] == [row["status"] for row in house.json("outbox", "list")]


def test_rows_are_held_released_and_cancelled(house: House) -> None:
    for _ in range(2):
        house("outbox", "add", "--to", "b@example.net", "--subject", "x", "--hold", stdin=b"y")
    assert "1 row released: 1\n" == house("outbox", "release", "1").stdout
    assert "1 row held: 1\n" == house("outbox", "hold", "1").stdout
    assert "1 row cancelled: 2\n" == house("outbox", "cancel", "2").stdout
    assert {1: "held", 2: "cancelled"} == {row["id"]: row["status"] for row in house.json("outbox", "list")}
    assert [2] == [row["id"] for row in house.json("outbox", "list", "--status", "cancelled")]
    house("outbox", "show", "99", expected=errors.EX_NOINPUT)


def test_send_after_is_a_time_or_a_wait(house: House) -> None:
    house("outbox", "add", "--to", "b@example.net", "--subject", "x", "--send-after", "2h", stdin=b"y")
    house(
        "outbox", "add", "--to", "b@example.net", "--subject", "x", "--send-after", "2099-01-01T00:00:00Z", stdin=b"y"
    )
    assert "work: nothing is due\n" == house("send").stdout
    result = house(
        "outbox", "add", "--to", "b@example.net", "--send-after", "soon", stdin=b"y", expected=errors.EX_USAGE
    )
    assert "'soon' is not a time like" in result.stderr
    house("outbox", "retry", "--all")
    assert "work: 2 sent\n" == house("send").stdout


def test_send_tells_of_a_relay_that_can_t_be_used(house: House) -> None:
    house("outbox", "add", "--to", "b@example.net", "--subject", "x", stdin=b"y")
    house.smtp.stop()
    result = house("send", expected=errors.EX_UNAVAILABLE)
    assert f"127.0.0.1:{house.smtp.port}" in result.stderr
    house.smtp.start()
    assert "send:  failing" in house("status", expected=errors.EX_TEMPFAIL).stdout
    assert "work: 1 sent\n" == house("send").stdout


# --- check, maildrop ------------------------------------------------------------------------------------------------


def test_check_logs_in_everywhere_and_changes_nothing(new_house: House) -> None:
    text = new_house("check").stdout
    assert 3 == text.count("ok  ")
    assert "work POP3 127.0.0.1" in text
    assert "2 messages" in text
    assert not (new_house.directory / "mail.db").exists()
    assert 2 == len(new_house.pop3.maildrop("anna@example.org").contents)
    result = new_house("check", "work", expected=errors.EX_NOPERM, POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD="wrong")
    assert "FAIL work POP3" in result.stdout
    assert [True, True, True] == [row["ok"] for row in new_house.json("check")]


def test_a_maildrop_can_be_listed_and_read(house: House) -> None:
    listed = house.json("maildrop", "list", "work")
    assert [len(PLAIN), len(RICH)] == [row["octets"] for row in listed]
    assert house("maildrop", "show", "work", str(listed[0]["uidl"])).stdout_bytes == PLAIN
    assert house("maildrop", "show", "work", "#2").stdout_bytes == RICH
    top = house("maildrop", "top", "work", "#1", "--lines", "0").stdout_bytes
    assert top == PLAIN[: PLAIN.index(b"\r\n\r\n") + 4]
    assert "number\tuidl\toctets" == house("maildrop", "list", "work").stdout.splitlines()[0]


def test_a_maildrop_that_changed_is_held_until_it_is_accepted(house: House) -> None:
    maildrop = house.pop3.maildrop("anna@example.org")
    for number in range(20):
        maildrop.add(b"Subject: %d\r\n\r\n" % number)
    house("fetch")
    assert "work: is not held\n" == house("maildrop", "accept", "work").stdout
    maildrop.renumber()
    refused = house("fetch", expected=errors.EX_TEMPFAIL)
    assert "then `postroom maildrop accept work` to fetch them all" in refused.stderr
    assert "fetch: held for " in house("status", expected=errors.EX_UNAVAILABLE).stdout
    held = json.loads(house("status", "--json", expected=errors.EX_UNAVAILABLE).stdout)["accounts"][0]
    assert held["held_since"] is not None
    assert "22 messages and none of the 22" in str(held["held_reason"])
    assert "work: accepted; the next visit fetches what is there\n" == house("maildrop", "accept", "work").stdout
    assert "22 listed, 22 fetched" in house("fetch").stdout
    assert [(22,)] == house.sql("SELECT count(*) FROM messages")
    assert "fetch: ok" in house("status").stdout


def test_maildrop_delete_takes_uidls_and_does_all_or_nothing(house: House) -> None:
    uidls = [str(row["uidl"]) for row in house.json("maildrop", "list", "work")]
    result = house("maildrop", "delete", "work", uidls[0], "no-such", expected=errors.EX_DATAERR)
    assert "no-such" in result.stderr
    assert "nothing was deleted" in result.stderr
    assert 2 == len(house.pop3.maildrop("anna@example.org").contents)
    assert "1 message deleted on the server\n" == house("maildrop", "delete", "work", uidls[0]).stdout
    assert [RICH] == house.pop3.maildrop("anna@example.org").contents


# --- db -------------------------------------------------------------------------------------------------------------


def test_db_upgrade_makes_the_database_once(new_house: House) -> None:
    assert "(new)" in new_house("db", "upgrade").stdout
    assert "is current" in new_house("db", "upgrade").stdout


def test_db_verify_finds_what_does_not_read_back_equal(house: House) -> None:
    house("fetch")
    assert "2 messages read, 0 broken\n" == house("db", "verify").stdout
    house.sql("UPDATE message_sources SET content = substr(content, 1, length(content) - 3) WHERE message = 1")
    result = house("db", "verify", expected=errors.EX_DATAERR)
    assert "Invoice 7" in result.stdout
    assert "2 messages read, 1 broken\n" == result.stderr
    assert [1] == [row["id"] for row in json.loads(house("db", "verify", "--json", expected=errors.EX_DATAERR).stdout)]


def test_db_reindex_builds_everything_derived_anew(house: House) -> None:
    house("fetch")
    house.sql("UPDATE messages SET subject = 'gone'")
    assert "2 messages indexed" in house("db", "reindex").stdout
    assert ["Invoice 7"] == [row["subject"] for row in house.json("search", "invoice")]


def test_db_prune_says_what_it_would_do_and_does_it_only_when_told(house: House) -> None:
    """What was pruned is not fetched again: the ledger keeps its rows."""
    house("fetch")
    assert house("db", "prune", "--older-than", "365d").stdout.startswith("0 messages (0 B) archived before ")
    house.sql("UPDATE messages SET archived_at = '2020-01-01T00:00:00.000Z' WHERE id = 1")
    told = house("db", "prune", "--older-than", "365d").stdout
    assert told.startswith("1 message (")
    assert told.endswith("would be deleted; --yes deletes them\n")
    assert [(2,)] == house.sql("SELECT count(*) FROM messages")
    assert "0 messages" in house("db", "prune", "--older-than", "365d", "--account", "other", "--yes").stdout
    assert "1 message deleted from the archive\n" == house("db", "prune", "--older-than", "365d", "--yes").stdout
    assert [(1,)] == house.sql("SELECT count(*) FROM messages")
    assert [(2,)] == house.sql("SELECT count(*) FROM ledger")
    assert "work: 2 listed, 0 fetched\n" == house("fetch").stdout
    assert "a unit is missing" in house("db", "prune", "--older-than", "365", expected=errors.EX_USAGE).stderr
