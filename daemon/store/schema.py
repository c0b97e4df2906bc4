"""The tables: what people query, what programs insert into, and what the house keeps for itself.

The columns are public (README, "Tables"): changes are additive. What a table can't say (triggers, full-text search, the
rules of the outbox) stands in `dialect/rules.py` and `dialect/fulltext.py`; `migrations/` builds exactly the sum of both.
STRICT on SQLite: a text in an INTEGER column is refused there as it is on PostgreSQL.
"""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)

from daemon.store import columns, hold_tables, thread_tables
from daemon.store.columns import METADATA as METADATA  # noqa: PLC0414 -- the tables and what holds them are asked for in one place
from daemon.store.dialect.types import COUNT, ID, POSTGRESQL, SQLITE, Instant, Json, Octets, WrittenInstant
from daemon.store.source_tables import message_sources as message_sources  # noqa: PLC0414 -- those tables belong to METADATA too

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
SUPPRESSED_BY: Final = ("hand", "bounce")

# --- the house's own books ------------------------------------------------------------------------------------------

accounts = columns.table(
    "accounts",
    Column("name", Text, primary_key=True),
    columns.words("address", ""),
    columns.maybe("last_success_at", Instant),
    columns.maybe("failing_since", Instant),
    columns.maybe("next_poll_at", Instant),
    columns.maybe("last_error"),
    columns.count("failures"),
    columns.maybe("last_listed_at", Instant),
    columns.maybe("stopped_since", Instant),
    columns.maybe("stopped_settings"),
    columns.count("refusals"),
    columns.maybe("last_login_at", Instant),
    Column("login_delay", COUNT, nullable=True),
    columns.maybe("held_since", Instant),
    columns.maybe("held_reason"),
    columns.maybe("accepted_at", Instant),
    columns.maybe("capabilities"),
    columns.maybe("lease_owner"),
    columns.maybe("lease_until", Instant),
    columns.maybe("relay_last_success_at", Instant),
    columns.maybe("relay_failing_since", Instant),
    columns.maybe("relay_paused_until", Instant),
    columns.maybe("relay_last_error"),
    columns.count("relay_failures"),
    columns.not_negative("failures", "refusals", "relay_failures"),
)

# How each server fares that an account sends through: its SMTP host, and what it falls back to.
relays = columns.table(
    "relays",
    Column("account", Text, primary_key=True),
    Column("relay", Text, primary_key=True),
    columns.maybe("last_success_at", Instant),
    columns.maybe("failing_since", Instant),
    columns.maybe("paused_until", Instant),
    columns.maybe("last_error"),
    columns.count("failures"),
    columns.not_negative("failures"),
)

# Each daemon writes every half minute that it is there (store/daemons.py).
daemons = columns.table(
    "daemons",
    Column("owner", Text, primary_key=True),
    columns.words("version"),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    columns.words("degraded", ""),
)

polls = columns.table(
    "polls",
    Column("id", ID, primary_key=True),
    columns.words("account"),
    columns.words("session"),
    columns.words("owner"),
    Column("started_at", Instant, nullable=False),
    columns.maybe("finished_at", Instant),
    columns.words("outcome", "running"),
    *[columns.count(name) for name in ("listed", "fetched", "octets", "skipped", "dele_sent", "deleted")],
    columns.maybe("error"),
    columns.maybe("transcript"),
    columns.one_of("outcome", POLL_OUTCOMES),
    sqlite_autoincrement=True,
)
Index(None, polls.c.account, polls.c.started_at)
columns.partial("ix_polls_running", polls.c.id, polls.c.outcome == "running")

# --- the archive ----------------------------------------------------------------------------------------------------

