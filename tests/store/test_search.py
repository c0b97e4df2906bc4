"""Search finds the same messages on both databases, and a wrong query gives one clear line."""

import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.mail.message import AddressRow, AttachmentRow, Parsed
from daemon.store import archive, overview, prune, search
from daemon.store.database import Database
from daemon.store.query import grammar, tree
from tests.store.conftest import Add
from tests.store.test_query import NODES, TYPED

LETTERS = {
    "report": Parsed(subject="Quarterly report", from_name="Bob", from_address="bob@example.net", to_addresses="Anna <anna@example.org>",
                     body_text="The numbers of last Friday are in the invoice.", sent_at=datetime(2026, 1, 31, 23, tzinfo=UTC)),
    "invoice": Parsed(subject="Invoice 4711", from_name="Carol", from_address="carol@shop.example", to_addresses="anna@example.org",
                      cc_addresses="bob@example.net", body_text="Please pay. Friday last we met.", attachment_names="Rechnung_März.pdf",
                      sent_at=datetime(2026, 2, 1, tzinfo=UTC)),
    "lunch": Parsed(subject="Re: Mittagessen", from_name="Jürgen", from_address="j@example.de", body_text="Schöne Grüße aus München, 你好"),
    "broken": Parsed(defects=("no_header",)),
}  # fmt: skip


EAST = {
    "tokyo": Parsed(subject="東京都の天気", body_text="東京で明日はSony製品の発表会です。カタカナも。", attachment_names="予定表.pdf"),
    "beijing": Parsed(subject="weather", from_name="王小明", body_text="北京的天气很好,我们去公园。"),
    "seoul": Parsed(subject="회의 안내", body_text="내일 회의실에서 만나요.", attachment_names=unicodedata.normalize("NFD", "보고서.docx")),
    "müller": Parsed(subject="Grüße", from_name="Jörg Müller", body_text="Wir wohnen in der Hauptstraße 5.", attachment_names="QuartalsBericht_2026.xlsx",
                     attachments=(AttachmentRow(part="2", filename="QuartalsBericht_2026.xlsx", content_type="x/y", octets=1, sha256="0" * 64, content_id=None, disposition=""),)),
    "mueller": Parsed(subject="Gruesse", from_name="Joerg Mueller", body_text="A poet in Hauptstrasse 5.", in_reply_to="x@example.org",
                      addresses=(AddressRow(role="bcc", position=0, name="Zoë", address="zoe@example.org"),)),
    "answer": Parsed(subject="Re: tea", body_text="Kettle, please.\n> Tea or coffee?\nThanks\n-- \nTea Inc.", quoted_ranges=((16, 32),), signature_ranges=((39, 51),)),
    "tea": Parsed(subject="tea", body_text="Tea or coffee?"),
    "bounce": Parsed(subject="Undelivered", from_address="MAILER-DAEMON@mx.example", body_text="pot"),
    "decomposed": Parsed(subject=unicodedata.normalize("NFD", "Überraschung"), body_text="x"),
}  # fmt: skip


@pytest.fixture
def eastern(database: Database, add: Add, now: datetime) -> Database:
    filed = add(*[name.encode() + b"." * 300 * place for place, name in enumerate(EAST)])
    with database.transaction() as tx:
        archive.write_all_parsed(
            tx, [(one.message, parsed) for one, parsed in zip(filed, EAST.values(), strict=True)], 1, now
        )
    return database


EASTERN: dict[str, set[str]] = {
    "東京": {"tokyo"},
    "京都": {"tokyo"},
    "都": {"tokyo"},
    "天": {"tokyo", "beijing"},
    "天气": {"beijing"},
    "京天": set(),
    "小明": {"beijing"},
    "from:小明": {"beijing"},
    "subject:小明": set(),
    "subject:天": {"tokyo"},
    "body:(天气 OR 発表)": {"tokyo", "beijing"},
    "カナ": {"tokyo"},
    "sony製": {"tokyo"},
    "회의": {"seoul"},
    "의실": {"seoul"},
    '"회의 안내"': {"seoul"},
    "보고": {"seoul"},
    "filename:予定": {"tokyo"},
    "天气 -公园": set(),
    "-天 -회의 -tea": {"müller", "mueller", "bounce", "decomposed"},
    "muller": {"müller"},
    "Müller": {"müller", "mueller"},
    "mueller": {"mueller"},
    "from:mueller": {"müller", "mueller"},
    "JÖRG": {"müller", "mueller"},
    "grüße": {"müller", "mueller"},
    "hauptstrasse": {"müller", "mueller"},
    "Hauptstraße": {"müller", "mueller"},
    "uberrasch*": {"decomposed"},
    "Überraschung": {"decomposed"},
    "poet": {"mueller"},
    "bericht*": set(),
    "filename:bericht": {"müller"},
    "filename:2026": {"müller"},
    "has:attachment": {"müller"},
    "tea": {"answer", "tea"},
    "body:tea": {"answer", "tea"},
    "own:tea": {"tea"},
    "own:(kettle OR thanks)": {"answer"},
    "subject:tea -own:tea": {"answer"},
    "own:東京": {"tokyo"},
    "bcc:東京": set(),
    "bcc:zoë OR bcc:zoe@example.org": {"mueller"},
    "is:reply": {"mueller"},
    "is:bounce": {"bounce"},
    "is:(defective OR headers OR unindexed)": set(),
    "larger:1k": {"mueller", "answer", "tea", "bounce", "decomposed"},
    "smaller:305": {"tokyo"},
    "id:2": {"beijing"},
    "-after:2000 id:2": {"beijing"},
    "thread:999": set(),
    "-thread:999 id:2": {"beijing"},
    "thread:2": {"beijing"},
    "(subject:weather OR subject:gr*) -from:joerg": {"beijing"},
    "weather OR is:bounce": {"beijing", "bounce"},
    "NOT (weather OR is:bounce OR has:attachment OR 東京 OR 회의 OR is:reply OR tea)": {"decomposed"},
    "attachment:予定 OR attachment:quartalsbericht": {"tokyo", "müller"},
    "body:hauptstr* -subject:gruesse": {"müller"},
    "cc:anyone OR to:anyone": set(),
}


