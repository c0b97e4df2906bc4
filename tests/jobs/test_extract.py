"""Text in attachments is found; a document that is a bomb costs nobody but itself."""

import base64
import threading
from datetime import UTC, datetime, timedelta

import pytest

from daemon.documents import kinds, reader, text, worker
from daemon.documents.reader import Document
from daemon.jobs import extract, index
from daemon.jobs.context import Context
from daemon.retry import Backoff
from daemon.store import archive, search
from daemon.store.database import Database
from daemon.wire.spool import Spool
from tests import documents

NOW = datetime(2026, 11, 25, tzinfo=UTC)
BOMB = documents.zipped(word__document="<w:document xmlns:w='w'>" + "<a>" * 20_000_000)
LAUGHS = documents.zipped(
    word__document='<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><w:t xmlns:w="w">&b;</w:t>'
)


def letter(*attached: tuple[str, bytes]) -> bytes:
    parts = "".join(
        f'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(content).decode()}\r\n"
        for name, content in attached
    )
    head = 'Subject: papers\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return f"{head}--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n{parts}--b--\r\n".encode()


def found(database: Database, query: str) -> list[int]:
    with database.reading() as conn:
        return [one.id for one in search.search(conn, query)]


def test_what_is_written_in_attachments_is_found(database: Database) -> None:
    letters = [
        letter(("a.pdf", documents.pdf("Quotation 8812 for umbrellas"))),
        letter(("Vertrag.DOCX", documents.docx("Der Mietvertrag", "東京都"))),
        letter(("b.xlsx", documents.xlsx("Kaution", "4711")), ("broken.pdf", b"no PDF"), ("c.docx", b"PK no zip")),
        letter(("photo.jpg", b"umbrellas")),
    ]
    incoming = [archive.Incoming(uidl=f"u{number}", spool=Spool.of(one)) for number, one in enumerate(letters)]
    with database.transaction() as tx:
        ids = [one.message for one in archive.add(tx, "home", incoming, NOW)]
    context = Context(database=database, owner="test", backoff=Backoff(first=timedelta(0), longest=timedelta(0)))
    index.index(database, now=lambda: NOW, stop=threading.Event(), progress=lambda: None)
    assert [[], ids] == [found(database, "umbrellas"), sorted(found(database, "papers"))]
    done = extract.extract(context)
    assert (3, 5, 2) == (done.messages, done.documents, done.unread)
    asked = (
        "umbrellas",
        '"quotation 8812"',
        "mietvertrag",
        "京都",
        "letterhead",
        "attachment:kaution",
        "4711",
        "another",
        "77777",
        "body:4711",
    )
    assert [[ids[0]], [ids[0]], [ids[1]], [ids[1]], [ids[1]], [ids[2]], [ids[2]], [ids[2]], [], []] == [
        found(database, one) for one in asked
    ]
    assert 0 == extract.extract(context).messages
    with database.transaction() as tx:  # with foreign keys or without, what waits goes with its message
        tx.exec_driver_sql("INSERT INTO extraction_queue (message) SELECT id FROM messages")
        tx.exec_driver_sql("DELETE FROM messages")
        assert 0 == tx.exec_driver_sql("SELECT count(*) FROM extraction_queue").scalar()
    assert [] == found(database, "umbrellas")


def test_a_bomb_stops_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SECONDS", 2)
    outcomes = reader.read(
        [
            Document(kind="docx", octets=documents.docx("before")),
            Document(kind="docx", octets=BOMB),
            Document(kind="docx", octets=LAUGHS),
            Document(kind="xlsx", octets=documents.xlsx("behind", "1")),
        ]
    )
    assert outcomes is not None
    assert ["before", None, None, "behind"] == [one.text and one.text.split()[0] for one in outcomes]


def test_a_document_that_takes_for_ever_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended from outside too, where its own alarm does not ring."""
    monkeypatch.setattr(reader, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "SECONDS", 0)
    outcomes = reader.read([Document(kind="docx", octets=documents.docx("x"))])
    assert [reader.Outcome(reason="the process that read it died of it, or ran out of time or memory")] == outcomes


def test_a_stop_ends_the_reading() -> None:
    assert reader.read([Document(kind="docx", octets=documents.docx("x"))], is_stopped=lambda: True) is None


def test_text_is_cut() -> None:
    assert text.MOST_CHARACTERS == len(text.text_of("docx", documents.docx("x" * 300_000)))


@pytest.mark.parametrize(
    ("name", "content_type", "kind"),
    [
        ("a.PDF", "application/octet-stream", "pdf"),
        ("", "application/pdf", "pdf"),
        ("table.ods", "x/y", "odf"),
        ("photo.jpg", "image/jpeg", None),
    ],
)
def test_documents_are_known_by_name_or_type(name: str, content_type: str, kind: str | None) -> None:
    assert kind == kinds.kind_of(name, content_type)