messages = columns.table(
    "messages",
    Column("id", ID, primary_key=True),
    columns.words("account"),
    columns.maybe("uidl"),
    columns.maybe("message_id"),
    columns.maybe("thread_id", ID),
    columns.maybe("in_reply_to"),
    columns.maybe("sent_at", Instant),
    columns.now("archived_at"),
    columns.maybe("from_name"),
    columns.maybe("from_address"),
    columns.maybe("to_addresses"),
    columns.maybe("cc_addresses"),
    columns.maybe("subject"),
    Column("octets", COUNT, nullable=False),
    columns.words("sha256"),
    columns.words("retrieved", "whole"),
    columns.count("attachment_count"),
    columns.maybe("attachment_names"),
    Column("defects", Json, nullable=False, server_default="[]"),
    Column("protection", Json, nullable=False, server_default="[]"),
    columns.count("parser_version"),
    # [[first, behind the last], …] in characters of body_text, counted from 0: what a search may leave out.
    columns.maybe("quoted_ranges", Json),
    columns.maybe("signature_ranges", Json),
    columns.maybe("body_text"),  # long columns stand last: on SQLite, what is behind them is slow to read
    columns.maybe("attachment_text"),
    UniqueConstraint("account", "sha256"),
    columns.not_negative("octets", "attachment_count", "parser_version"),
    CheckConstraint("length(sha256) = 64", name="sha256"),
    columns.one_of("retrieved", RETRIEVED),
    *[
        # Not NULL alone: the integrity_check of SQLite 3.40 takes a CHECK that is NULL for one that failed.
        CheckConstraint(f"json_valid(coalesce({name}, '[]'))", name=name).ddl_if(dialect=SQLITE)
        for name in ("defects", "protection", "quoted_ranges", "signature_ranges")
    ],
    sqlite_autoincrement=True,
)
Index(None, messages.c.parser_version, messages.c.id)
# Octets are in it so that the sums of `status` are read from the index alone.
Index(None, messages.c.account, messages.c.sent_at, messages.c.octets)
columns.partial("ix_messages_defects", messages.c.id, messages.c.defects != literal_column("'[]'"))
Index(None, messages.c.sent_at)
Index(None, messages.c.thread_id, messages.c.sent_at)
for _column in (messages.c.message_id, messages.c.from_address):
    columns.lookup(_column)

THREADS: Final = thread_tables  # further tables about messages stand there
HOLDS: Final = hold_tables

# Messages that may speak of what we sent (reports, answers, copies), until `jobs/match` has looked at them.
match_queue = columns.table(
    "match_queue",
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
)

# Messages with attachments whose text `jobs/extract` has yet to read.
extraction_queue = columns.table(
    "extraction_queue",
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
)

