"""What comes back is written into the very row that it is about, on both databases, and nobody else can write there."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import drain, index, match
from daemon.jobs.context import Context
from daemon.mail import report, verp
from daemon.mail.account import Account
from daemon.store import archive, keys, outbox, suppression
from daemon.store.database import Database
from daemon.store.outbox import Verdict
from daemon.wire.spool import Spool
from tests.doubles import house

REPORTS = Path(__file__).parents[1] / "mail" / "reports"
LETTER = "20261123100000.000000.7.postroom@example.org"
BOB, CAROL = "bob@example.net", "carol@example.com"
LEASE = timedelta(minutes=10)


def octets(name: str, letter: str = LETTER) -> bytes:
    """Give a report on a letter of that Message-ID."""
    return (REPORTS / f"{name}.eml").read_bytes().replace(LETTER.encode(), letter.encode())


class Office:
    """A house whose letters are sent by writing verdicts down, and whose mail is put into its archive."""

    def __init__(self, context: Context, accounts: list[Account]) -> None:
        self.context, self.database, self.accounts = context, context.database, accounts
        self._uidls = iter(f"u{number}" for number in range(1000))

    def sent(self, *verdicts: tuple[str, str], message_id: str | None = LETTER, **columns: Any) -> int:
        """Send a row, with these verdicts by recipient; give its id."""
        given = {"recipients": ", ".join(to for to, _ in verdicts), "account": "home"}
        given |= {} if "forwards" in columns else {"subject": "Invoice 7"}
        with self.database.transaction() as tx:
            row = outbox.add(tx, **(given | columns))
        self.attempt(row, *verdicts, message_id=message_id)
        return row

    def attempt(self, row: int, *verdicts: tuple[str, str], message_id: str | None = LETTER) -> None:
        """Try a row that is due."""
        now, owner = self.context.clock(), self.context.owner
        with self.database.transaction() as tx:
            assert [row] == [one.id for one in outbox.claim(tx, owner=owner, now=now, lease=LEASE, limit=9)]
            begun = outbox.Begun(outbox_id=row, message_id=message_id, recipients=[(to, "to") for to, _ in verdicts])
            attempt = outbox.prepare(tx, [begun], account="home", relay="relay:25", session="s", now=now)[row]
            outbox.committing(tx, [attempt.id], now)
            said = [
                Verdict(address=to, status=status, code=250 if status == "sent" else None, reply=f"relay: {status}")
                for to, status in verdicts
                if to in attempt.addresses
            ]
            ended = outbox.Finished(attempt=attempt, verdicts=said, next_attempt_at=now + timedelta(minutes=1))
            outbox.record(tx, [ended], now=now)

    def archive(self, *messages: bytes, account: str = "home") -> list[int]:
        """Put messages into the archive, and index them."""
        incoming = [archive.Incoming(uidl=next(self._uidls), spool=Spool.of(one)) for one in messages]
        with self.database.transaction() as tx:
            filed = archive.add(tx, account, incoming, self.context.clock())
        self.index()
        return [one.message for one in filed]

    def index(self, work: Callable[..., index.Indexed] = index.index) -> None:
        work(self.database, now=self.context.clock, stop=self.context.stop, progress=self.context.pulse)

    def run(self) -> match.Matched:
        return match.match(self.context, self.accounts)

    def comes(self, *messages: bytes) -> match.Matched:
        """Archive, index and match."""
        self.archive(*messages)
        return self.run()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.reading() as conn:
            return [tuple(row) for row in conn.execute(text(statement))]

    def statuses(self, row: int) -> dict[str, str]:
        return dict(self.rows(f"SELECT address, status FROM outbox_recipients WHERE outbox_id = {row}"))

    def status(self, row: int) -> tuple[str, bool]:
        """Give the row's status, and whether it waits to be sent."""
        ((status, due),) = self.rows(f"SELECT status, next_attempt_at FROM outbox WHERE id = {row}")
        return status, due is not None

    def queue(self) -> list[int]:
        return [message for (message,) in self.rows("SELECT message FROM match_queue ORDER BY message")]

    def key(self) -> bytes:
        with self.database.transaction() as tx:
            return keys.make_return_path(tx)


