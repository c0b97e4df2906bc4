"""From claim to verdict: each row has one sender at a time, each recipient one truth, and the dead leave no row behind."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.mail.entity import Attachment
from daemon.store import outbox
from daemon.store.database import Database
from daemon.store.lease import Owner
from daemon.store.outbox import Verdict

ME = str(Owner.current())
ELSEWHERE = "elsewhere/boot/ns/1/1"
LEASE = timedelta(minutes=10)
A, B = "a@example.net", "b@example.net"

Insert = Callable[..., int]


@pytest.fixture
def insert(database: Database) -> Insert:
    def insert(**columns: Any) -> int:
        with database.transaction() as tx:
            return outbox.add(tx, **({"recipients": f"{A}, {B}", "subject": "s", "account": "home"} | columns))

    return insert


def claim(
    database: Database, now: datetime, owner: str = ME, limit: int = 10, account: str | None = None
) -> list[outbox.Claimed]:
    with database.transaction() as tx:
        return outbox.claim(tx, owner=owner, now=now, lease=LEASE, limit=limit, account=account)


def prepare(database: Database, row: int, now: datetime, message_id: str = "<1@x>") -> outbox.Attempt:
    begun = outbox.Begun(outbox_id=row, message_id=message_id, recipients=[(A, "to"), (B, "cc")])
    with database.transaction() as tx:
        return outbox.prepare(tx, [begun], account="home", relay="r:25", session="s", now=now)[row]


def record(database: Database, attempt: outbox.Attempt, now: datetime, **statuses: str) -> str:
    verdicts = [
        Verdict(address=to, status=status, code=None if status == "in_doubt" else 250, reply=f"said {status}")
        for to, status in zip((A, B), statuses.values(), strict=False)
    ]
    finished = outbox.Finished(attempt=attempt, verdicts=verdicts, next_attempt_at=now + LEASE, transcript="> DATA")
    with database.transaction() as tx:
        return outbox.record(tx, [finished], now=now)[attempt.outbox_id]


def in_milliseconds(moment: datetime) -> datetime:
    """Cut a time that PostgreSQL's own clock gave to what we write."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def row_of(database: Database, row: int) -> Any:
    with database.reading() as conn:
        return outbox.show(conn, row).row


def recipients_of(database: Database, row: int) -> dict[str, str]:
    with database.reading() as conn:
        return {one.address: one.status for one in outbox.show(conn, row).recipients}


# --- claim ------------------------------------------------------------------------------------------------------------


def test_rows_are_claimed_by_priority_then_age_and_only_once(database: Database, insert: Insert, now: datetime) -> None:
    ids = [insert(), insert(priority=5), insert(), insert(send_after=now + timedelta(hours=1)), insert(status="held")]
    insert(expires_at=now)
    claimed = claim(database, now, limit=2) + claim(database, now, limit=9)
    assert [ids[1], ids[0], ids[2]] == [one.id for one in claimed]
    assert [1, 1, 1] == [one.attempts for one in claimed]
    assert [] == claim(database, now)
    assert ("sending", ME, None) == ((row := row_of(database, ids[0])).status, row.lease_owner, row.next_attempt_at)
    with database.reading() as conn:
        assert {"sending": 3, "queued": 2, "held": 1} == outbox.counts(conn)


def test_rows_of_very_many_priorities_have_their_turns(database: Database, insert: Insert, now: datetime) -> None:
    ids = [insert(priority=number, send_after=now + LEASE * (number % 3 == 1)) for number in range(30)]
    wanted = [one for number, one in enumerate(ids) if number % 3 != 1]
    claimed = claim(database, now, limit=3, account="home") + claim(database, now, limit=99, account="home")
    assert wanted[::-1] == [one.id for one in claimed]
    assert [] == claim(database, now, account="office")


BOUNDED: dict[str, tuple[str, Callable[[Any, datetime], Any]]] = {
    "claim": ("queued", lambda tx, now: outbox.claim(tx, owner=ME, now=now, lease=LEASE, limit=10, account="home")),
    "rescue": ("held", outbox.rescue),
}


