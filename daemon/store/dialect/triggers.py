# ruff: noqa: S608 -- statements are put together from constants; no value of anybody's is in them
"""The triggers of both databases: the rules of the outbox, its bookkeeping, and what foreign keys would do if they were on.

Every trigger and function is in the two lists here, and is made anew at each migration: a migration that rebuilds a table
on SQLite loses its triggers silently. A change here therefore needs a migration, and a test says so. Times that wait to be
claimed stand in `next_attempt_at`, which is NULL in every other row: the triggers keep that true whoever changes `status`.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from daemon.store.dialect import fulltext, holding
from daemon.store.dialect.rules import ATTACHED, GIVEN, OUTBOX, OUTBOX_ATTACHMENTS, WRITTEN_TIMES, Rule
from daemon.store.dialect.times import NORMAL_POSTGRESQL, normal_sqlite
from daemon.store.dialect.types import POSTGRESQL, SQLITE, SQLITE_NOW

# --- SQLite ---------------------------------------------------------------------------------------------------------


def _checks_sqlite(rules: Iterable[Rule], event: str) -> str:
    cases = [
        f"    WHEN {rule.sqlite} THEN RAISE(ABORT, '{rule.message}')"
        for rule in rules
        if rule.sqlite and rule.on in {"", event}
    ]
    return "  SELECT CASE\n" + "\n".join(cases) + "\n  END;"


def _rules_sqlite(table: str, columns: tuple[str, ...], rules: tuple[Rule, ...]) -> dict[str, str]:
    insert, update = f"{table}_rules_insert", f"{table}_rules_update"
    return {
        insert: f"CREATE TRIGGER {insert} BEFORE INSERT ON {table} BEGIN\n{_checks_sqlite(rules, 'INSERT')}\nEND",
        update: f"CREATE TRIGGER {update} BEFORE UPDATE OF {', '.join(columns)} ON {table} BEGIN\n"
        f"{_checks_sqlite(rules, 'UPDATE')}\nEND",
    }


_DUE: Final = f"max({SQLITE_NOW}, coalesce({normal_sqlite('NEW.send_after')}, ''))"
_NORMALISE: Final = "\n".join(
    f"  UPDATE outbox SET {column} = {normal_sqlite(f'NEW.{column}')} WHERE id = NEW.id AND NEW.{column} IS NOT NULL;"
    for column in WRITTEN_TIMES
)

_FREE_BLOB: Final = (
    "DELETE FROM blobs WHERE id = OLD.blob AND NOT EXISTS (SELECT 1 FROM message_sources WHERE blob = OLD.blob);"
)
_KEPT_SQLITE: Final = {
    "outbox_inserted": f"""\
CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox BEGIN
{_NORMALISE}
  UPDATE outbox SET next_attempt_at = CASE NEW.status WHEN 'queued' THEN {_DUE} END WHERE id = NEW.id;
END""",
    "outbox_rescheduled": f"""\
CREATE TRIGGER outbox_rescheduled AFTER UPDATE OF send_after, expires_at ON outbox
WHEN NEW.send_after IS NOT OLD.send_after OR NEW.expires_at IS NOT OLD.expires_at BEGIN
{_NORMALISE}
  UPDATE outbox SET next_attempt_at = {_DUE}
    WHERE id = NEW.id AND NEW.status = 'queued' AND NEW.attempts = 0 AND NEW.send_after IS NOT OLD.send_after;
END""",
    "outbox_waits": f"""\
CREATE TRIGGER outbox_waits AFTER UPDATE OF status ON outbox
WHEN NEW.status IN ('queued', 'deferred') AND NEW.next_attempt_at IS NULL BEGIN
  UPDATE outbox SET next_attempt_at = {_DUE}, queued_at = {SQLITE_NOW} WHERE id = NEW.id;
END""",
    "outbox_waits_no_more": """\
CREATE TRIGGER outbox_waits_no_more AFTER UPDATE OF status ON outbox
WHEN NEW.status NOT IN ('queued', 'deferred', 'in_doubt') AND NEW.next_attempt_at IS NOT NULL BEGIN
  UPDATE outbox SET next_attempt_at = NULL WHERE id = NEW.id;
END""",
    "outbox_asked_again": """\
CREATE TRIGGER outbox_asked_again AFTER UPDATE OF status ON outbox
WHEN NEW.status = 'queued' AND OLD.status IN ('failed', 'partial', 'expired', 'cancelled', 'in_doubt') BEGIN
  UPDATE outbox_recipients SET status = 'queued' WHERE outbox_id = NEW.id AND status IN ('failed', 'in_doubt');
END""",
    "outbox_deleted": """\
CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox BEGIN
  DELETE FROM outbox_recipients WHERE outbox_id = OLD.id;
  DELETE FROM outbox_attempts WHERE outbox_id = OLD.id;
  DELETE FROM outbox_attachments WHERE outbox_id = OLD.id;