@pytest.fixture
def office(context: Context) -> Office:
    sends = house.sending(25)
    assert sends.smtp is not None
    return Office(context, [replace(sends, smtp=replace(sends.smtp, suppress_bounces=True))])


# --- one report ---------------------------------------------------------------------------------------------------------


# name: what the recipient's row says afterwards
WRITTEN = [
    ("postfix_failed", "bounced", 550, "5.1.1", "User unknown in virtual mailbox table"),
    ("postfix_expired", "bounced", None, "4.4.1", "Connection timed out"),
    ("postfix_delayed", "delayed", None, "4.4.1", "Connection timed out"),
    ("postfix_delivered", "delivered", 250, "2.0.0", "Ok: queued as 1F00B9"),
    ("postfix_relayed", "sent", 250, None, "relay: sent"),
    ("postfix_alias", "bounced", 552, "5.2.2", "Mailbox full"),
    ("exim_dsn", "bounced", 550, "5.1.1", "User unknown"),
    ("exim_text", "bounced", 550, "5.1.1", "User unknown"),
    ("exim_warning", "delayed", 450, "4.2.0", "Greylisted"),
    ("qmail", "bounced", None, "5.1.1", "Sorry, no mailbox here by that name"),
    ("sendmail", "bounced", 550, "5.1.1", "User unknown"),
    ("exchange", "bounced", 550, "5.1.10", "RecipientNotFound"),
    ("gmail", "bounced", 550, "5.1.1", "does not exist"),
    ("gmail_text", "bounced", 550, "5.1.1", "User unknown"),
    ("receipt", "delivered", None, None, "receipt: displayed"),
    ("complaint", "delivered", None, None, "complaint: abuse"),
    ("vacation", "delivered", 250, None, "relay: sent"),
    ("answer", "replied", 250, None, "relay: sent"),
    ("answer_on_a_list", "replied", 250, None, "relay: sent"),
    ("postmaster_in_person", "replied", 250, None, "relay: sent"),
    ("forwarded_bounce", "sent", 250, None, "relay: sent"),
    ("unclear", "sent", 250, None, "relay: sent"),
]


def test_a_report_is_written_into_its_row(office: Office) -> None:
    rows = {name: office.sent((BOB, "sent"), message_id=f"{name}@example.org") for name, *_ in WRITTEN}
    messages = dict(zip(rows, office.archive(*(octets(name, f"{name}@example.org") for name in rows)), strict=True))
    assert len(rows) - 1 == len(office.queue()), "all but the one that is no report of its own"
    office.run()
    for name, status, code, enhanced, reply in WRITTEN:
        ((*found, said, reported_at, by),) = office.rows(
            f"SELECT status, code, enhanced_code, reply, reported_at, report FROM outbox_recipients WHERE outbox_id = {rows[name]}"
        )
        assert [status, code, enhanced] == found, name
        assert reply in said, name
        assert (status != "sent", messages[name] if status != "sent" else None) == (reported_at is not None, by), name
        assert ("sent", False) == office.status(rows[name]), "the relay took it, whatever came of it"
    assert [] == office.queue()


def test_a_row_that_bounced_names_who_and_why_until_better_is_known(office: Office) -> None:
    office.sent((BOB, "sent"))
    office.comes(octets("sendmail"))
    assert [(f"{BOB}: bounced: 550 5.1.1 <bob@example.net>... User unknown",)] == office.rows(
        "SELECT last_error FROM outbox"
    )
    office.comes(octets("answer"))
    assert [(None,)] == office.rows("SELECT last_error FROM outbox")


def test_of_several_recipients_the_one_that_is_named_is_meant(office: Office) -> None:
    row = office.sent((BOB, "sent"), (CAROL, "sent"))
    office.comes(octets("postfix_failed"), octets("answer_on_a_list"))
    assert {BOB: "bounced", CAROL: "replied"} == office.statuses(row)
    office.comes(octets("answer").replace(b"bob@example.net", b"stranger@example.net"))
    assert {BOB: "bounced", CAROL: "replied"} == office.statuses(row), "who answers for two, and is neither?"


