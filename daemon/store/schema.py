"""The tables: what people query, what programs insert into, and what the house keeps for itself.

The columns are public (README, "Tables"): changes are additive. What a table can't say (triggers, full-text search, the
rules of the outbox) stands in `dialect/rules.py` and `dialect/fulltext.py`; `migrations/` builds exactly the sum of both.
STRICT on SQLite: a text in an INTEGER column is refused there as it is on PostgreSQL.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)

from daemon.store.dialect.types import COUNT, ID, POSTGRESQL, SQLITE, Instant, Json, Octets, utc_now

OUTBOX_STATUSES: Final = (
    "queued",
    "sending",
    "deferred",
    "sent",
    "partial",
    "failed",
    "in_doubt",
    "held",
    "cancelled",
    "expired",
)
RECIPIENT_STATUSES: Final = (
    "queued",
    "sent",
    "deferred",
    "failed",
    "in_doubt",
    "delivered",
    "delayed",
    "bounced",
    "replied",
)
RECIPIENT_FIELDS: Final = ("to", "cc", "bcc")
LEDGER_STATUSES: Final = ("archived", "headers", "seen", "skipped", "refused", "deleted", "gone")
RETRIEVED: Final = ("whole", "headers")
POLL_OUTCOMES: Final = ("running", "ok", "failed", "interrupted")
ADDRESS_ROLES: Final = ("from", "sender", "reply_to", "to", "cc", "bcc")
ON_DOUBT: Final = ("retry", "hold")

SOURCE_PART_OCTETS: Final = 4 * 1024 * 1024  # octets a row of message_sources: a large message is never held whole

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def _not_negative(*columns: str) -> CheckConstraint:
    return CheckConstraint(" AND ".join(f"{column} >= 0" for column in columns), name="not_negative")


def _moment(column: str) -> tuple[CheckConstraint, CheckConstraint]:
    """Hold a time to what Python reads and, on SQLite, where it is text, to the one form that sorts as text."""
    name = f"{column}_form"
    return (
        CheckConstraint(f"{column} IS strftime('%Y-%m-%dT%H:%M:%fZ', {column})", name=name).ddl_if(dialect=SQLITE),
        CheckConstraint(f"{column} BETWEEN '1970-01-01Z' AND '9999-12-31Z'", name=name).ddl_if(dialect=POSTGRESQL),
    )


def _table(name: str, *parts: Any, sqlite_autoincrement: bool = False) -> Table:
    return Table(name, METADATA, *parts, sqlite_strict=True, sqlite_autoincrement=sqlite_autoincrement)


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable, server_default=default)


def _maybe(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _count(name: str) -> Column[Any]:
    return Column(name, COUNT, nullable=False, server_default=text("0"))


def _now(name: str) -> Column[Any]:
    return Column(name, Instant, nullable=False, server_default=utc_now())


def _lookup(column: Column[Any]) -> tuple[Index, Index]:
    """Index a column that mail fills, of any length: PostgreSQL's btree refuses entries over 2704 bytes, its hash index none."""
    table = column.table
    name, present = f"ix_{table.name}_{column.name}", column.is_not(None)
    return (
        Index(name, column, sqlite_where=present).ddl_if(dialect=SQLITE),
        Index(name, column, postgresql_using="hash", postgresql_where=present).ddl_if(dialect=POSTGRESQL),
    )


# --- the house's own books ------------------------------------------------------------------------------------------

accounts = _table(
    "accounts",
    Column("name", Text, primary_key=True),
    _text("address", ""),
    _maybe("last_success_at", Instant),
    _maybe("failing_since", Instant),
    _maybe("next_poll_at", Instant),
    _maybe("last_error"),
    _count("failures"),
    _maybe("last_listed_at", Instant),
    _maybe("stopped_since", Instant),
    _maybe("stopped_settings"),
    _count("refusals"),
    _maybe("last_login_at", Instant),
    Column("login_delay", COUNT, nullable=True),
    _maybe("held_since", Instant),
    _maybe("held_reason"),
    _maybe("accepted_at", Instant),
    _maybe("capabilities"),
    _maybe("lease_owner"),
    _maybe("lease_until", Instant),
    _maybe("relay_last_success_at", Instant),
    _maybe("relay_failing_since", Instant),
    _maybe("relay_paused_until", Instant),
    _maybe("relay_last_error"),
    _count("relay_failures"),
    _not_negative("failures", "refusals", "relay_failures"),
)