END""",
    "messages_deleted": """\
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
  DELETE FROM message_sources WHERE message = OLD.id;
  DELETE FROM addresses WHERE message = OLD.id;
  DELETE FROM attachments WHERE message = OLD.id;
  DELETE FROM match_queue WHERE message = OLD.id;
  DELETE FROM extraction_queue WHERE message = OLD.id;
  DELETE FROM thread_links WHERE message = OLD.id;
  DELETE FROM thread_subjects WHERE message = OLD.id;
  UPDATE ledger SET message = NULL WHERE message = OLD.id;
  UPDATE outbox SET forwards = NULL WHERE forwards = OLD.id;
  UPDATE outbox_recipients SET report = NULL WHERE report = OLD.id;
  UPDATE suppressions SET report = NULL WHERE report = OLD.id;
END""",
    "message_sources_deleted": f"""\
CREATE TRIGGER message_sources_deleted AFTER DELETE ON message_sources WHEN OLD.blob IS NOT NULL BEGIN
  {_FREE_BLOB}
END""",
    "message_sources_changed": f"""\
CREATE TRIGGER message_sources_changed AFTER UPDATE OF blob ON message_sources
WHEN OLD.blob IS NOT NULL AND OLD.blob IS NOT NEW.blob BEGIN
  {_FREE_BLOB}
END""",
    # Not the foreign key alone, which most programs have off: a message on hold needs its blobs.
    "blobs_kept": """\
CREATE TRIGGER blobs_kept BEFORE DELETE ON blobs WHEN EXISTS (SELECT 1 FROM message_sources WHERE blob = OLD.id) BEGIN
  SELECT RAISE(ABORT, 'blobs: messages have their octets from this one');
END""",
    "dictionaries_kept": """\
CREATE TRIGGER dictionaries_kept BEFORE DELETE ON dictionaries
WHEN EXISTS (SELECT 1 FROM message_sources WHERE dictionary = OLD.id) BEGIN
  SELECT RAISE(ABORT, 'dictionaries: messages are compressed with this one');
