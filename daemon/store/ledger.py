"""What is known of each message of each maildrop, by account and UIDL: why a mail is missing, still there, or skipped.

All functions take the connection and never commit. `last_seen_at` of a row is advanced at most once an hour while it is
listed (a poll of 20,000 known messages must not write 20,000 rows), and is exact once the message has left.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Insert,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)

from daemon.mail.maildrop import Entry, Known, LedgerStatus, Rows
from daemon.store.dialect import statements
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import accounts, ledger

SEEN_EVERY: Final = timedelta(hours=1)  # between two writes of last_seen_at
IDS_A_STATEMENT: Final = 500  # parameters of one IN list, so that few different statements are compiled

LISTED: Final = (
    LedgerStatus.ARCHIVED,
    LedgerStatus.HEADERS,
    LedgerStatus.SEEN,
    LedgerStatus.SKIPPED,
    LedgerStatus.REFUSED,
)

_LISTED_AT: Final = Prepared(
    lambda _: update(accounts).where(accounts.c.name == bindparam("account")).values(last_listed_at=bindparam("at"))
)
_HEADERS_ONLY: Final = Prepared(
    lambda _: select(ledger.c.uidl, ledger.c.occurrence, ledger.c.octets, ledger.c.message).where(
        ledger.c.account == bindparam("account"),
        ledger.c.status == str(LedgerStatus.HEADERS),
        ledger.c.message.is_not(None),
    )
)
_T: Final = ledger.c
_KNOWN: Final = select(_T.id, _T.uidl, _T.octets, _T.status, _T.first_seen_at, _T.message, _T.deleted_at).where(
    _T.account == bindparam("account")
)


def known(conn: Connection, account: str, uidls: Sequence[str] | None = None) -> list[Known]:
    """Give every row of an account, oldest first; or every one of these few UIDLs."""
    query = _KNOWN if uidls is None else _KNOWN.where(statements.uidl_in(conn, uidls))
    raw = statements.raw_rows(conn, query, {"account": account})
    raw.sort(key=itemgetter(0))  # they come nearly so: here it takes a tenth of what ORDER BY does
    read = statements.moments(conn)
    # Few times are many rows': each is read once.
    moment = {at: read(at) for at in {None, *map(itemgetter(4), raw), *map(itemgetter(6), raw)}}
    return [
        Known(key, uidl, octets, status, moment[first_seen_at], message, moment[deleted_at])
        for key, uidl, octets, status, first_seen_at, message, deleted_at in raw
    ]


def _rows(conn: Connection) -> Select[Any]:
    t = ledger.c
    text = statements.written_out(conn, [t.id, t.uidl, t.octets, t.first_seen_at, t.message], by=t.id)
    is_listed = t.status.in_([literal_column(f"'{one}'") for one in LISTED])
    query = select(t.status, func.count(), func.min(t.last_seen_at), text)
    return query.where(t.account == bindparam("account"), is_listed).group_by(t.status)


_ROWS: Final = Prepared(_rows)


def rows(conn: Connection, account: str) -> Rows:
    """Write out the rows whose messages should be in the maildrop: what `known` says of them, and no more."""
    found = _ROWS.rows(conn, account=account)
    return Rows(
        texts={status: text for status, _count, _at, text in found},
        counts={status: count for status, count, _at, _text in found},
        last_seen_at=min((at for _status, _count, at, _text in found), default=None),
    )


def skip(tx: Connection, account: str, rows: Sequence[tuple[Entry, int, LedgerStatus, str]], now: datetime) -> None:
    """Write down what was not archived, and why. rows: entry with a UIDL, occurrence, SKIPPED or REFUSED, reason."""
    values = [
        {
            "account": account,
            "uidl": entry.uidl,
            "occurrence": occurrence,
            "octets": entry.octets,
            "first_seen_at": now,
            "last_seen_at": now,
            "status": str(status),
            "reason": reason,
            "attempts": int(status == LedgerStatus.REFUSED),
        }
        for entry, occurrence, status, reason in rows
        if entry.uidl is not None
    ]
    if not values:
        return
    insert = statements.upsert(tx, ledger)
    new = insert.excluded
    statement = insert.on_conflict_do_update(
        index_elements=statements.ledger_key(tx),
        set_={
            "octets": new.octets,
            "status": new.status,
            "reason": new.reason,
            "last_seen_at": new.last_seen_at,
            "message": null(),  # a UIDL used again: what was archived under it is another message, and no proof of this one
            "attempts": ledger.c.attempts + new.attempts,
        },
    )
    tx.execute(statement, values)


def is_first_contact(conn: Connection, account: str) -> bool:
    """Tell whether the account's maildrop was never listed, and nothing is known of any message in it."""
    listed = conn.execute(select(accounts.c.last_listed_at).where(accounts.c.name == account)).scalar()
    return listed is None and count(conn, account) == 0