polls = _table(
    "polls",
    Column("id", ID, primary_key=True),
    _text("account"),
    _text("session"),
    _text("owner"),
    Column("started_at", Instant, nullable=False),
    _maybe("finished_at", Instant),
    _text("outcome", "running"),
    *[_count(name) for name in ("listed", "fetched", "octets", "skipped", "dele_sent", "deleted")],
    _maybe("error"),
    _maybe("transcript"),
    _one_of("outcome", POLL_OUTCOMES),
    sqlite_autoincrement=True,
)
Index(None, polls.c.account, polls.c.started_at)
Index(
    "ix_polls_running",
    polls.c.id,
    sqlite_where=polls.c.outcome == "running",
    postgresql_where=polls.c.outcome == "running",
)

# --- the archive ----------------------------------------------------------------------------------------------------

messages = _table(
    "messages",
    Column("id", ID, primary_key=True),
    _text("account"),
    _maybe("uidl"),
    _maybe("message_id"),
    _maybe("thread_id"),
    _maybe("in_reply_to"),
    _maybe("sent_at", Instant),
    _now("archived_at"),
    _maybe("from_name"),
    _maybe("from_address"),
    _maybe("to_addresses"),
    _maybe("cc_addresses"),
    _maybe("subject"),
    Column("octets", COUNT, nullable=False),
    _text("sha256"),
    _text("retrieved", "whole"),
    _count("attachment_count"),
    _maybe("attachment_names"),
    Column("defects", Json, nullable=False, server_default="[]"),
    _count("parser_version"),
    _maybe("body_text"),  # long columns stand last: on SQLite, what is behind them is slow to read
    UniqueConstraint("account", "sha256"),
    _not_negative("octets", "attachment_count", "parser_version"),
    CheckConstraint("length(sha256) = 64", name="sha256"),
    _one_of("retrieved", RETRIEVED),
    CheckConstraint("json_valid(defects)", name="defects").ddl_if(dialect=SQLITE),
    sqlite_autoincrement=True,
)
Index(None, messages.c.parser_version, messages.c.id)
# Octets are in it so that the sums of `status` are read from the index alone.
Index(None, messages.c.account, messages.c.sent_at, messages.c.octets)
_has_defects = messages.c.defects != literal_column("'[]'")
Index("ix_messages_defects", messages.c.id, sqlite_where=_has_defects, postgresql_where=_has_defects)
Index(None, messages.c.sent_at)
for _column in (messages.c.message_id, messages.c.thread_id, messages.c.from_address):
    _lookup(_column)

message_sources = _table(
    "message_sources",
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("part", COUNT, primary_key=True, autoincrement=False),
    Column("octets", COUNT, nullable=False),
    _text("encoding", "identity"),
    Column("content", LargeBinary, nullable=False),
    _one_of("encoding", ["identity"]),
)

addresses = _table(
    "addresses",
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", Text, primary_key=True),
    Column("position", COUNT, primary_key=True, autoincrement=False),
    _text("name", ""),
    _text("address"),
    _one_of("role", ADDRESS_ROLES),
)
_lookup(addresses.c.address)

attachments = _table(
    "attachments",
    Column("id", ID, primary_key=True),
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), nullable=False),
    _text("part"),
    _text("filename", ""),
    _text("content_type", "application/octet-stream"),
    Column("octets", COUNT, nullable=False),
    _text("sha256"),
    _maybe("content_id"),
    _text("disposition", ""),
    UniqueConstraint("message", "part"),
)
Index(None, attachments.c.sha256)

ledger = _table(
    "ledger",
    Column("id", ID, primary_key=True),
    _text("account"),
    _text("uidl"),
    _count("occurrence"),
    _maybe("octets", COUNT),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    _text("status"),
    _maybe("reason"),
    Column("message", ID, ForeignKey(messages.c.id, ondelete="SET NULL")),
    _count("attempts"),
    _maybe("dele_sent_at", Instant),
    _maybe("deleted_at", Instant),
    _one_of("status", LEDGER_STATUSES),
)
Index(None, ledger.c.account, ledger.c.status)
Index(None, ledger.c.message)
# One row for each message of a maildrop. A server may give UIDLs of any length, which PostgreSQL's btree does not take.
Index("uq_ledger_uidl", ledger.c.account, ledger.c.uidl, ledger.c.occurrence, unique=True).ddl_if(dialect=SQLITE)
Index("uq_ledger_uidl", ledger.c.account, func.md5(ledger.c.uidl), ledger.c.occurrence, unique=True).ddl_if(
    dialect=POSTGRESQL
)