@pytest.mark.parametrize("what", BOUNDED)
def test_what_comes_again_and_again_costs_the_same_however_many_rows_there_are(
    sqlite_url: str, now: datetime, what: str
) -> None:
    """Counted in steps of SQLite's machine, in tens."""
    status, act = BOUNDED[what]
    database, steps = Database(sqlite_url), list[int]()

    def step() -> None:
        steps[-1] += 1

    for rows in (40, 1600):
        with database.transaction() as tx:
            insert = "INSERT INTO outbox (recipients, subject, account, status) SELECT 'a@b', 's', 'home', :status FROM json_each(:rows)"
            tx.execute(text(insert), {"status": status, "rows": str([0] * rows)})
            driver: Any = tx.connection.dbapi_connection
            steps.append(0)
            driver.set_progress_handler(step, 10)
            act(tx, now)
            driver.set_progress_handler(None, 10)
    assert steps[1] <= 2 * max(steps[0], 10)
    database.dispose()


def test_a_claim_gives_what_a_letter_is_made_of(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        row = outbox.add(
            tx,
            recipients=A, cc=B, bcc=None, sender="Anna <anna@example.org>", reply_to=B, account="home", subject="Grüße", body="b",
            html="<p>", headers={"X-A": "ä"}, idempotency_key="k", on_doubt="hold",
            attachments=[Attachment(filename="März.bin", content_type="x/y", content=b"\x00\xff", content_id="c1")],
        )  # fmt: skip
    (one,) = claim(database, now)
    assert ({"X-A": "ä"}, "Grüße", "b", "<p>", None, True) == (
        one.headers,
        one.subject,
        one.body,
        one.html,
        one.raw,
        one.enclosed > 0,
    )
    with database.reading() as conn:
        assert (
            Attachment(filename="März.bin", content_type="x/y", content=b"\x00\xff", content_id="c1"),
        ) == outbox.attachments_of(conn, [row])[row]


@pytest.mark.parametrize("raw", ["b'Subject: \\x00\\xff'", "text"])
def test_raw_is_octets_whether_it_was_inserted_as_octets_or_as_text(
    database: Database, now: datetime, raw: str
) -> None:
    given = "Subject: ü\n\nx" if raw == "text" else b"Subject: \x00\xff"
    if raw == "text" and database.kind == "postgresql":
        given = given.encode() if isinstance(given, str) else given
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, raw) VALUES ('a@b', :raw)"), {"raw": given})
    (one,) = claim(database, now)
    assert (given.encode() if isinstance(given, str) else given) == one.raw


def test_a_row_in_another_encoding_is_noticed_and_stops_no_other(sqlite_url: str, now: datetime) -> None:
    """Octets that are not UTF-8 come as lone surrogates, which no letter may hold."""
    database = Database(sqlite_url)
    with database.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO outbox (recipients, subject) VALUES ('a@b', CAST(x'4772fc6e' AS TEXT)), ('c@d', 'Grün \ufffd')"
            )
        )
    assert ["Gr\udcfcn", "Grün \ufffd"] == [one.subject for one in claim(database, now)]
    database.dispose()


