"""What comes back for rows that were sent: which messages may speak of them, and what they change.

    in_doubt -> sent -> delayed -> bounced -> delivered -> replied

A recipient goes along this line and never back, so that reports may come in any order, twice, and once more after a reindex. What
is still to be sent is not theirs to judge: queued and deferred stay. The row keeps saying what the relay did; only a doubt is
resolved by what comes back. All functions take the connection and never commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, exists, func, select, update

from daemon.mail import address as addresses
from daemon.mail.message import Parsed
from daemon.store.dialect import statements, texts
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import accounts, match_queue, messages, outbox, outbox_attempts, outbox_recipients
from daemon.store.settlement import status_for

# What a recipient can be when a report makes it something. A refusal by the relay is no last word where an earlier attempt
# was in doubt: the letter can be there for all that.
FOLLOWS: Final[Mapping[str, frozenset[str]]] = {
    "sent": frozenset({"in_doubt"}),
    "delayed": frozenset({"in_doubt", "sent"}),
    "bounced": frozenset({"in_doubt", "sent", "delayed"}),
    "delivered": frozenset({"in_doubt", "sent", "delayed", "bounced", "failed"}),
    "replied": frozenset({"in_doubt", "sent", "delayed", "bounced", "delivered", "failed"}),
}
RESOLVED: Final = "the doubt is resolved by what came back"
_ENDED: Final = (
    "in_doubt",
    "sent",
    "partial",
    "failed",
    "expired",
)  # rows whose sum can change; held and cancelled stay


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that was sent, as reports are compared with it.

    senders: addresses that it is from, and `recipients`, by their addresses: folded (mail/address.py).  copies_from: since when
    a message of the same Message-ID is a copy of it; None if none can be: it forwards a message, whose other copies have that too.
    """

    id: int
    account: str | None
    status: str
    senders: frozenset[str]
    recipients: Mapping[str, str]
    copies_from: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a message says of one recipient. status: as in FOLLOWS.  reply: of a server; None where nobody quotes one."""

    address: str
    status: str
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None


# --- the queue ------------------------------------------------------------------------------------------------------


def note(tx: Connection, items: Iterable[tuple[int, Parsed]]) -> int:
    """Queue those of freshly indexed messages that may speak of what was sent; give how many. Nearly always none."""
    if _SENT.first(tx) == (False,):
        return 0
    named = {key: _named(parsed) for key, parsed in items}
    ours = statements.present(tx, outbox.c.message_id, list(set().union(*named.values())))
    shaped = {key for key, parsed in items if parsed.may_report}
    noted = [key for key, ids in named.items() if key in shaped or not ours.isdisjoint(ids)]
    if noted:
        tx.execute(statements.insert_missing(tx, match_queue), [{"message": key} for key in noted])
    return len(noted)


def _sent(_conn: Connection) -> Select[Any]:
    return select(exists(select(outbox_recipients.c.outbox_id)))


_SENT: Final = Prepared(_sent)


def _named(parsed: Parsed) -> set[str]:
    return {one for one in (parsed.message_id, parsed.in_reply_to, *parsed.references) if one}


def waiting(conn: Connection, after: int, limit: int) -> list[int]:
    """Give the messages above `after` that nobody has looked at, in their order."""
    t = match_queue.c
    return list(conn.execute(select(t.message).where(t.message > after).order_by(t.message).limit(limit)).scalars())


def take(tx: Connection, ids: Sequence[int]) -> dict[int, datetime]:
    """Lock those that are still in the queue and not another daemon's; give when each was archived."""
    query = select(match_queue.c.message).where(match_queue.c.message.in_(ids)).order_by(match_queue.c.message)
    ours = list(tx.execute(statements.for_update(tx, query, skip_locked=True)).scalars())
    archived = select(messages.c.id, messages.c.archived_at).where(messages.c.id.in_(ours)).order_by(messages.c.id)
    return dict(iter(tx.execute(archived)))


def done(tx: Connection, ids: Sequence[int]) -> None:
    """Take messages off the queue."""
    tx.execute(delete(match_queue).where(match_queue.c.message.in_(ids)))


# --- the rows -------------------------------------------------------------------------------------------------------


def rows_of(conn: Connection, message_ids: Sequence[str]) -> dict[str, list[int]]:
    """Give the rows whose letter has one of these Message-IDs; those that none has are left out."""
    t = outbox.c
    found: dict[str, list[int]] = {}
    ours = sorted(statements.present(conn, t.message_id, message_ids))
    for message_id, key in conn.execute(select(t.message_id, t.id).where(t.message_id.in_(ours)).order_by(t.id)):
        found.setdefault(message_id, []).append(key)
    return found