# --- the outbox -----------------------------------------------------------------------------------------------------

outbox = _table(
    "outbox",
    Column("id", ID, primary_key=True),
    _maybe("recipients"),  # required; a rule says so in a sentence
    _maybe("cc"),
    _maybe("bcc"),
    _maybe("sender"),
    _maybe("reply_to"),
    _maybe("account"),
    _maybe("subject"),
    _maybe("headers", Json),
    _maybe("send_after", Instant),
    _maybe("expires_at", Instant),
    _count("priority"),
    Column("idempotency_key", Text, unique=True),
    _text("on_doubt", "retry"),
    _text("status", "queued"),
    _count("attempts"),
    _maybe("next_attempt_at", Instant),
    _maybe("sent_at", Instant),
    _maybe("last_error"),
    _maybe("message_id"),
    _now("created_at"),
    _now("queued_at"),
    _now("updated_at"),
    _maybe("lease_owner"),
    _maybe("lease_until", Instant),
    _maybe("body"),
    _maybe("html"),
    _maybe("raw", Octets),
    _one_of("status", OUTBOX_STATUSES),
    _one_of("on_doubt", ON_DOUBT),
    CheckConstraint("recipients IS NOT NULL", name="recipients"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("raw IS NULL OR typeof(raw) IN ('blob', 'text')", name="raw").ddl_if(dialect=SQLITE),
    *_moment("next_attempt_at"),
    *_moment("created_at"),
    *_moment("queued_at"),
    sqlite_autoincrement=True,
)
_waiting = outbox.c.next_attempt_at.is_not(None)
Index("ix_outbox_turn", outbox.c.account, outbox.c.priority.desc(), outbox.c.next_attempt_at, outbox.c.id,
      sqlite_where=_waiting, postgresql_where=_waiting)  # fmt: skip
Index("ix_outbox_due", outbox.c.account, outbox.c.next_attempt_at, sqlite_where=_waiting, postgresql_where=_waiting)
Index(None, outbox.c.status)
_lookup(outbox.c.message_id)

outbox_attempts = _table(
    "outbox_attempts",
    Column("id", ID, primary_key=True),
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", COUNT, nullable=False),
    _text("account"),
    _text("relay"),
    _text("session"),
    Column("started_at", Instant, nullable=False),
    _maybe("committing_at", Instant),
    _maybe("finished_at", Instant),
    _maybe("outcome"),
    _maybe("code", COUNT),
    _maybe("enhanced_code"),
    _maybe("reply"),
    _maybe("transcript"),
    sqlite_autoincrement=True,
)
Index(None, outbox_attempts.c.outbox_id)
Index("ix_outbox_attempts_account", outbox_attempts.c.account, outbox_attempts.c.started_at)

outbox_recipients = _table(
    "outbox_recipients",
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("address", Text, primary_key=True),
    _text("field", "to"),
    _text("status", "queued"),
    _maybe("code", COUNT),
    _maybe("enhanced_code"),
    _maybe("reply"),
    Column("attempt", ID, ForeignKey(outbox_attempts.c.id, ondelete="SET NULL")),
    _count("attempts"),
    _now("updated_at"),
    _maybe("sent_at", Instant),
    _one_of("status", RECIPIENT_STATUSES),
    _one_of("field", RECIPIENT_FIELDS),
)
_lookup(outbox_recipients.c.address)
Index(None, outbox_recipients.c.attempt)

outbox_attachments = _table(
    "outbox_attachments",
    Column("id", ID, primary_key=True),
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    _text("filename"),
    _text("content_type", "application/octet-stream"),
    Column("content", Octets, nullable=False),
    _maybe("content_id"),
    CheckConstraint("typeof(content) IN ('blob', 'text')", name="content").ddl_if(dialect=SQLITE),
    sqlite_autoincrement=True,
)
Index(None, outbox_attachments.c.outbox_id)
