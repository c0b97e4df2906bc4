"""Rows of the outbox that are due become ours to send: highest priority first, then the longest due.

However many rows wait, a claim reads those that it takes: one priority after another, by the index of their turns. Takes the
connection, never commits.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, func, literal, or_, select

from daemon.store.dialect import statements, texts
from daemon.store.dialect.prepared import Prepared
from daemon.store.dialect.types import Instant, WrittenInstant
from daemon.store.schema import messages, outbox, outbox_attachments

CLAIM_OCTETS: Final = 8 * 1024 * 1024  # of letters claimed at once, since they are in memory until they are sent
PRIORITIES: Final = 20  # looked into one by one; rows of further ones are sorted, all that are due


class Claimed(NamedTuple):
    """A row that is ours to send. attempts: this one counted.  forwards: the id of an archived message.  enclosed: octets of what is not in the row, 0 for nothing."""

    id: int
    recipients: str
    cc: str | None
    bcc: str | None
    sender: str | None
    reply_to: str | None
    subject: str | None
    body: str | None
    html: str | None
    headers: Mapping[str, str] | None
    raw: bytes | None
    forwards: int | None
    attempts: int
    message_id: str | None
    created_at: datetime
    enclosed: int


_T: Final = outbox.c
_ATTACHED: Final = func.coalesce(
    select(func.sum(func.octet_length(outbox_attachments.c.content) + 1))  # an empty one is something, too
    .where(outbox_attachments.c.outbox_id == _T.id)
    .scalar_subquery(),
    0,
)
_FORWARDED: Final = func.coalesce(select(messages.c.octets).where(messages.c.id == _T.forwards).scalar_subquery(), 0)
# Of what the letter is made; 0 where there is nothing.
_OWN: Final = sum((func.coalesce(func.octet_length(_T[name]), 0) for name in ("body", "html", "raw")), start=literal(0))


def _due(*which: Any) -> Prepared:
    query = (
        select(_T.id, _OWN, _ATTACHED + _FORWARDED)
        .where(
            *which,
            _T.next_attempt_at <= bindparam("now", type_=Instant),
            or_(_T.expires_at.is_(None), _T.expires_at > bindparam("now_written", type_=WrittenInstant)),
        )
        .order_by(_T.priority.desc(), _T.next_attempt_at, _T.id)
        .limit(bindparam("limit", type_=Integer))
    )
    return Prepared(lambda conn: statements.for_update(conn, query, skip_locked=True))


_ITS: Final = _T.account == bindparam("account")
_LOWER: Final = _T.priority < bindparam("priority", type_=Integer)
_DUE: Final = _due()
_DUE_OF_PRIORITY: Final = _due(_ITS, _T.priority == bindparam("priority", type_=Integer))
_DUE_BELOW: Final = _due(_ITS, _LOWER)
_WAITING: Final = select(func.max(_T.priority)).where(_ITS, _T.next_attempt_at.is_not(None))
_HIGHEST: Final = Prepared(lambda _conn: _WAITING)
_HIGHEST_BELOW: Final = Prepared(lambda _conn: _WAITING.where(_LOWER))
_ROWS: Final = Prepared(
    lambda conn: select(*(_T[name] for name in Claimed._fields if name != "enclosed")).where(
        statements.among_given(conn, _T.id, "ids")
    )
)


def claim(
    tx: Connection,
    *,
    owner: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    account: str | None = None,
    name: Callable[[int, datetime], str] | None = None,
) -> list[Claimed]:
    """Take rows that are due. account: only its rows.  name: gives the Message-ID of a row that has none and is not complete yet.

    At most `limit`, and no more than CLAIM_OCTETS of letters together, but for one that is larger alone.
    """
    enclosed, held = dict[int, int](), 0
    for key, own, its in _in_turn(tx, account, now, limit):
        held += own + its
        if enclosed and held > CLAIM_OCTETS:
            break
        enclosed[key] = int(its)
    if not enclosed:
        return []
    found, named = dict[int, Claimed](), dict[int, str]()
    for values in _ROWS.rows(tx, ids=statements.listed(tx, list(enclosed))):
        row = Claimed._make((*values, enclosed[values[0]]))
        if texts.is_doubtful(row):
            row = row._replace(**texts.exact(tx, outbox, row._asdict()))
        if name is not None and not row.message_id and row.raw is None and row.forwards is None:
            named[row.id] = name(row.id, row.created_at)
        found[row.id] = row._replace(attempts=row.attempts + 1, message_id=named.get(row.id, row.message_id))
    fixed = {
        "status": "sending",
        "next_attempt_at": None,
        "lease_owner": owner,
        "lease_until": statements.ready(tx, now + lease),
        "updated_at": statements.ready(tx, now),
    }
    for taken in (
        [{"id": key, "message_id": message_id} for key, message_id in named.items()],
        [{"id": key} for key in enclosed if key not in named],
    ):
        statements.rewrite(tx, outbox, taken, counted=("attempts",), fixed=fixed)
    return [found[key] for key in enclosed]


def _in_turn(tx: Connection, account: str | None, now: datetime, limit: int) -> Iterator[tuple[int, int, int]]:
    """Yield rows that are due in the order of their turns: id, octets of their own, octets enclosed."""
    at = {"now": now, "now_written": now}
    if account is None:
        yield from _DUE.rows(tx, limit=limit, **at)
        return
    ((priority,),) = _HIGHEST.rows(tx, account=account)
    for _ in range(PRIORITIES):
        if priority is None or not limit:
            return
        due = _DUE_OF_PRIORITY.rows(tx, account=account, priority=priority, limit=limit, **at)
        yield from due
        limit -= len(due)
        ((priority,),) = _HIGHEST_BELOW.rows(tx, account=account, priority=priority) if limit else ((None,),)
    if priority is not None:
        yield from _DUE_BELOW.rows(tx, account=account, priority=priority + 1, limit=limit, **at)
