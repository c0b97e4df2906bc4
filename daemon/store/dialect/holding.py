# ruff: noqa: S608 -- statements are put together from constants; no value of anybody's is in them
"""The triggers of legal holds: a message on hold is not deleted, nor its octets, whoever asks, in plain SQL too.

TRUNCATE and DROP, which only a table's owner may say, are not refused. The sentence is the same for all: SQLite 3.40, which
other programs bring, takes no other.
"""

from typing import Final

REFUSAL: Final = "messages: this message is on hold and can not be deleted; postroom hold list says why"

_BY_QUERY: Final = "EXISTS (SELECT 1 FROM held_messages WHERE message = {})"
_OF_MESSAGE: Final = (
    _BY_QUERY.format("OLD.id") + " OR EXISTS (SELECT 1 FROM holds WHERE account = OLD.account AND query IS NULL)"
)
# While the message is there: what goes with a message that may go is not asked for again.
_OF_SOURCE: Final = (
    _BY_QUERY.format("OLD.message")
    + " OR EXISTS (SELECT 1 FROM messages JOIN holds ON holds.account = messages.account"
    " AND holds.query IS NULL WHERE messages.id = OLD.message)"
)

_CONDITIONS: Final = {"messages": _OF_MESSAGE, "message_sources": _OF_SOURCE}

TRIGGERS_SQLITE: Final = {
    **{
        f"{table}_held": f"CREATE TRIGGER {table}_held BEFORE DELETE ON {table}\nWHEN {condition} BEGIN\n"
        f"  SELECT RAISE(ABORT, '{REFUSAL}');\nEND"
        for table, condition in _CONDITIONS.items()
    },
    "holds_deleted": "CREATE TRIGGER holds_deleted AFTER DELETE ON holds BEGIN\n"
    "  DELETE FROM held_messages WHERE hold = OLD.id;\nEND",
}

TRIGGERS_POSTGRESQL: Final = {
    what: statement
    for table, condition in _CONDITIONS.items()
    for what, statement in {
        f"function {table}_held()": f"CREATE FUNCTION {table}_held() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n"
        f"  IF {condition} THEN\n    RAISE EXCEPTION USING MESSAGE = '{REFUSAL}', ERRCODE = 'check_violation', TABLE = '{table}';\n"
        "  END IF;\n  RETURN OLD;\nEND $$",
        f"trigger {table}_held on {table}": f"CREATE TRIGGER {table}_held BEFORE DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION {table}_held()",
    }.items()
}