def test_many_claimers_share_the_rows(database: Database, insert: Insert, now: datetime) -> None:
    ids = [insert() for _ in range(30)]
    got: list[int] = []

    def work(owner: str) -> None:
        while rows := claim(database, now, owner, limit=3):
            got.extend(one.id for one in rows)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids == sorted(got)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "on_doubt", "status", "waits"),
    [
        (("sent", "sent"), "retry", "sent", False),
        (("sent", "failed"), "retry", "partial", False),
        (("failed", "failed"), "retry", "failed", False),
        (("sent", "deferred"), "retry", "deferred", True),
        (("failed", "deferred"), "retry", "deferred", True),
        (("sent", "in_doubt"), "retry", "in_doubt", True),
        (("sent", "in_doubt"), "hold", "in_doubt", False),
        (("deferred", "in_doubt"), "retry", "in_doubt", True),
        (("deferred", "in_doubt"), "hold", "deferred", True),
    ],
)
def test_the_row_comes_to_the_sum_of_its_recipients(
    database: Database,
    insert: Insert,
    now: datetime,
    verdicts: tuple[str, str],
    on_doubt: str,
    status: str,
    *,
    waits: bool,
) -> None:
    row = insert(on_doubt=on_doubt)
    claim(database, now)
    attempt = prepare(database, row, now)
    assert (1, (A, B)) == (attempt.number, attempt.addresses)
    assert status == record(database, attempt, now, a=verdicts[0], b=verdicts[1])
    shown = row_of(database, row)
    assert (status, waits, None) == (shown.status, shown.next_attempt_at is not None, shown.lease_owner)
    assert dict(zip((A, B), verdicts, strict=True)) == recipients_of(database, row)
    if waits:
        claim(database, now + LEASE)
        again = prepare(database, row, now + LEASE)
        left = [
            to
            for to, was in zip((A, B), verdicts, strict=True)
            if was == "deferred" or (was, on_doubt) == ("in_doubt", "retry")
        ]
        assert (2, tuple(left)) == (again.number, again.addresses)