def test_what_other_scripts_and_spellings_hold_is_found(eastern: Database) -> None:
    assert EASTERN == {text: found(eastern, text, names=list(EAST)) for text in EASTERN}


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


def found(
    database: Database, text: str, account: str | None = "home", names: Sequence[str] = (*LETTERS, "unparsed", "work")
) -> set[str]:
    """Give what a query finds: the same by relevance, by date, and all at once."""
    with database.reading() as conn:
        hits = search.search(conn, text, limit=10, account=account)
        by_date = search.search(conn, text, limit=10, account=account, sort="date")
        assert {hit.id for hit in hits} == {hit.id for hit in by_date} == set(search.ids(conn, text, account=account))
    return {names[hit.id - 1] for hit in hits}


ASKED: dict[str, set[str]] = {
    "invoice": {"report", "invoice"},
    "INVOICE friday": {"report", "invoice"},
    '"last friday"': {"report"},
    "inv*": {"report", "invoice"},
    "invoice -pay": {"report"},
    "-invoice": {"lunch", "broken", "unparsed"},
    "subject:invoice": {"invoice"},
    "-subject:invoice invoice": {"report"},
    "from:bob": {"report"},
    "to:bob": {"invoice"},
    "from:bob@example.net": {"report"},
    "from:example": {"report", "invoice", "lunch"},
    'subject:"quarterly report"': {"report"},
    "subject:quart*": {"report"},
    "rechnung": {"invoice"},
    "März.pdf": {"invoice"},
    "schöne grüße": {"lunch"},
    "你好": {"lunch"},
    "re:mittagessen": {"lunch"},
    "after:2026-02-01": {"invoice"},
    "after:2026-02": {"invoice"},
    "before:2026-02": {"report"},
    "after:2026 before:2027 invoice": {"report", "invoice"},
    "nothing-like-it": set(),
    "": {"report", "invoice", "lunch", "broken", "unparsed"},
}


def test_a_query_finds_what_it_says(filled: Database) -> None:
    assert ASKED == {text: found(filled, text) for text in ASKED}


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
        prune.prune(tx, archive.ids(tx, limit=10), before=now + timedelta(days=1), account="work")
    assert {"invoice"} == found(filled, "invoice", None)
    assert {"report"} == found(filled, "different", None)
    if filled.kind == "sqlite":
        with filled.transaction() as tx:
            tx.exec_driver_sql("INSERT INTO messages_fts(messages_fts, rank) VALUES ('integrity-check', 0)")


HOSTILE = [
    "' OR 1=1 --", "a AND b OR NOT c", "NEAR(a b)", "a:b:c", "a & | !", "%_", "\x00a", "\ud800", "{subject}:x", "rank", "a'b'c", "😀 a",
    "a\\b", "½ ﷺ ﬁ", "account:'", "thread:9", "id:<'>", "larger:9223372036854775807", "date:0001..9999", "東 OR 'a", "ー々", "e\u0301*",
    "(((((((((a OR b) c OR d) e OR f) g OR h) i OR j) k OR l) m OR n) o OR p) q OR r)", "-(" * 10 + "a b" + ")" * 10,
    " ".join(map(str, range(100))), " OR ".join(map(str, range(80))), "a -b -c OR -d", "bcc:% to:bob", '"' + "ü " * 300 + '"',
]  # fmt: skip


def test_whatever_is_typed_is_searched_for_or_refused(filled: Database) -> None:
    for text in HOSTILE:
        with suppress(errors.InputInvalid):
            found(filled, text)


@given(st.lists(st.one_of(TYPED, NODES.map(tree.shown)), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_a_query_is_answered(filled: Database, typed: list[str]) -> None:
    for text in typed:
        try:
            grammar.parse(text, date(2026, 11, 25))
        except errors.QueryInvalid:
            continue
        found(filled, text)


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
