"""The archive: every message once per account, and the columns that are derived from it.

`add` stores a whole batch in a handful of statements; the octets are `sources`' business. All functions take the connection
and never commit. Never parses.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Insert, Row, Select, bindparam, delete, func, insert, select, update

from daemon import errors
from daemon.mail.maildrop import LedgerStatus
from daemon.mail.message import Parsed
from daemon.store import derived, holds, ledger, schema, sources
from daemon.store.dialect import statements
from daemon.store.packing import Packed, Packer
from daemon.store.schema import addresses, messages
from daemon.wire.spool import Spool

IDS_A_STATEMENT: Final = 500  # parameters of one IN list, so that few different statements are compiled


class Incoming(NamedTuple):
    """A message as it came. occurrence: counts equal UIDLs in one listing from 0.  entry_octets: its size as LIST said.

    retrieved: `headers` if the spool holds its header section only.  reason: why, for the ledger.  packed: its octets as they
    are to be stored, where the caller has the time for that.
    """

    uidl: str
    spool: Spool
    occurrence: int = 0
    entry_octets: int | None = None
    retrieved: str = "whole"
    reason: str | None = None
    packed: Packed | None = None

    @property
    def status(self) -> LedgerStatus:
        """What the ledger calls it."""
        return LedgerStatus.ARCHIVED if self.retrieved == "whole" else LedgerStatus.HEADERS


class Brought(NamedTuple):
    """A message that somebody brings in. uidl: as another archive knew it.  retrieved, packed: as for `Incoming`."""

    spool: Spool
    uidl: str | None = None
    retrieved: str = "whole"
    packed: Packed | None = None


class Filed(NamedTuple):
    """Where an incoming message went. message, ledger: ids.  is_new: False if its content was archived already."""

    message: int
    ledger: int
    is_new: bool
    sha256: str
    octets: int
    first_seen_at: datetime


def add(
    tx: Connection, account: str, incoming: Sequence[Incoming], now: datetime, packer: Packer | None = None
) -> list[Filed]:
    """Archive messages and write them into the ledger; give the place of each, in their order.

    packer: says how the octets are stored; without it as if nothing were set, and nothing trained yet.  A header section that
    was archived before, of a message that now comes whole, is deleted.
    """
    hashes = [one.spool.sha256 for one in incoming]
    known, ids = _stored(tx, account, zip(hashes, incoming, strict=True), now, packer or Packer())
    places = [known.get(sha256) or ids[sha256] for sha256 in hashes]
    # A broken server may list one UIDL of one occurrence twice: the later one stands in the ledger, both in the archive.
    entries = {
        (one.uidl, one.occurrence): {
            "uidl": one.uidl,
            "occurrence": one.occurrence,
            "octets": one.entry_octets,
            "message": message,
            "status": str(one.status),
            "reason": one.reason,
        }
        for one, message in zip(incoming, places, strict=True)
    }
    if known:  # a message without a body is its own header section
        whole = {message for one, message in zip(incoming, places, strict=True) if one.retrieved == "whole"}
        came = statements.among(tx, messages.c.id, sorted(whole.intersection(known.values())))
        tx.execute(update(messages).where(came, messages.c.retrieved == "headers").values(retrieved="whole"))
    superseded = _superseded(tx, account, incoming, places)
    known_as = ledger.archived(tx, account, list(entries.values()), now)
    if superseded:
        is_linked = select(schema.ledger.c.id).where(schema.ledger.c.message == messages.c.id).exists()
        tx.execute(delete(messages).where(messages.c.id.in_(sorted(superseded)), ~is_linked, ~holds.is_held()))
    filed = []
    for one, sha256, message in zip(incoming, hashes, places, strict=True):
        key, first_seen_at = known_as[one.uidl, one.occurrence]
        is_new = ids.pop(sha256, None) is not None  # the first of equal ones
        filed.append(Filed(message, key, is_new, sha256, one.spool.octets, first_seen_at))
    return filed


def bring_in(
    tx: Connection, account: str, brought: Sequence[Brought], now: datetime, packer: Packer | None = None
) -> int:
    """Archive messages that no maildrop listed: the ledger does not hear of them. Give how many were not there yet."""
    hashes = [one.spool.sha256 for one in brought]
    return len(_stored(tx, account, zip(hashes, brought, strict=True), now, packer or Packer())[1])


def _stored(
    tx: Connection, account: str, incoming: Iterable[tuple[str, Incoming | Brought]], now: datetime, packer: Packer
) -> tuple[dict[str, int], dict[str, int]]:
    """Store what is not there yet. incoming: with the hash of each.  Give ids by hash: of those that were, and of the new."""
    incoming = list(incoming)
    known = held(tx, account, [sha256 for sha256, _ in incoming])
    new: dict[str, Incoming | Brought] = {}
    for sha256, one in incoming:
        if sha256 not in known:
            new.setdefault(sha256, one)
    if not new:
        return known, {}
    ids = dict(zip(new, statements.new_ids(tx, messages, len(new)), strict=True))
    fixed = {"account": account, "archived_at": statements.ready(tx, now)}
    rows = [
        {
            "id": ids[sha256],
            "uidl": one.uidl,
            "octets": one.spool.octets,
            "sha256": sha256,
            "retrieved": one.retrieved,
            **fixed,
        }
        for sha256, one in new.items()
    ]
    statements.bulk(tx, _message, rows)
    sources.add(tx, ((ids[sha256], one.spool, one.packed) for sha256, one in new.items()), packer)
    return known, ids


def _superseded(tx: Connection, account: str, incoming: Sequence[Incoming], places: Sequence[int]) -> set[int]:
    """Give the header sections that are not needed any more, for their messages come whole. places: of each message."""
    before = ledger.headers_only(tx, account)
    found: set[int] = set()
    for one, place in zip(incoming, places, strict=True) if before else ():
        octets, message = before.get((one.uidl, one.occurrence), (None, 0))
        is_same = octets is None or one.entry_octets is None or octets == one.entry_octets
        if message and is_same and one.retrieved == "whole" and message != place:
            found.add(message)
    return found


def _message(_tx: Connection) -> Insert:
    return insert(messages)


def _of_hashes(tx: Connection) -> Select[Any]:
    t = messages.c
    is_one = statements.among_given(tx, t.sha256, "hashes")
    return select(t.sha256, t.id).where(t.account == bindparam("account"), is_one)


def held(conn: Connection, account: str, hashes: Iterable[str]) -> dict[str, int]:
    """Give the ids of an account's messages with these hashes, by hash; of what is not there, nothing."""
    return dict(iter(statements.gather(conn, _of_hashes, account=account, hashes=sorted(set(hashes)))))