END""",
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

_HEADERS_FAULT: Final = r"""
CREATE FUNCTION postroom_headers_fault(headers text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  field record;
BEGIN
  IF headers IS NULL THEN RETURN NULL; END IF;
  IF json_typeof(headers::json) <> 'object' THEN RETURN 'object'; END IF;
  FOR field IN SELECT key, json_typeof(value) AS kind FROM json_each(headers::json) LOOP
    IF field.kind <> 'string' THEN RETURN 'string'; END IF;
    IF field.key !~ '^[\x21-\x39\x3b-\x7e]+$' THEN RETURN 'name'; END IF;
  END LOOP;
  FOR field IN SELECT value FROM json_each_text(headers::json) LOOP
    IF field.value ~ '[\x01-\x1f\x7f]' THEN RETURN 'value'; END IF;
  END LOOP;
  RETURN NULL;
EXCEPTION
  WHEN untranslatable_character THEN RETURN 'value';
  WHEN data_exception THEN RETURN 'json';
END $$""".strip()


def _checks_postgresql(rules: Iterable[Rule]) -> str:
    lines = []
    for rule in rules:
        if rule.postgresql:
            event = f"TG_OP = '{rule.on}' AND " if rule.on else ""
            lines.append(
                f"  IF {event}({rule.postgresql}) THEN\n    RAISE EXCEPTION USING MESSAGE = '{rule.message}',"
                f" ERRCODE = 'check_violation', TABLE = '{rule.table}', COLUMN = '{rule.column}';\n  END IF;"
            )
    return "\n".join(lines)


def _function(name: str, body: str, result: str = "NEW") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n{body}\n  RETURN {result};\nEND $$"


def _rules_postgresql(
    table: str, columns: tuple[str, ...], rules: tuple[Rule, ...], times: tuple[str, ...] = ()
) -> dict[str, str]:
    normalised = "".join(f"\n  NEW.{column} := postroom_instant(NEW.{column});" for column in times)
    name = f"{table}_rules"  # before the bookkeeping: triggers of one kind fire in the order of their names
    return {
        f"function {name}()": _function(name, _checks_postgresql(rules) + normalised),
        f"trigger {name} on {table}": f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OF {', '.join(columns)}"
        f" ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    }


_KEPT_POSTGRESQL: Final = {
    "function outbox_waiting()": _function(
        "outbox_waiting",
        """\
  IF TG_OP = 'INSERT' THEN
    NEW.next_attempt_at := CASE WHEN NEW.status = 'queued' THEN greatest(now(), NEW.send_after::timestamptz) END;
  ELSIF NEW.status IN ('queued', 'deferred') AND NEW.next_attempt_at IS NULL THEN
    NEW.next_attempt_at := greatest(now(), NEW.send_after::timestamptz);
    NEW.queued_at := now();
  ELSIF NEW.status NOT IN ('queued', 'deferred', 'in_doubt') THEN
    NEW.next_attempt_at := NULL;
  ELSIF NEW.status = 'queued' AND NEW.attempts = 0 AND NEW.send_after IS DISTINCT FROM OLD.send_after THEN
    NEW.next_attempt_at := greatest(now(), NEW.send_after::timestamptz);
  END IF;""",
    ),
    "trigger outbox_waiting on outbox": "CREATE TRIGGER outbox_waiting BEFORE INSERT OR UPDATE OF status, send_after ON outbox"
    " FOR EACH ROW EXECUTE FUNCTION outbox_waiting()",
    "function outbox_asked_again()": _function(
        "outbox_asked_again",
        "  UPDATE outbox_recipients SET status = 'queued' WHERE outbox_id = NEW.id AND status IN ('failed', 'in_doubt');",
        "NULL",
    ),
    "trigger outbox_asked_again on outbox": "CREATE TRIGGER outbox_asked_again AFTER UPDATE OF status ON outbox FOR EACH ROW"
    " WHEN (NEW.status = 'queued' AND OLD.status IN ('failed', 'partial', 'expired', 'cancelled', 'in_doubt'))"
    " EXECUTE FUNCTION outbox_asked_again()",
    # Whoever points at a blob holds its row (by the foreign key); locked first, what he has committed is seen here.
    "function message_sources_freed()": _function(
        "message_sources_freed", f"  PERFORM 1 FROM blobs WHERE id = OLD.blob FOR UPDATE;\n  {_FREE_BLOB}", "NULL"
    ),
    "trigger message_sources_deleted on message_sources": "CREATE TRIGGER message_sources_deleted AFTER DELETE ON message_sources"
    " FOR EACH ROW WHEN (OLD.blob IS NOT NULL) EXECUTE FUNCTION message_sources_freed()",
    "trigger message_sources_changed on message_sources": "CREATE TRIGGER message_sources_changed AFTER UPDATE OF blob ON message_sources"
    " FOR EACH ROW WHEN (OLD.blob IS NOT NULL AND OLD.blob IS DISTINCT FROM NEW.blob) EXECUTE FUNCTION message_sources_freed()",
    "function outbox_notify()": _function("outbox_notify", "  PERFORM pg_notify('postroom_outbox', '');", "NULL"),
    "trigger outbox_notify on outbox": "CREATE TRIGGER outbox_notify AFTER INSERT OR UPDATE OF status, next_attempt_at ON outbox"
    " FOR EACH ROW WHEN (NEW.next_attempt_at IS NOT NULL) EXECUTE FUNCTION outbox_notify()",
}

# --- both -----------------------------------------------------------------------------------------------------------

# What is made, by what it is dropped by; in the order of making.
TRIGGERS: Final[dict[str, dict[str, str]]] = {
    SQLITE: {
        f"trigger {name}": statement
        for name, statement in {
            **_rules_sqlite("outbox", GIVEN, OUTBOX),
            **_rules_sqlite("outbox_attachments", ATTACHED, OUTBOX_ATTACHMENTS),
            **_KEPT_SQLITE,
            **holding.TRIGGERS_SQLITE,
            **fulltext.TRIGGERS_SQLITE,
        }.items()
    },
    POSTGRESQL: {
        "function postroom_headers_fault(text)": _HEADERS_FAULT,
        "function postroom_instant(text)": NORMAL_POSTGRESQL,
        **_rules_postgresql("outbox", GIVEN, OUTBOX, WRITTEN_TIMES),
        **_rules_postgresql("outbox_attachments", ATTACHED, OUTBOX_ATTACHMENTS),
        **_KEPT_POSTGRESQL,
        **holding.TRIGGERS_POSTGRESQL,
    },
}


# A program's own role may drop rows without seeing the archive or the books that the triggers keep, and from a session
# whose search path does not lead here. pg_temp stands last, so that no temporary table is taken for one of ours.
_SEAL_POSTGRESQL: Final = """
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[{}] LOOP
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', name, current_schema());
  END LOOP;
END $$""".strip().format(
    ", ".join(f"'{what.removeprefix('function ')}'" for what in TRIGGERS[POSTGRESQL] if what.endswith("()"))
)


def create(kind: str) -> list[str]:
    """Give the statements that make all triggers of a database without them."""
    return [*TRIGGERS[kind].values(), *([_SEAL_POSTGRESQL] if kind == POSTGRESQL else [])]


def drop(kind: str) -> list[str]:
    """Give the statements that take away all triggers named here, from a database that may not even have their tables."""
    statements = []
    for what in reversed(TRIGGERS[kind]):
        noun, _, rest = what.partition(" ")
        statement = f"DROP {noun} IF EXISTS {rest}"
        if " on " in rest:  # PostgreSQL wants the table of a trigger to be there
            table = rest.rpartition(" ")[2]
            statement = f"DO $$ BEGIN IF to_regclass('{table}') IS NOT NULL THEN {statement}; END IF; END $$"
        statements.append(statement)
    return statements


def digest(kind: str) -> str:
    """Give a short name of what `create` makes; the newest migration holds it, so that none is forgotten."""
    return hashlib.sha256("\n".join(create(kind)).encode()).hexdigest()[:16]