def test_the_only_recipient_is_meant_whatever_address_it_went_on_to(office: Office) -> None:
    row = office.sent(("team@example.net", "sent"))
    office.comes(octets("exim_dsn"))
    assert {"team@example.net": "bounced"} == office.statuses(row)


def test_addresses_are_compared_as_mailboxes_not_as_letters(office: Office) -> None:
    row = office.sent(("Bob@EXAMPLE.net", "sent"), ("größe@example.net", "sent"))
    office.comes(octets("postfix_failed"), octets("global"))
    assert {"bounced"} == set(office.statuses(row).values())


# --- several, in any order ----------------------------------------------------------------------------------------------

LINE = ["postfix_delayed", "postfix_failed", "postfix_delivered", "answer"]
REACHED = ["delayed", "bounced", "delivered", "replied"]


def test_what_is_known_only_becomes_better(office: Office) -> None:
    orders = [(earlier, later) for earlier in range(4) for later in range(4)]
    rows = [office.sent((BOB, "sent"), message_id=f"{earlier}.{later}@x") for earlier, later in orders]
    office.comes(*(octets(LINE[earlier], f"{earlier}.{later}@x") for earlier, later in orders))
    office.comes(*(octets(LINE[later], f"{earlier}.{later}@x") + b"\r\n" for earlier, later in orders))
    assert [{BOB: REACHED[max(one)]} for one in orders] == [office.statuses(row) for row in rows]


def test_a_reindex_reads_it_all_again_and_changes_nothing(office: Office) -> None:
    office.sent((BOB, "sent"))
    office.comes(*map(octets, ["postfix_delayed", "postfix_failed", "qmail", "vacation"]))
    everything = "SELECT status, code, enhanced_code, reply, reported_at, report FROM outbox_recipients"
    before = office.rows(everything), office.rows("SELECT status, last_error, updated_at FROM outbox")
    office.index(index.reindex)
    assert 4 == len(office.queue())
    assert 0 == office.run().changed
    assert before == (office.rows(everything), office.rows("SELECT status, last_error, updated_at FROM outbox"))
    assert [] == office.queue()