def count(conn: Connection, account: str) -> int:
    """Count the rows of an account."""
    return int(conn.execute(select(func.count()).select_from(ledger).where(ledger.c.account == account)).scalar_one())


def _seen(tx: Connection) -> Insert:
    return statements.insert_missing(tx, ledger)


def mark_seen(
    tx: Connection, account: str, rows: Sequence[tuple[str, int, int | None]], reason: str, now: datetime
) -> int:
    """Write down messages that are not to be fetched; rows that are there stay as they are. Give how many are new.

    rows: uidl, occurrence, and octets as LIST said.
    """
    if not rows:
        return 0
    before, at = count(tx, account), statements.ready(tx, now)
    fixed = {"account": account, "first_seen_at": at, "last_seen_at": at, "status": str(LedgerStatus.SEEN)}
    fixed["reason"] = reason
    statements.bulk(
        tx,
        _seen,
        [fixed | {"uidl": uidl, "occurrence": occurrence, "octets": octets} for uidl, occurrence, octets in rows],
    )
    return count(tx, account) - before


def _archived(tx: Connection) -> Insert:
    """Make the row of an archived message, or bring the one that is there to that state."""
    statement = statements.upsert(tx, ledger)
    new, old = statement.excluded, ledger.c
    # Whose header section was archived, and is fetched whole now, is no new message for all that.
    was_headers = and_(old.status == literal_column(f"'{LedgerStatus.HEADERS}'"), old.octets == new.octets)
    is_other = and_(old.message != new.message, or_(was_headers.is_(None), ~was_headers))
    made: Insert = statement.on_conflict_do_update(
        index_elements=statements.ledger_key(tx),
        set_={
            "octets": new.octets,
            "status": new.status,
            "reason": new.reason,
            "first_seen_at": case((is_other, new.first_seen_at), else_=old.first_seen_at),
            "last_seen_at": new.last_seen_at,
            "message": new.message,
            "attempts": literal_column("0"),
            "dele_sent_at": null(),
            "deleted_at": null(),
        },
    )
    return made


def _of_uidls(conn: Connection) -> Select[Any]:
    t = ledger.c
    query = select(t.id, t.uidl, t.occurrence, t.first_seen_at).where(t.account == bindparam("account"))
    return query.where(*statements.uidl_given(conn))


def archived(
    tx: Connection, account: str, rows: Sequence[dict[str, Any]], now: datetime
) -> dict[tuple[str, int], tuple[int, datetime]]:
    """Write down what was archived; give ledger id and first_seen_at by (uidl, occurrence).

    rows: uidl, occurrence, octets (as LIST said), message, status (ARCHIVED or HEADERS) and reason of each. A UIDL that now
    names another message than before is a new message: it is seen for the first time.
    """
    if not rows:
        return {}
    at = statements.ready(tx, now)
    fixed = {"account": account, "first_seen_at": at, "last_seen_at": at}
    statements.bulk(tx, _archived, [row | fixed for row in rows])
    moment = statements.moments(tx)
    found: dict[tuple[str, int], tuple[int, datetime]] = {}
    uidls = [row["uidl"] for row in rows]
    for start in range(0, len(uidls), IDS_A_STATEMENT):
        part = statements.uidl_values(tx, uidls[start : start + IDS_A_STATEMENT])
        found |= {
            (uidl, occurrence): (key, moment(seen_at))
            for key, uidl, occurrence, seen_at in statements.gather(tx, _of_uidls, account=account, **part)
        }
    return found


def headers_only(conn: Connection, account: str) -> dict[tuple[str, int], tuple[int | None, int]]:
    """Give (octets, message) of the messages of which the header section alone is archived, by (uidl, occurrence)."""
    found = _HEADERS_ONLY.rows(conn, account=account)
    return {(uidl, occurrence): (octets, message) for uidl, occurrence, octets, message in found}