# What envelope ids and VERP addresses are signed with, so that no stranger can report on our letters.
keys = columns.table(
    "keys",
    Column("name", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    columns.now("made_at"),
)

# Long works that go on where they were stopped or killed.
works = columns.table(
    "works",
    Column("name", Text, primary_key=True),
    columns.count("parser_version"),
    columns.count("done"),
    columns.now("started_at"),
)

addresses = columns.table(
    "addresses",
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", Text, primary_key=True),
    Column("position", COUNT, primary_key=True, autoincrement=False),
    columns.words("name", ""),
    columns.words("address"),
    columns.one_of("role", ADDRESS_ROLES),
    sqlite_with_rowid=False,
)
columns.lookup(addresses.c.address)

attachments = columns.table(
    "attachments",
    Column("id", ID, primary_key=True),
    Column("message", ID, ForeignKey(messages.c.id, ondelete="CASCADE"), nullable=False),
    columns.words("part"),
    columns.words("filename", ""),
    columns.words("content_type", "application/octet-stream"),
    Column("octets", COUNT, nullable=False),
    columns.words("sha256"),
    columns.maybe("content_id"),
    columns.words("disposition", ""),
    UniqueConstraint("message", "part"),
    sqlite_autoincrement=True,  # no id comes twice: `passes` remembers how far it has looked
)
Index(None, attachments.c.sha256)

ledger = columns.table(
    "ledger",
    Column("id", ID, primary_key=True),
    columns.words("account"),
    columns.words("uidl"),
    columns.count("occurrence"),
    columns.maybe("octets", COUNT),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    columns.words("status"),
    columns.maybe("reason"),
    Column("message", ID, ForeignKey(messages.c.id, ondelete="SET NULL")),
    columns.count("attempts"),
    columns.maybe("dele_sent_at", Instant),
    columns.maybe("deleted_at", Instant),
    columns.one_of("status", LEDGER_STATUSES),
)
Index(None, ledger.c.account, ledger.c.status)
Index(None, ledger.c.message)
# One row for each message of a maildrop. A server may give UIDLs of any length, which PostgreSQL's btree does not take.
Index("uq_ledger_uidl", ledger.c.account, ledger.c.uidl, ledger.c.occurrence, unique=True).ddl_if(dialect=SQLITE)
Index("uq_ledger_uidl", ledger.c.account, func.md5(ledger.c.uidl), ledger.c.occurrence, unique=True).ddl_if(
    dialect=POSTGRESQL
)

# --- the outbox -----------------------------------------------------------------------------------------------------

outbox = columns.table(
    "outbox",
    Column("id", ID, primary_key=True),
    columns.maybe("recipients"),  # required; a rule says so in a sentence
    columns.maybe("cc"),
    columns.maybe("bcc"),
    columns.maybe("sender"),
    columns.maybe("reply_to"),
    columns.maybe("account"),
    columns.maybe("subject"),
    columns.maybe("headers", Json),
    Column("forwards", ID, ForeignKey(messages.c.id, ondelete="SET NULL")),
    columns.maybe("send_after", WrittenInstant),
    columns.maybe("expires_at", WrittenInstant),
    columns.count("priority"),
    Column("idempotency_key", Text, unique=True),
    columns.words("on_doubt", "retry"),
    columns.words("status", "queued"),
    columns.count("attempts"),
    columns.maybe("next_attempt_at", Instant),
    columns.maybe("sent_at", Instant),
    columns.maybe("last_error"),
    columns.maybe("message_id"),
    columns.now("created_at"),
    columns.now("queued_at"),
    columns.now("updated_at"),
    columns.maybe("lease_owner"),
    columns.maybe("lease_until", Instant),
    columns.maybe("body"),
    columns.maybe("html"),
    columns.maybe("raw", Octets),
    columns.one_of("status", OUTBOX_STATUSES),
    columns.one_of("on_doubt", ON_DOUBT),
    CheckConstraint("recipients IS NOT NULL", name="recipients"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("raw IS NULL OR typeof(raw) IN ('blob', 'text')", name="raw").ddl_if(dialect=SQLITE),
    *columns.moment("next_attempt_at"),
    *columns.moment("created_at"),
    *columns.moment("queued_at"),
    sqlite_autoincrement=True,
)
_waiting = outbox.c.next_attempt_at.is_not(None)
Index("ix_outbox_turn", outbox.c.account, outbox.c.priority.desc(), outbox.c.next_attempt_at, outbox.c.id,
      sqlite_where=_waiting, postgresql_where=_waiting)  # fmt: skip
Index("ix_outbox_due", outbox.c.account, outbox.c.next_attempt_at, sqlite_where=_waiting, postgresql_where=_waiting)
Index(None, outbox.c.status)
# What somebody has stopped while it is being sent. No words of `status` that its own index has: SQLite would read all that is held.
OUTBOX_STOPPED: Final = outbox.c.lease_owner.is_not(None) & (outbox.c.status != literal_column("'sending'"))
columns.partial("ix_outbox_stopped", outbox.c.id, OUTBOX_STOPPED)
columns.partial("ix_outbox_forwards", outbox.c.forwards)
columns.lookup(outbox.c.message_id)

outbox_attempts = columns.table(
    "outbox_attempts",
    Column("id", ID, primary_key=True),
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", COUNT, nullable=False),
    columns.words("account"),
    columns.words("relay"),
    columns.words("session"),
    Column("letters", COUNT, nullable=False, server_default=text("1")),
    Column("started_at", Instant, nullable=False),
    columns.maybe("committing_at", Instant),
    columns.maybe("finished_at", Instant),
    columns.maybe("outcome"),
    columns.maybe("code", COUNT),
    columns.maybe("enhanced_code"),
    columns.maybe("reply"),
    columns.maybe("transcript"),
    sqlite_autoincrement=True,
)
Index(None, outbox_attempts.c.outbox_id)
Index("ix_outbox_attempts_account", outbox_attempts.c.account, outbox_attempts.c.started_at)

outbox_recipients = columns.table(
    "outbox_recipients",
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("address", Text, primary_key=True),
    columns.words("field", "to"),
    columns.words("status", "queued"),
    columns.maybe("code", COUNT),
    columns.maybe("enhanced_code"),
    columns.maybe("reply"),
    Column("attempt", ID, ForeignKey(outbox_attempts.c.id, ondelete="SET NULL")),
    columns.count("attempts"),
    columns.now("updated_at"),
    columns.maybe("sent_at", Instant),
    columns.maybe("reported_at", Instant),
    Column("report", ID, ForeignKey(messages.c.id, ondelete="SET NULL")),
    columns.one_of("status", RECIPIENT_STATUSES),
    columns.one_of("field", RECIPIENT_FIELDS),
)
columns.lookup(outbox_recipients.c.address)
Index(None, outbox_recipients.c.attempt)
columns.partial("ix_outbox_recipients_report", outbox_recipients.c.report)

outbox_attachments = columns.table(
    "outbox_attachments",
    Column("id", ID, primary_key=True),
    Column("outbox_id", ID, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    columns.words("filename"),
    columns.words("content_type", "application/octet-stream"),
    Column("content", Octets, nullable=False),
    columns.maybe("content_id"),
    CheckConstraint("typeof(content) IN ('blob', 'text')", name="content").ddl_if(dialect=SQLITE),
    sqlite_autoincrement=True,
)
Index(None, outbox_attachments.c.outbox_id)

suppressions = columns.table(
    "suppressions",
    Column("address", Text, primary_key=True),
    columns.words("reason", ""),
    columns.words("suppressed_by", "hand"),
    columns.now("added_at"),
    Column("report", ID, ForeignKey(messages.c.id, ondelete="SET NULL")),
    columns.one_of("suppressed_by", SUPPRESSED_BY),
    CheckConstraint("address LIKE '%_@_%'", name="address"),
)
columns.partial("ix_suppressions_report", suppressions.c.report)
