"""Search finds the same messages on both databases, and a wrong query gives one clear line."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon import errors
from daemon.mail.message import Parsed
from daemon.store import archive, overview, query, search
from daemon.store.database import Database
from tests.store.conftest import Add

LETTERS = {
    "report": Parsed(subject="Quarterly report", from_name="Bob", from_address="bob@example.net", to_addresses="Anna <anna@example.org>",
                     body_text="The numbers of last Friday are in the invoice.", sent_at=datetime(2026, 1, 31, 23, tzinfo=UTC)),
    "invoice": Parsed(subject="Invoice 4711", from_name="Carol", from_address="carol@shop.example", to_addresses="anna@example.org",
                      cc_addresses="bob@example.net", body_text="Please pay. Friday last we met.", attachment_names="Rechnung_März.pdf",
                      sent_at=datetime(2026, 2, 1, tzinfo=UTC)),
    "lunch": Parsed(subject="Re: Mittagessen", from_name="Jürgen", from_address="j@example.de", body_text="Schöne Grüße aus München, 你好"),
    "broken": Parsed(defects=("no_header",)),
}  # fmt: skip


@pytest.fixture
def filled(database: Database, add: Add, now: datetime) -> Database:
    filed = add(*[name.encode() for name in LETTERS])
    filed += add(b"unparsed invoice", start=50)
    filed += add(b"work", account="work", start=60)
    with database.transaction() as tx:
        for one, parsed in zip(filed, LETTERS.values(), strict=False):
            archive.write_parsed(tx, one.message, parsed, 1, now)
        archive.write_parsed(tx, filed[-1].message, Parsed(subject="Invoice at work"), 1, now)
    return database


def found(database: Database, text: str, account: str | None = "home") -> set[str]:
    names = [*LETTERS, "unparsed", "work"]
    with database.reading() as conn:
        hits = search.search(conn, text, limit=10, offset=0, account=account)
        assert {hit.id for hit in hits} == set(search.ids(conn, text, account=account))
    return {names[hit.id - 1] for hit in hits}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("invoice", {"report", "invoice"}),
        ("INVOICE friday", {"report", "invoice"}),
        ('"last friday"', {"report"}),
        ("inv*", {"report", "invoice"}),
        ("invoice -pay", {"report"}),
        ("-invoice", {"lunch", "broken", "unparsed"}),
        ("subject:invoice", {"invoice"}),
        ("-subject:invoice invoice", {"report"}),
        ("from:bob", {"report"}),
        ("to:bob", {"invoice"}),
        ("from:bob@example.net", {"report"}),
        ("from:example", {"report", "invoice", "lunch"}),
        ('subject:"quarterly report"', {"report"}),
        ("subject:quart*", {"report"}),
        ("rechnung", {"invoice"}),
        ("März.pdf", {"invoice"}),
        ("schöne grüße", {"lunch"}),
        ("你好", {"lunch"}),
        ("re:mittagessen", {"lunch"}),
        ("after:2026-02-01", {"invoice"}),
        ("after:2026-02", {"invoice"}),
        ("before:2026-02", {"report"}),
        ("after:2026 before:2027 invoice", {"report", "invoice"}),
        ("nothing-like-it", set()),
        ("", {"report", "invoice", "lunch", "broken", "unparsed"}),
    ],
)
def test_a_query_finds_what_it_says(filled: Database, text: str, names: set[str]) -> None:
    assert names == found(filled, text)


def test_accounts_narrow_a_search(filled: Database) -> None:
    assert {"report", "invoice", "work"} == found(filled, "invoice", None)
    assert {"work"} == found(filled, "invoice account:work", None)
    assert {"report", "invoice"} == found(filled, "invoice -account:work", None)


def test_a_hit_shows_where_it_matches(filled: Database) -> None:
    with filled.reading() as conn:
        (hit,) = search.search(conn, "grüße", limit=5)
        assert "[Grüße]" in hit.snippet
        assert ("home", "Jürgen", "Re: Mittagessen") == (hit.account, hit.from_name, hit.subject)
        assert 2 == len(
            {hit.id for n in (0, 1) for hit in search.search(conn, "invoice", limit=1, offset=n, account="home")}
        )


def test_the_index_follows_what_is_written_anew_and_deleted(filled: Database, now: datetime) -> None:
    with filled.transaction() as tx:
        archive.write_parsed(tx, 1, Parsed(subject="Completely different"), 2, now)
        archive.prune(tx, before=now + timedelta(days=1), account="work", limit=10)
    assert {"invoice"} == found(filled, "invoice", None)
    assert {"report"} == found(filled, "different", None)
    if filled.kind == "sqlite":
        with filled.transaction() as tx:
            tx.exec_driver_sql("INSERT INTO messages_fts(messages_fts, rank) VALUES ('integrity-check', 0)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"open', "never closed"),
        ("has:wings", "has:attachment"),
        ("after:soon", "not a day"),
        ("-before:2026", "can't be negated"),
        ("***", "no word"),
        ("from: bob", "right behind it"),
        ("x" * 1001, "longer than"),
    ],
)
def test_a_wrong_query_gives_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(errors.InputInvalid, match=said) as caught:
        query.parse(text)
    assert "\n" not in str(caught.value)


HOSTILE = [
    "' OR 1=1 --",
    "a AND b OR NOT c",
    "NEAR(a b)",
    "a:b:c",
    "(a",
    "a & | !",
    "%_",
    "\x00a",
    "{subject}:x",
    "rank",
    "a'b'c",
    "😀 a",
    "a\\b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_typed_is_searched_for_or_refused(filled: Database, text: str) -> None:
    try:
        found(filled, text)
    except errors.InputInvalid:
        return


def test_has_attachment_counts_attachments(filled: Database) -> None:
    assert set() == found(filled, "has:attachment")
    assert 5 == len(found(filled, "-has:attachment"))


def test_the_overview_tells_how_it_stands(filled: Database, now: datetime) -> None:
    from daemon.store import accounts

    with filled.transaction() as tx:
        accounts.register(tx, [("home", "anna@example.org"), ("new", "")])
        accounts.failed(tx, "home", "no route", now, now)
    with filled.reading() as conn:
        seen = overview.overview(conn, now)
        assert (6, 1, 1, {}, None) == (
            seen.messages,
            seen.unindexed,
            seen.with_defects,
            seen.outbox,
            seen.oldest_due_at,
        )
        assert [("home", 5, "no route"), ("new", 0, None)] == [
            (one.name, one.messages, one.last_error) for one in seen.accounts
        ]
        assert "6 messages; 0 to send; failing: home" == overview.line(conn, now, ["home"])
