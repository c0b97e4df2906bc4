# ruff: noqa: S608 -- statements are put together from constants; no value of anybody's is in them
"""What a row of the outbox must be like: one table of rules, made into triggers for SQLite and for PostgreSQL.

Programs of any kind write this table, with foreign keys off as often as not, so the rules live in the database, use only
functions that SQLite 3.40 has built in, and say in a sentence which column is wrong. The first broken rule speaks. A letter's
addresses are looked at closely only when it is made (`mail/compose.py`): a rule here refuses what can never be a letter.
"""

from dataclasses import dataclass
from typing import Final

from daemon.store.dialect import times

KEY_CHARACTERS: Final = 500  # of an idempotency_key: PostgreSQL's index takes 2704 bytes at most

# What makes the letter; it can't be changed once the letter is on its way.
LETTER: Final = (
    "recipients",
    "cc",
    "bcc",
    "sender",
    "reply_to",
    "account",
    "subject",
    "body",
    "html",
    "headers",
    "raw",
    "forwards",
)
GIVEN: Final = (*LETTER, "send_after", "expires_at", "priority", "idempotency_key", "on_doubt")
WRITTEN_TIMES: Final = ("send_after", "expires_at")
FINISHED: Final = ("sent", "partial", "failed", "cancelled", "expired")
HEADER_BOUND: Final = ("recipients", "cc", "bcc", "sender", "reply_to", "subject", "message_id")
ATTACHED: Final = ("outbox_id", "filename", "content_type", "content", "content_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that refuses a row, and the sentence that says so.

    sqlite, postgresql: the condition over NEW (and OLD at UPDATE), "" where that database can't be given such a row.
    on: INSERT, UPDATE, or "" for both.
    """

    table: str
    column: str
    sentence: str
    sqlite: str
    postgresql: str
    on: str = ""

    @property
    def message(self) -> str:
        """The sentence with the column before it, quotes doubled for SQL."""
        return f"{self.table}.{self.column}: {self.sentence}".replace("'", "''")


def _rule(column: str, sentence: str, broken: str, *, table: str = "outbox", on: str = "") -> Rule:
    """Make a rule that both databases can read."""
    return Rule(table=table, column=column, sentence=sentence, sqlite=broken, postgresql=broken, on=on)


def controls(value: str) -> tuple[str, str]:
    """Give the condition that a text holds control characters. NUL ends a text for GLOB, so it is looked for by itself."""
    return (
        f"{value} GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*' OR instr({value}, char(0)) > 0",
        rf"{value} ~ '[\x01-\x1f\x7f]'",
    )


def _no_controls(column: str, *, table: str = "outbox") -> Rule:
    sqlite, postgresql = controls(f"NEW.{column}")
    sentence = "line breaks, tabs and other control characters are not allowed here"
    return Rule(table=table, column=column, sentence=sentence, sqlite=sqlite, postgresql=postgresql)


def _time(column: str) -> Rule:
    """Loose forms are taken, and normalised by a trigger; numbers, words and years that no program reads are not."""
    new = f"NEW.{column}"
    return Rule(
        table="outbox",
        column=column,
        sentence="not a time from 1970 to 9999; write it like 2026-11-23T10:00:00Z, or with +01:00 at its end",
        sqlite=f"{new} IS NOT NULL AND {times.normal_sqlite(new)} IS NULL",
        postgresql=f"{new} IS NOT NULL AND postroom_instant({new}) IS NULL",
    )


def _headers(fault: str, sentence: str, sqlite: str) -> Rule:
    postgresql = f"postroom_headers_fault(NEW.headers) = '{fault}'"
    return Rule(table="outbox", column="headers", sentence=sentence, sqlite=sqlite, postgresql=postgresql)


def _any_header(broken: str) -> str:
    return f"EXISTS (SELECT 1 FROM json_each(NEW.headers) WHERE {broken})"


# SQLite 3.40 ends a JSON string at an escaped NUL, so that is looked for as it is written.
_CONTROL_IN_VALUE: Final = f"{_any_header(controls('value')[0])} OR instr(NEW.headers, '\\u0000') > 0"
_EMPTY: Final = " AND ".join(f"coalesce(NEW.{column}, '') = ''" for column in ("subject", "body", "html"))
_NOTHING: Final = f"NEW.raw IS NULL AND NEW.forwards IS NULL AND {_EMPTY}"
# What is long may be dropped when all is over (`postroom outbox purge`), and so may a message that is not in the archive any more.
_DROPPED: Final = {
    column: f"NEW.{column} IS NULL AND OLD.status = 'sent' AND NEW.status = 'sent'"
    for column in ("subject", "body", "html", "raw", "headers")
} | {"forwards": "NEW.forwards IS NULL AND NOT EXISTS (SELECT 1 FROM messages WHERE id = OLD.forwards)"}
_CHANGED: Final = " OR ".join(
    f"NEW.{column} IS NOT OLD.{column} AND NOT ({_DROPPED.get(column, 'false')})" for column in LETTER
)
_OF_ROW: Final = "EXISTS (SELECT 1 FROM outbox WHERE id = NEW.outbox_id AND {})"

OUTBOX: Final = (
    Rule(
        table="outbox",
        column="status",
        sentence="this row is being sent or was sent, so its letter can't be changed; insert a new row",
        sqlite=f"OLD.status IN ('sending', 'sent') AND ({_CHANGED})",
        postgresql=f"OLD.status IN ('sending', 'sent') AND ({_CHANGED.replace('IS NOT', 'IS DISTINCT FROM')})",
        on="UPDATE",
    ),
    _rule("status", "a new row is queued or held", "coalesce(NEW.status, '') NOT IN ('queued', 'held')", on="INSERT"),
    _rule(
        "recipients",
        "at least one address is needed, like anna@example.org",
        "coalesce(NEW.recipients, '') NOT LIKE '%_@_%'",
    ),
    *[
        _rule(column, "not an address like anna@example.org", f"NEW.{column} <> '' AND NEW.{column} NOT LIKE '%_@_%'")
        for column in ("cc", "bcc", "sender", "reply_to")
    ],
    *[_no_controls(column) for column in HEADER_BOUND],
    _rule("account", "an empty name is no account; leave it out, or give NULL", "NEW.account = ''"),
    _rule("priority", "a whole number is needed; leave it out for 0", "NEW.priority IS NULL"),
    *[
        Rule(
            table="outbox",
            column=column,
            sentence="the character NUL is not allowed",
            sqlite=f"instr(NEW.{column}, char(0)) > 0",
            postgresql="",
        )
        for column in ("body", "html")
    ],
    Rule(
        table="outbox",
        column="raw",
        sentence="octets or text are needed",
        sqlite="typeof(NEW.raw) NOT IN ('null', 'blob', 'text')",
        postgresql="",
    ),
    _rule("raw", "an empty message can't be sent", "length(NEW.raw) = 0"),
    *[
        _rule(
            column,
            f"{what} leaves no room for subject, body, html, headers or reply_to; give either",
            f"NEW.{column} IS NOT NULL AND (NEW.subject IS NOT NULL OR NEW.body IS NOT NULL OR NEW.html IS NOT NULL"
            " OR NEW.headers IS NOT NULL OR NEW.reply_to IS NOT NULL)",
        )
        for column, what in (("raw", "a complete message"), ("forwards", "an archived message"))
    ],
    _rule(
        "forwards",
        "an archived message leaves no room for a raw one; give either",
        "NEW.forwards IS NOT NULL AND NEW.raw IS NOT NULL",
    ),
    _rule(
        "forwards",
        "there is no such message in the archive",
        "NEW.forwards IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages WHERE id = NEW.forwards)",
    ),
    _rule("body", "the letter is empty; give subject, body, html, raw or forwards", _NOTHING, on="INSERT"),
    _rule(
        "body",
        "the letter is empty; give subject, body, html, raw or forwards",
        f"{_NOTHING} AND OLD.status NOT IN {FINISHED} AND NOT ({_NOTHING.replace('NEW.', 'OLD.')})"
        " AND (OLD.forwards IS NULL OR EXISTS (SELECT 1 FROM messages WHERE id = OLD.forwards))",
        on="UPDATE",
    ),
    _headers(
        "json",
        'not JSON; an object of strings is needed, like {"X-Ticket": "42"}',
        "NEW.headers IS NOT NULL AND NOT json_valid(NEW.headers)",
    ),
    _headers("object", 'a JSON object is needed, like {"X-Ticket": "42"}', "json_type(NEW.headers) <> 'object'"),
    _headers("string", "each value must be a JSON string", _any_header("type <> 'text'")),
    _headers(
        "name",
        "a field name is printable ASCII without spaces and colons",
        _any_header("key = '' OR key GLOB '*[^!-9;-~]*' OR instr(key, char(0)) > 0"),
    ),
    _headers("value", "line breaks, tabs and other control characters are not allowed in a value", _CONTROL_IN_VALUE),
    _time("send_after"),
    _time("expires_at"),
    Rule(
        table="outbox",
        column="expires_at",
        sentence="must be later than send_after",
        sqlite=f"{times.normal_sqlite('NEW.expires_at')} <= {times.normal_sqlite('NEW.send_after')}",
        postgresql="postroom_instant(NEW.expires_at) <= postroom_instant(NEW.send_after)",
    ),
    # Two rows with an empty key would be one, and the second letter silently not sent.
    _rule("idempotency_key", "an empty key is no key; leave it out, or give NULL", "NEW.idempotency_key = ''"),
    _rule("idempotency_key", f"at most {KEY_CHARACTERS} characters", f"length(NEW.idempotency_key) > {KEY_CHARACTERS}"),
    _rule("on_doubt", "takes retry or hold", "coalesce(NEW.on_doubt, '') NOT IN ('retry', 'hold')"),
)

_T: Final = "outbox_attachments"
OUTBOX_ATTACHMENTS: Final = (
    _rule("outbox_id", "there is no such row in outbox", f"NOT {_OF_ROW.format('true')}", table=_T),
    _rule(
        "outbox_id",
        "that row is on its way; insert row and attachments in one transaction, or insert the row as held",
        _OF_ROW.format("status NOT IN ('queued', 'held')"),
        table=_T,
    ),
    *[
        _rule(
            "outbox_id",
            f"that row is {what}, which holds its own attachments",
            _OF_ROW.format(f"{column} IS NOT NULL"),
            table=_T,
        )
        for column, what in (("raw", "a raw message"), ("forwards", "an archived message"))
    ],
    _rule("filename", "a name is needed", "coalesce(NEW.filename, '') = ''", table=_T),
    _no_controls("filename", table=_T),
    _rule(
        "filename",
        "a name without slashes is needed",
        r"NEW.filename LIKE '%/%' OR NEW.filename LIKE '%^\%' ESCAPE '^'",
        table=_T,
    ),
    _no_controls("content_type", table=_T),
    _rule(
        "content_type",
        "a type like application/pdf is needed",
        "coalesce(NEW.content_type, '') NOT LIKE '_%/_%'",
        table=_T,
    ),
    _rule("content", "content is needed", "NEW.content IS NULL", table=_T),
    Rule(
        table=_T,
        column="content",
        sentence="octets or text are needed",
        sqlite="typeof(NEW.content) NOT IN ('null', 'blob', 'text')",
        postgresql="",
    ),
    _no_controls("content_id", table=_T),
)