def test_a_run_that_is_killed_begins_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch says and its end in the queue are one transaction."""
    row = office.sent((BOB, "sent"))
    office.archive(octets("postfix_failed"))
    with monkeypatch.context() as patched:
        patched.setattr("daemon.store.reports.done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            office.run()
    assert ({BOB: "sent"}, 1) == (office.statuses(row), len(office.queue()))
    assert 1 == office.run().changed
    assert ({BOB: "bounced"}, []) == (office.statuses(row), office.queue())


def test_nothing_is_queued_that_can_not_speak_of_a_row(office: Office) -> None:
    office.archive(octets("postfix_failed"), octets("answer"))
    assert [] == office.queue(), "nothing was ever sent"
    office.sent((BOB, "sent"))
    office.archive(
        b"From: a@example.net\r\nIn-Reply-To: <other@example.net>\r\nAuto-Submitted: auto-generated\r\n\r\nNews.\r\n"
    )
    assert [] == office.queue()
    assert 2 == len(office.archive(octets("answer") + b"P.S.\r\n", octets("qmail") + b"\r\n"))
    assert 2 == len(office.queue())
    assert 2 == office.run().messages


def test_a_message_that_was_pruned_before_it_was_read_is_forgotten(office: Office) -> None:
    office.sent((BOB, "sent"))
    office.archive(octets("postfix_failed"))
    with office.database.transaction() as tx:
        tx.execute(text("DELETE FROM messages"))
    assert 0 == office.run().messages
    assert [] == office.queue()


def test_a_message_that_the_database_refuses_stops_no_other(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = office.sent((BOB, "sent")), office.sent((CAROL, "sent"), message_id="bad@example.org")
    spoilt = octets("qmail").replace(LETTER.encode(), b"bad@example.org")
    read = report.read

    def reading(raw: bytes) -> report.Report:
        """Find a code that no column holds."""
        found = read(raw)
        return found if b"bad@" not in raw else replace(found, fates=(replace(found.fates[0], code=2**70),))

    monkeypatch.setattr(report, "read", reading)
    office.comes(spoilt, octets("postfix_failed"))
    assert ({BOB: "bounced"}, {CAROL: "sent"}) == (office.statuses(good), office.statuses(bad))
    assert [] == office.queue()


# --- doubts -------------------------------------------------------------------------------------------------------------

COPY = f"From: Anna <anna@example.org>\r\nTo: {BOB}\r\nSubject: Invoice 7\r\nMessage-ID: <{LETTER}>\r\n\r\nPlease pay.\r\n".encode()


def test_a_copy_resolves_the_doubt_of_the_whole_row(office: Office) -> None:
    row = office.sent((BOB, "in_doubt"), (CAROL, "in_doubt"))
    assert ("in_doubt", True) == office.status(row)
    office.comes(COPY)
    assert {BOB: "sent", CAROL: "sent"} == office.statuses(row)
    assert ("sent", False) == office.status(row), "it is not sent again"
    assert [(True, True)] == office.rows("SELECT sent_at IS NOT NULL, last_error IS NULL FROM outbox")
    assert [("the doubt is resolved by what came back",)] * 2 == office.rows("SELECT reply FROM outbox_recipients")


RESOLVING = {
    "postfix_failed": "bounced",
    "postfix_delivered": "delivered",
    "postfix_relayed": "sent",
    "vacation": "delivered",
    "answer": "replied",
}


@pytest.mark.parametrize("on_doubt", ["retry", "hold"])
def test_a_report_resolves_the_doubt_of_whom_it_names(office: Office, on_doubt: str) -> None:
    rows = {
        name: office.sent((BOB, "in_doubt"), message_id=f"{name}@example.org", on_doubt=on_doubt) for name in RESOLVING
    }
    assert [("in_doubt", on_doubt == "retry")] * len(rows) == [office.status(row) for row in rows.values()]
    office.comes(*(octets(name, f"{name}@example.org") for name in RESOLVING))
    assert {name: {BOB: status} for name, status in RESOLVING.items()} == {
        name: office.statuses(row) for name, row in rows.items()
    }
    assert [("sent", False)] * len(rows) == [office.status(row) for row in rows.values()]


def test_who_is_not_named_stays_in_doubt_and_is_tried_again_alone(office: Office) -> None:
    row = office.sent((BOB, "in_doubt"), (CAROL, "in_doubt"))
    office.comes(octets("answer"))
    assert {BOB: "replied", CAROL: "in_doubt"} == office.statuses(row)
    assert ("in_doubt", True) == office.status(row)
    office.context.clock.forward(minutes=2)  # type: ignore[attr-defined]  # a house.Clock
    office.attempt(row, (BOB, "failed"), (CAROL, "sent"))
    assert {BOB: "replied", CAROL: "sent"} == office.statuses(row)
    assert ("sent", False) == office.status(row)


def test_what_is_still_to_be_sent_is_sent(office: Office) -> None:
    """The relay said no for now: whoever claims to have had the letter did not have it from us."""
    row = office.sent((BOB, "deferred"), (CAROL, "in_doubt"))
    office.comes(octets("answer"), octets("postfix_failed"), COPY)
    assert {BOB: "deferred", CAROL: "sent"} == office.statuses(row)
    assert ("deferred", True) == office.status(row)


def test_a_row_that_is_being_sent_is_looked_at_afterwards(office: Office) -> None:
    row = office.sent((BOB, "in_doubt"))
    office.context.clock.forward(minutes=2)  # type: ignore[attr-defined]  # a house.Clock
    with office.database.transaction() as tx:
        outbox.claim(tx, owner=office.context.owner, now=office.context.clock(), lease=LEASE, limit=1)
    assert 1 == office.comes(octets("answer")).postponed
    assert ("sending", False) == office.status(row)
    with office.database.transaction() as tx:
        outbox.put_back(tx, [row], reason="", next_attempt_at=office.context.clock(), now=office.context.clock())
    assert 1 == office.run().changed
    assert ("sent", False) == office.status(row)


@pytest.mark.servers
def test_a_row_that_another_transaction_holds_is_not_waited_for(postgresql_url: str, clock: house.Clock) -> None:
    """A drain that writes its verdicts takes rows in an order of its own: who waits for them may be waited for."""
    ours, theirs = Database(postgresql_url), Database(postgresql_url)
    office = Office(house.context(ours, clock), [])
    first, second = office.sent((BOB, "sent")), office.sent((CAROL, "sent"), message_id="second@example.org")
    office.archive(octets("postfix_failed"), octets("qmail", "second@example.org"))
    with theirs.transaction() as tx:
        tx.execute(text(f"SELECT id FROM outbox WHERE id = {first} FOR UPDATE"))
        matched = office.run()
    assert (1, 1) == (matched.changed, matched.postponed)
    assert ({BOB: "sent"}, {CAROL: "bounced"}) == (office.statuses(first), office.statuses(second))
    assert 1 == office.run().changed
    ours.dispose()
    theirs.dispose()


def test_a_message_that_was_there_before_is_no_copy(office: Office) -> None:
    """A program that sends an archived message on, raw, gives its row that message's Message-ID."""
    office.archive(COPY)
    office.context.clock.forward(minutes=1)  # type: ignore[attr-defined]  # a house.Clock
    row = office.sent((CAROL, "in_doubt"))
    office.index(index.reindex)
    office.run()
    assert ("in_doubt", True) == office.status(row)