def seen(tx: Connection, account: str, now: datetime, *, rows: Rows | None = None) -> None:
    """Note that the maildrop was listed at `now`; call it after `gone`, which needs the time of the listing before.

    rows: as they were then, if that is known; where none was last seen an hour ago, none is looked at.
    """
    _LISTED_AT.run(tx, account=account, at=now)
    if rows is not None and (rows.last_seen_at is None or rows.last_seen_at > now - SEEN_EVERY):
        return
    t = ledger.c
    tx.execute(
        update(ledger)
        .where(t.account == account, t.status.in_([str(one) for one in LISTED]), t.last_seen_at <= now - SEEN_EVERY)
        .values(last_seen_at=now)
    )


def gone(tx: Connection, ids: Sequence[int], now: datetime, *, expire: str | None = None) -> None:
    """Note that messages left the maildrop without us: they were listed at the last visit, and no more at `now`.

    expire: what the server announces of its own deleting, `deletes mail after 60 days (EXPIRE 60)`.
    """
    why = "" if expire is None else f"; the server {expire}"
    listed = select(accounts.c.last_listed_at).where(accounts.c.name == ledger.c.account).scalar_subquery()
    _each(
        tx,
        ids,
        {
            "status": str(LedgerStatus.GONE),
            "last_seen_at": func.coalesce(listed, ledger.c.last_seen_at),
            # A header section is no proof of a message: listed again under this UIDL, it is not taken for archived.
            "message": case((ledger.c.status == str(LedgerStatus.HEADERS), null()), else_=ledger.c.message),
            "reason": case(
                (
                    ledger.c.dele_sent_at.is_not(None),
                    f"gone on {now:%Y-%m-%d}, after our DELE whose QUIT was not confirmed",
                ),
                else_=f"not listed any more on {now:%Y-%m-%d}, and not deleted by postroom{why}",
            ),
        },
    )


def returned(tx: Connection, ids: Sequence[int], now: datetime) -> None:
    """Note that archived messages, gone once, are listed again."""
    _each(
        tx,
        ids,
        {
            "status": str(LedgerStatus.ARCHIVED),
            "last_seen_at": now,
            "reason": f"listed again on {now:%Y-%m-%d}",
            "dele_sent_at": None,
            "deleted_at": None,
        },
    )


def dele_sent(tx: Connection, ids: Sequence[int], now: datetime) -> None:
    """Note that the server accepted DELE; the message is gone once it accepts QUIT too."""
    _each(tx, ids, {"dele_sent_at": now})


def deleted(tx: Connection, ids: Sequence[int], now: datetime) -> None:
    """Note that the server accepted QUIT after DELE."""
    _each(tx, ids, {"status": str(LedgerStatus.DELETED), "deleted_at": now, "last_seen_at": now, "reason": None})


def not_deleted(tx: Connection, ids: Sequence[int], reason: str) -> None:
    """Note that the server refused DELE; the status stays, the next visit tries again."""
    _each(tx, ids, {"reason": f"DELE refused: {reason}"})


def _each(tx: Connection, ids: Sequence[int], values: dict[str, Any]) -> None:
    if ids:
        tx.execute(update(ledger).where(statements.among(tx, ledger.c.id, ids)).values(values))


def ids_of(conn: Connection, account: str, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Give the ledger ids of (uidl, occurrence) pairs; those that are unknown are left out."""
    t, wanted = ledger.c, set(keys)
    found: dict[tuple[str, int], int] = {}
    uidls = sorted({uidl for uidl, _ in keys})
    for start in range(0, len(uidls), IDS_A_STATEMENT):
        query = select(t.id, t.uidl, t.occurrence).where(
            t.account == account, statements.uidl_in(conn, uidls[start : start + IDS_A_STATEMENT])
        )
        found |= {
            (uidl, occurrence): key for key, uidl, occurrence in conn.execute(query) if (uidl, occurrence) in wanted
        }
    return found


def history(
    conn: Connection, account: str | None = None, uidl: str | None = None, message: int | None = None, limit: int = 1000
) -> list[Row[Any]]:
    """Give whole rows, the last seen first, narrowed down by what is given."""
    query = select(ledger).order_by(ledger.c.last_seen_at.desc(), ledger.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(ledger.c.account == account)
    if uidl is not None:
        query = query.where(statements.uidl_in(conn, [uidl]))
    if message is not None:
        query = query.where(ledger.c.message == message)
    return list(conn.execute(query))