def lock(tx: Connection, ids: Iterable[int]) -> dict[int, Row | None]:
    """Give rows, held until the transaction ends; None for one that another transaction holds, which is not waited for.

    So two who lock rows in different orders never wait for one another. Ids that there are no rows of are left out.
    """
    t, r, a = outbox.c, outbox_recipients.c, outbox_attempts.c
    wanted = sorted(ids)
    if not wanted:
        return {}
    found: dict[int, Row | None] = dict.fromkeys(tx.execute(select(t.id).where(t.id.in_(wanted))).scalars())
    query = select(t.id, t.account, t.status, t.sender, t.forwards).where(t.id.in_(wanted)).order_by(t.id)
    for row in tx.execute(statements.for_update(tx, query, skip_locked=True)).all():
        recipients = tx.execute(select(r.address).where(r.outbox_id == row.id).order_by(r.address)).scalars()
        began_at = tx.execute(select(func.min(a.started_at)).where(a.outbox_id == row.id)).scalar()
        account = tx.execute(select(accounts.c.address).where(accounts.c.name == row.account)).scalar()
        found[row.id] = Row(
            id=row.id,
            account=row.account,
            status=row.status,
            senders=frozenset(map(addresses.folded, filter(None, (account, _addr_spec(row.sender))))),
            recipients={addresses.folded(one): one for one in recipients},
            copies_from=began_at if row.forwards is None else None,
        )
    return found


def in_doubt(conn: Connection, outbox_id: int) -> list[str]:
    """Give the recipients of whom nobody knows whether the relay took the letter."""
    r = outbox_recipients.c
    its = select(r.address).where(r.outbox_id == outbox_id, r.status == "in_doubt")
    return list(conn.execute(its.order_by(r.address)).scalars())


def _addr_spec(sender: str | None) -> str:
    """Give the address in `Anna <anna@example.org>`."""
    return (sender or "").rpartition("<")[2].rstrip("> ")


# --- what they come to ----------------------------------------------------------------------------------------------


def record(tx: Connection, outbox_id: int, words: Sequence[Word], *, message: int, now: datetime) -> list[Word]:
    """Write down what a message says of a locked row's recipients; give those of its words that were news.

    A doubt that this resolves ends the row's waiting: what arrived is not sent again.
    """
    r = outbox_recipients.c
    news = []
    for one in words:
        its = (r.outbox_id == outbox_id, r.address == one.address)
        before = tx.execute(select(r.status).where(*its)).scalar()
        if before not in FOLLOWS[one.status]:
            continue
        values: dict[str, Any] = {"status": one.status, "reported_at": now, "report": message, "updated_at": now}
        if one.reply is not None or before == "in_doubt":
            reply = RESOLVED if one.reply is None else texts.storable(one.reply)
            values |= {"code": one.code, "enhanced_code": one.enhanced, "reply": reply}
        if before in {"in_doubt", "failed"}:
            values["sent_at"] = func.coalesce(r.sent_at, now)
        tx.execute(update(outbox_recipients).where(*its).values(**values))
        news.append(one)
    if news:
        _settle(tx, outbox_id, now)
    return news


def _settle(tx: Connection, outbox_id: int, now: datetime) -> None:
    """Bring a row to the sum of its recipients. One that the relay took stays sent; its last error names who bounced."""
    t, r = outbox.c, outbox_recipients.c
    row = tx.execute(select(t.status, t.on_doubt, t.sent_at).where(t.id == outbox_id)).one()
    values: dict[str, Any] = {"updated_at": now}
    if row.status in _ENDED:
        values["status"] = status = status_for(_statuses(tx, outbox_id), row.on_doubt)
        if status not in {"in_doubt", "deferred"}:
            values["next_attempt_at"] = None
        if status in {"sent", "partial"}:
            values["sent_at"] = row.sent_at or now
        if status == "sent":
            bounced = select(r.address, r.code, r.enhanced_code, r.reply).where(
                r.outbox_id == outbox_id, r.status == "bounced"
            )
            first = tx.execute(bounced.order_by(r.reported_at.desc(), r.address).limit(1)).first()
            values["last_error"] = None if first is None else _bounced(*first)
    tx.execute(update(outbox).where(t.id == outbox_id).values(**values))


def _statuses(tx: Connection, outbox_id: int) -> list[str]:
    """Give the statuses that there are: of ten thousand recipients, a few words."""
    r = outbox_recipients.c
    return list(tx.execute(select(r.status).where(r.outbox_id == outbox_id).distinct()).scalars())


def _bounced(address: str, code: int | None, enhanced: str | None, reply: str | None) -> str:
    said = " ".join(str(part) for part in (code, enhanced, reply) if part)
    return f"{address}: bounced: {said}" if said else f"{address}: bounced"