def test_what_a_row_forwards_is_no_copy_of_it_and_may_be_an_answer(office: Office) -> None:
    first = office.sent((BOB, "sent"))
    (message,) = office.archive(octets("answer"))
    second = office.sent((CAROL, "in_doubt"), message_id="answer-1@example.net", forwards=message)
    office.run()
    assert ({BOB: "replied"}, {CAROL: "in_doubt"}) == (office.statuses(first), office.statuses(second))


def test_our_own_letters_answer_nothing(office: Office) -> None:
    """Anna writes once more in the thread, through us with a copy to herself, and from her telephone."""
    first = office.sent((BOB, "sent"))
    office.sent((BOB, "sent"), message_id="second@example.org")
    again = f"From: anna@example.org\r\nTo: {BOB}\r\nIn-Reply-To: <{LETTER}>\r\nMessage-ID: <%s>\r\n\r\nWell?\r\n"
    office.comes((again % "second@example.org").encode(), (again % "phone@example.org").encode())
    assert {BOB: "sent"} == office.statuses(first)


# --- proofs -------------------------------------------------------------------------------------------------------------


def test_a_bounce_of_any_kind_is_known_by_the_address_it_came_to(office: Office) -> None:
    row = office.sent((BOB, "sent"), (CAROL, "sent"), message_id=None)
    marked = verp.sender("anna@example.org", row, CAROL, office.key()).encode()
    office.comes(octets("unclear").replace(b"anna+pr7-aaaaaabbbbbbbbbb@example.org", marked))
    assert {BOB: "sent", CAROL: "bounced"} == office.statuses(row)


def test_the_marked_recipient_is_meant_whomever_the_report_names(office: Office) -> None:
    expected = {"postfix_failed": "bounced", "vacation": "delivered", "answer": "replied"}
    for name, status in expected.items():
        row = office.sent((BOB, "sent"), (CAROL, "sent"))
        marked = verp.sender("anna@example.org", row, CAROL, office.key()).encode()
        raw = octets(name, "unknown@example.org")
        office.comes(raw.replace(b"To: anna@example.org", b"To: " + marked).replace(b"Anna <anna@example.org>", marked))
        assert {BOB: "sent", CAROL: status} == office.statuses(row)


