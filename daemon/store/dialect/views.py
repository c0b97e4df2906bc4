# ruff: noqa: S608 -- queries are put together from constants; no value of anybody's is in them
"""The views: questions that people ask of the archive, answered on both databases with the same columns.

All of them are in the one list here, and made anew at each migration, as triggers are: SQLite takes no ALTER of a table that a
broken view speaks of, and PostgreSQL no other type for a column that one shows. A change here needs a migration, and a test
says so. What is written here must be read by an SQLite as old as STRICT tables (3.37): an unknown word would spoil the whole
file for the programs that have it.
"""

import hashlib
from typing import Final

from daemon.store.dialect.types import POSTGRESQL, SQLITE

_DAY: Final = {
    SQLITE: "substr({}, 1, 10)",
    POSTGRESQL: "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_OURS: Final = "(SELECT lower(address) FROM accounts WHERE address <> '')"
_PROBLEMS: Final = "('failed', 'bounced', 'in_doubt', 'deferred', 'delayed')"


def _views(kind: str) -> dict[str, str]:
    day = _DAY[kind].format("coalesce(m.sent_at, m.archived_at)")
    return {
        "inbox": f"""
SELECT m.id, m.account, m.thread_id, m.sent_at, m.archived_at, m.from_name, m.from_address, m.subject, m.attachment_count, m.octets
FROM messages m
WHERE lower(coalesce(m.from_address, '')) NOT IN {_OURS}""",
        "conversations": """
SELECT m.thread_id,
  (SELECT f.subject FROM messages f WHERE f.thread_id = m.thread_id ORDER BY f.sent_at NULLS LAST, f.id LIMIT 1) AS subject,
  count(*) AS messages, count(DISTINCT lower(m.from_address)) AS people, min(m.sent_at) AS first_at, max(m.sent_at) AS last_at
FROM messages m
WHERE m.thread_id IS NOT NULL
GROUP BY m.thread_id""",
        "contacts": """
SELECT a.address, max(a.name) AS name, count(DISTINCT CASE WHEN a.role = 'from' THEN a.message END) AS wrote,
  count(DISTINCT CASE WHEN a.role <> 'from' THEN a.message END) AS received,
  min(m.sent_at) AS first_at, max(m.sent_at) AS last_at
FROM addresses a JOIN messages m ON m.id = a.message
WHERE a.role IN ('from', 'to', 'cc', 'bcc') AND a.address <> ''
GROUP BY a.address""",
        "senders": """
SELECT m.account, lower(m.from_address) AS address, count(*) AS messages, CAST(sum(m.octets) AS bigint) AS octets,
  CAST(sum(m.attachment_count) AS bigint) AS attachments, max(m.sent_at) AS last_at
FROM messages m
WHERE m.from_address IS NOT NULL
GROUP BY m.account, lower(m.from_address)""",
        "mail_per_day": f"""
SELECT {day} AS day, m.account, count(*) AS messages, CAST(sum(m.octets) AS bigint) AS octets
FROM messages m
GROUP BY {day}, m.account""",
        "attachments_by_size": """
SELECT t.message, t.part, t.filename, t.content_type, t.octets,
  (SELECT count(*) FROM attachments o WHERE o.sha256 = t.sha256) AS copies,
  m.account, m.sent_at, m.from_address, m.subject
FROM attachments t JOIN messages m ON m.id = t.message
ORDER BY t.octets DESC, t.id""",
        "unanswered": f"""
SELECT m.id, m.account, m.thread_id, m.sent_at, m.from_name, m.from_address, m.subject
FROM messages m
WHERE m.from_address IS NOT NULL AND lower(m.from_address) NOT IN {_OURS}
  AND EXISTS (SELECT 1 FROM addresses a WHERE a.message = m.id AND a.role = 'to' AND a.address IN {_OURS})
  AND NOT EXISTS (SELECT 1 FROM messages l WHERE l.thread_id = m.thread_id
    AND (l.sent_at > m.sent_at OR l.sent_at = m.sent_at AND l.id > m.id))
  AND NOT EXISTS (SELECT 1 FROM outbox_recipients r
    WHERE r.address IN (m.from_address, lower(m.from_address)) AND r.sent_at > m.sent_at)""",
        "outbox_problems": f"""
SELECT o.id, o.account, r.address, coalesce(r.status, o.status) AS status, r.code, r.enhanced_code,
  coalesce(r.reply, o.last_error) AS reason, o.subject, o.created_at, o.next_attempt_at
FROM outbox o LEFT JOIN outbox_recipients r ON r.outbox_id = o.id AND r.status IN {_PROBLEMS}
WHERE r.address IS NOT NULL OR o.status IN ('failed', 'held', 'expired')""",
        "on_server": """
SELECT l.account, l.uidl, l.octets, l.first_seen_at, l.last_seen_at, l.status, l.reason, l.message, m.from_address, m.subject
FROM ledger l LEFT JOIN messages m ON m.id = l.message
WHERE l.status NOT IN ('deleted', 'gone')""",
        "duplicates": """
SELECT m.message_id, count(*) AS copies, count(DISTINCT m.account) AS accounts, min(m.id) AS first_id, CAST(sum(m.octets) AS bigint) AS octets
FROM messages m
WHERE m.message_id IS NOT NULL
GROUP BY m.message_id
HAVING count(*) > 1""",
    }


VIEWS: Final[dict[str, dict[str, str]]] = {kind: _views(kind) for kind in (SQLITE, POSTGRESQL)}


def create(kind: str) -> list[str]:
    """Give the statements that make all views of a database without them."""
    return [f"CREATE VIEW {name} AS{query}" for name, query in VIEWS[kind].items()]


def drop(kind: str) -> list[str]:
    """Give the statements that take away all views named here, from a database that may not have them."""
    return [f"DROP VIEW IF EXISTS {name}" for name in VIEWS[kind]]


def digest(kind: str) -> str:
    """Give a short name of what `create` makes; the newest migration holds it, so that none is forgotten."""
    return hashlib.sha256("\n".join(create(kind)).encode()).hexdigest()[:16]