def get(conn: Connection, message: int) -> Row[Any]:
    """Give the row of a message; NotFound if there is none."""
    row = conn.execute(select(messages).where(messages.c.id == message)).first()
    if row is None:
        raise errors.NotFound(f"message {message}: not in the archive")
    return row


def recent(conn: Connection, limit: int, account: str | None = None) -> list[Row[Any]]:
    """Give the rows of the messages archived last, the newest first, without their text."""
    columns = [column for column in messages.c if column.name != "body_text"]
    query = select(*columns).order_by(messages.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(messages.c.account == account)
    return list(conn.execute(query))


def attachments(conn: Connection, message: int) -> list[Row[Any]]:
    """Give the rows of a message's attachments, in the order of their parts in it."""
    query = select(schema.attachments).where(schema.attachments.c.message == message).order_by(schema.attachments.c.id)
    return list(conn.execute(query))


def addresses_of(conn: Connection, message: int) -> list[Row[Any]]:
    """Give the rows of a message's addresses."""
    t = addresses.c
    return list(conn.execute(select(addresses).where(t.message == message).order_by(t.role, t.position)))


def _narrowed(query: Select[Any], account: str | None) -> Select[Any]:
    return query if account is None else query.where(messages.c.account == account)


def count(conn: Connection, account: str | None = None, *, upto: int | None = None) -> int:
    """Count the messages. upto: the last id that counts."""
    query = _narrowed(select(func.count()).select_from(messages), account)
    return int(conn.execute(query if upto is None else query.where(messages.c.id <= upto)).scalar_one())


def last_id(conn: Connection) -> int:
    """Give the id of the message archived last, 0 if there is none."""
    return int(conn.execute(select(func.max(messages.c.id))).scalar() or 0)


def ids(conn: Connection, *, account: str | None = None, after: int = 0, limit: int) -> list[int]:
    """Give the ids above `after`, in their order."""
    query = select(messages.c.id).where(messages.c.id > after).order_by(messages.c.id).limit(limit)
    return list(conn.execute(_narrowed(query, account)).scalars())


# --- what is derived ------------------------------------------------------------------------------------------------


def unindexed(conn: Connection, version: int, limit: int) -> list[tuple[int, int]]:
    """Give (id, octets) of messages that no parser of this version has seen, the never parsed first."""
    t = messages.c
    query = select(t.id, t.octets).where(t.parser_version < version).order_by(t.parser_version, t.id).limit(limit)
    return [(key, octets) for key, octets in conn.execute(query)]


def ids_after(conn: Connection, after: int, limit: int) -> list[tuple[int, int]]:
    """Give (id, octets) of the messages with an id above `after`, in their order."""
    t = messages.c
    return [
        (key, octets)
        for key, octets in conn.execute(select(t.id, t.octets).where(t.id > after).order_by(t.id).limit(limit))
    ]


def write_parsed(tx: Connection, message_id: int, parsed: Parsed, version: int, now: datetime) -> None:
    """Write the derived columns of one message anew; what stood there is replaced."""
    write_all_parsed(tx, [(message_id, parsed)], version, now)


def write_all_parsed(tx: Connection, items: Sequence[tuple[int, Parsed]], version: int, now: datetime) -> None:  # noqa: ARG001 -- the contract of all writers
    """Write what is derived from many messages in a handful of statements."""
    if items:
        derived.write(tx, items, version)