def test_an_envelope_id_names_the_row_where_no_header_came_back(office: Office) -> None:
    row = office.sent((BOB, "sent"), message_id=None)
    bare = octets("postfix_alias").replace(LETTER.encode(), b"changed@relay.example")
    office.comes(bare)
    assert {BOB: "sent"} == office.statuses(row)
    office.comes(bare.replace(b"pr7-aaaaaaaaaaaaaaaa", report.envelope_id(row, office.key()).encode()))
    assert {BOB: "bounced"} == office.statuses(row)


def test_a_stranger_who_guesses_changes_nothing(office: Office) -> None:
    row = office.sent((BOB, "sent"))
    office.key()
    guess = b"another-key-of-32-octets-exactly"
    forged = [
        octets("unclear").replace(
            b"anna+pr7-aaaaaabbbbbbbbbb@example.org", verp.sender("anna@example.org", row, BOB, guess).encode()
        ),
        octets("postfix_alias")
        .replace(LETTER.encode(), b"guess@example.org")
        .replace(b"pr7-aaaaaaaaaaaaaaaa", report.envelope_id(row, guess).encode()),
        octets("qmail").replace(LETTER.encode(), LETTER.replace("000000", "000001").encode()),
        octets("answer").replace(LETTER.encode(), b"guess@example.org"),
    ]
    assert 0 == office.comes(*forged).changed
    assert {BOB: "sent"} == office.statuses(row)


def test_the_message_id_of_a_letter_can_not_be_guessed(office: Office, smtp_server: SmtpServer) -> None:
    """Time and row are known to whoever gets another letter; sixteen digits are not."""
    with office.database.transaction() as tx:
        for _ in range(2):
            outbox.add(tx, recipients=BOB, subject="Hello", account="home")
    assert 2 == drain.drain(house.sending(smtp_server.port), office.context).sent
    ids = [message_id for (message_id,) in office.rows("SELECT message_id FROM outbox ORDER BY id")]
    found = [re.fullmatch(r"\d{14}\.\d{6}\.(\d+)\.([0-9a-f]{16})\.postroom@example\.org", one) for one in ids]
    assert ["1", "2"] == [one[1] for one in found if one]
    assert 2 == len({one[2] for one in found if one})
    assert all(any(f"<{one}>".encode() in letter.content for letter in smtp_server.received) for one in ids)


def test_the_key_is_made_once(database: Database) -> None:
    with database.transaction() as tx:
        assert None is keys.return_path(tx)
        made = keys.make_return_path(tx)
    with database.transaction() as tx:
        assert made == keys.make_return_path(tx) == keys.return_path(tx)
    assert 32 == len(made)


# --- suppression --------------------------------------------------------------------------------------------------------


def test_an_address_that_does_not_exist_is_suppressed_when_the_account_asks_for_it(office: Office) -> None:
    office.sent((BOB, "sent"))
    (message,) = office.archive(octets("postfix_failed"))
    office.run()
    assert [(BOB, "bounce", message)] == office.rows("SELECT address, suppressed_by, report FROM suppressions")
    with office.database.transaction() as tx:
        assert "550 5.1.1 <bob@example.net>: Recipient address rejected" in suppression.among(tx, [BOB])[BOB]
        suppression.remove(tx, [BOB])
    office.index(index.reindex)
    office.run()
    assert [] == office.rows("SELECT address FROM suppressions"), "an operator's word stands"


def test_other_reports_suppress_nobody(office: Office) -> None:
    names = ["postfix_expired", "postfix_delayed", "postfix_alias", "complaint", "answer"]
    for name in names:
        office.sent((BOB, "sent"), message_id=f"{name}@example.org")
    assert 5 == office.comes(*(octets(name, f"{name}@example.org") for name in names)).changed
    assert [] == office.rows("SELECT address FROM suppressions")


def test_nobody_is_suppressed_unasked(office: Office) -> None:
    office.accounts = [house.sending(25)]
    office.sent((BOB, "sent"))
    assert 1 == office.comes(octets("postfix_failed")).changed
    assert [] == office.rows("SELECT address FROM suppressions")