def test_the_message_id_of_the_first_attempt_stays(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    claim(database, now)
    record(database, prepare(database, row, now), now, a="deferred", b="deferred")
    claim(database, now + LEASE)
    prepare(database, row, now, message_id="<2@x>")
    assert "<1@x>" == row_of(database, row).message_id


def test_the_truth_about_a_row_that_was_stopped_meanwhile_is_kept(
    database: Database, insert: Insert, now: datetime
) -> None:
    row = insert()
    claim(database, now)
    attempt = prepare(database, row, now)
    with database.transaction() as tx:
        tx.execute(text("UPDATE outbox SET status = 'cancelled'"))
    assert "cancelled" == record(database, attempt, now, a="sent", b="deferred")
    assert {A: "sent", B: "deferred"} == recipients_of(database, row)
    assert [] == claim(database, now + timedelta(days=1))


def test_a_row_that_was_taken_back_before_its_attempt_has_nobody_to_be_sent_to(
    database: Database, insert: Insert, now: datetime
) -> None:
    row = insert()
    claim(database, now)
    with database.transaction() as tx:
        tx.execute(text("UPDATE outbox SET status = 'held'"))
    with pytest.raises(KeyError):
        prepare(database, row, now)


def test_a_row_that_was_deleted_meanwhile_breaks_nothing(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    claim(database, now)
    attempt = prepare(database, row, now)
    with database.transaction() as tx:
        tx.execute(text("DELETE FROM outbox"))
    assert "sent" == record(database, attempt, now, a="sent", b="sent")


def test_network_text_is_made_storable(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    claim(database, now)
    attempt = prepare(database, row, now)
    verdict = Verdict(address=A, status="failed", code=550, reply="a\x00b\udcff")
    with database.transaction() as tx:
        outbox.record(tx, [outbox.Finished(attempt=attempt, verdicts=[verdict], next_attempt_at=None)], now=now)
    assert "550 a\ufffdb?" in row_of(database, row).last_error


# --- rows that do not come that far -----------------------------------------------------------------------------------


def test_rows_put_back_are_as_if_never_claimed(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    before = row_of(database, row)
    claim(database, now)
    with database.transaction() as tx:
        outbox.put_back(tx, [row], reason="stopping", next_attempt_at=now, now=now)
    shown = row_of(database, row)
    assert ("queued", 0, None) == (shown.status, shown.attempts, shown.last_error)
    assert in_milliseconds(before.next_attempt_at) == shown.next_attempt_at, "it keeps its place among those that wait"
    claim(database, now)
    with database.transaction() as tx:
        outbox.put_back(tx, [row], reason="relay down", next_attempt_at=now + LEASE, now=now)
    shown = row_of(database, row)
    assert ("deferred", 0, now + LEASE, "relay down") == (
        shown.status,
        shown.attempts,
        shown.next_attempt_at,
        shown.last_error,
    )
    with database.transaction() as tx:
        assert 1 == outbox.unpause(tx, "home", now + LEASE, now)
    assert [row] == [one.id for one in claim(database, now)]


def test_a_row_put_back_past_its_mark_is_in_doubt(database: Database, insert: Insert, now: datetime) -> None:
    row = insert(on_doubt="hold")
    claim(database, now)
    attempt = prepare(database, row, now)
    with database.transaction() as tx:
        outbox.committing(tx, [attempt.id], now)
    with database.transaction() as tx:
        outbox.put_back(tx, [row], reason="database full", next_attempt_at=now, now=now)
    assert ("in_doubt", None) == ((shown := row_of(database, row)).status, shown.next_attempt_at)
    assert {A: "in_doubt", B: "in_doubt"} == recipients_of(database, row)


@pytest.mark.parametrize("on_doubt", ["retry", "hold"])
@pytest.mark.parametrize("reached", ["claimed", "prepared", "committing"])
def test_the_rows_of_the_dead_come_back_and_are_in_doubt_only_past_the_mark(
    database: Database, insert: Insert, now: datetime, reached: str, on_doubt: str
) -> None:
    row, living = insert(on_doubt=on_doubt), insert(account="work")
    place = in_milliseconds(row_of(database, row).next_attempt_at)
    claim(database, now, ELSEWHERE, account="home")
    claim(database, now + timedelta(hours=1), ME, account="work")
    if reached != "claimed":
        attempt = prepare(database, row, now)
        if reached == "committing":
            with database.transaction() as tx:
                outbox.committing(tx, [attempt.id], now)
    with database.transaction() as tx:
        assert outbox.Rescued(requeued=0, in_doubt=0) == outbox.rescue(tx, now + LEASE - timedelta(seconds=1))
    later = now + LEASE
    with database.transaction() as tx:
        doubted = reached == "committing"
        assert outbox.Rescued(requeued=not doubted, in_doubt=doubted) == outbox.rescue(tx, later)
    shown = row_of(database, row)
    assert {"claimed": "queued", "prepared": "deferred", "committing": "in_doubt"}[reached] == shown.status
    due = place if reached == "claimed" else later
    assert (None if doubted and on_doubt == "hold" else due) == shown.next_attempt_at
    assert "sending" == row_of(database, living).status


def test_rows_expire_by_their_own_time_or_by_age(database: Database, insert: Insert, now: datetime) -> None:
    day, five = timedelta(days=1), timedelta(days=5)
    own, plain, later = insert(expires_at=now + day), insert(), insert(send_after=now + 4 * day)
    half = insert(expires_at=now + day, account="work")
    claim(database, now, account="work")
    record(database, prepare(database, half, now), now, a="sent", b="deferred")
    with database.transaction() as tx:
        assert 2 == outbox.expire(tx, now + 2 * day, five)
        assert 1 == outbox.expire(tx, now + 5 * day, five)
        assert 0 == outbox.expire(tx, now + 8 * day, five)
        assert 1 == outbox.expire(tx, now + 9 * day, five)
    assert ["expired", "expired", "expired", "partial"] == [
        row_of(database, row).status for row in (own, plain, later, half)
    ]
    assert {A: "sent", B: "failed"} == recipients_of(database, half)


def test_renewed_leases_last_longer(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    claim(database, now, ELSEWHERE)
    with database.transaction() as tx:
        outbox.renew(tx, [row], ELSEWHERE, now + 2 * LEASE)
        outbox.renew(tx, [row], ME, now + 9 * LEASE)
        assert 0 == outbox.rescue(tx, now + LEASE).requeued
        assert 1 == outbox.rescue(tx, now + 2 * LEASE).requeued


# --- which account ----------------------------------------------------------------------------------------------------


def test_due_accounts_are_found_and_rows_without_one_are_routed(
    database: Database, insert: Insert, now: datetime
) -> None:
    insert(), insert(account="work"), insert(account="later", send_after=now + LEASE)
    unrouted, unknown = insert(account=None, sender="x@y"), insert(account="nobody")
    with database.transaction() as tx:
        assert {"home", "work", "nobody", ""} == outbox.due_accounts(tx, now)
        assert outbox.needs_routing(tx, ["home", "work"], now)
        senders: list[str | None] = []

        def choose(sender: str | None) -> str:
            senders.append(sender)
            return "work"

        assert 2 == outbox.route(tx, choose=choose, able=["home", "work"], unable_until=now + LEASE, now=now)
        assert ["x@y"] == senders
        assert not outbox.needs_routing(tx, ["home", "work"], now)
    assert "work" == row_of(database, unrouted).account
    shown = row_of(database, unknown)
    assert ("deferred", now + LEASE) == (shown.status, shown.next_attempt_at)
    with database.reading() as conn:
        due = outbox.next_due(conn)
    assert due is not None
    assert due < now


# --- the desk ---------------------------------------------------------------------------------------------------------


def test_a_key_puts_a_row_in_once(insert: Insert) -> None:
    assert insert(idempotency_key="k") == insert(idempotency_key="k", subject="other")
    assert insert(idempotency_key="k") != insert()


def test_a_wrong_row_is_refused_with_the_databases_sentence(insert: Insert) -> None:
    for columns in (
        {"recipients": "nobody"},
        {"subject": "a\nb"},
        {"headers": {"X Y": "1"}},
        {"subject": "\udcff"},
        {"status": "sent"},
    ):
        with pytest.raises(errors.RowRefused, match=r"outbox|Unicode"):
            insert(**columns)


def test_rows_are_held_released_cancelled_and_retried(database: Database, insert: Insert, now: datetime) -> None:
    row = insert()
    with database.transaction() as tx:
        assert [row] == outbox.hold(tx, [row])
        with pytest.raises(errors.InputInvalid, match=f"outbox row {row} is held; it can't be retried"):
            outbox.retry(tx, [row], now)
        assert [row] == outbox.release(tx, [row], now)
        assert [row] == outbox.cancel(tx, [row])
        with pytest.raises(errors.InputInvalid, match="is cancelled"):
            outbox.hold(tx, [row])
        assert [row] == outbox.retry(tx, [row], now)
        with pytest.raises(errors.NotFound, match="outbox row 99"):
            outbox.cancel(tx, [99])
    assert [row] == [one.id for one in claim(database, now)]
    with database.transaction() as tx, pytest.raises(errors.InputInvalid, match="is sending"):
        outbox.cancel(tx, [row])


def test_a_retry_asks_only_those_who_do_not_have_the_letter(database: Database, insert: Insert, now: datetime) -> None:
    row, untouched = insert(expires_at=now + timedelta(days=1)), insert(status="held")
    claim(database, now)
    record(database, prepare(database, row, now), now, a="sent", b="failed")
    later = now + timedelta(days=9)
    with database.transaction() as tx:
        assert [row] == outbox.retry(tx, None, later)
        assert 0 == outbox.expire(tx, later, timedelta(days=5)), "its age counts anew"
    claim(database, later)
    assert (B,) == prepare(database, row, later).addresses
    assert "held" == row_of(database, untouched).status


def test_a_listing_shows_the_newest_first_without_the_texts(database: Database, insert: Insert) -> None:
    ids = [insert(), insert(status="held"), insert()]
    with database.reading() as conn:
        assert list(reversed(ids)) == [one.id for one in outbox.listing(conn, None, 10)]
        assert [ids[1]] == [one.id for one in outbox.listing(conn, "held", 10)]
        assert not hasattr(outbox.listing(conn, None, 1)[0], "body")
        with pytest.raises(errors.NotFound):
            outbox.show(conn, 99)
