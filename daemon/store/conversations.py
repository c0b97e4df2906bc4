"""Read conversations: which there are, and one of them in the order in which its messages answer one another."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from daemon import errors
from daemon.mail import thread
from daemon.mail.thread import Node
from daemon.store import archive
from daemon.store.dialect import statements
from daemon.store.schema import messages
from daemon.store.thread_tables import thread_aliases, thread_links


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation. subject: of its first message.  people: who wrote in it, each once, in order.  Times as sent, else None."""

    thread_id: int
    subject: str | None
    people: tuple[str, ...]
    messages: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message in its conversation. depth: 0 for one that answers nothing that is here."""

    depth: int
    id: int
    account: str
    message_id: str | None
    sent_at: datetime | None
    from_name: str | None
    from_address: str | None
    subject: str | None
    attachment_count: int


def listed(
    conn: Connection, *, among: Collection[int] | None = None, account: str | None = None, limit: int, offset: int = 0
) -> list[Conversation]:
    """Give conversations, the one with the latest message first. among: those that have one of these messages."""
    t = messages.c
    last = func.max(t.sent_at)
    query = select(t.thread_id, func.count(), func.min(t.sent_at), last).where(t.thread_id.is_not(None))
    if account is not None:
        query = query.where(t.account == account)
    if among is not None:
        found = select(t.thread_id).where(statements.among(conn, t.id, sorted(among)))
        query = query.where(t.thread_id.in_(found))
    newest = query.group_by(t.thread_id).order_by(last.desc().nulls_last(), t.thread_id.desc())
    rows = list(conn.execute(newest.limit(limit).offset(offset)))
    is_one = statements.among(conn, t.thread_id, [row[0] for row in rows])
    said = select(t.thread_id, t.subject, t.from_name, t.from_address).where(is_one)
    people, subjects = defaultdict[int, dict[str, None]](dict), dict[int, str | None]()
    for number, subject, name, address in conn.execute(said.order_by(t.sent_at.nulls_last(), t.id)):
        subjects.setdefault(number, subject)
        if name or address:
            people[number][name or address] = None
    return [
        Conversation(
            thread_id=number,
            subject=subjects[number],
            people=tuple(people[number]),
            messages=count,
            first_at=first_at,
            last_at=last_at,
        )
        for number, count, first_at, last_at in rows
    ]


def resolve(conn: Connection, number: int) -> int:
    """Give the `thread_id` of the conversation that this message is in, or that had this number once; NotFound if none had."""
    t, a = messages.c, thread_aliases.c
    found = conn.execute(
        select(func.coalesce(
            select(t.thread_id).where(t.thread_id == number).limit(1).scalar_subquery(),
            select(t.thread_id).where(t.id == number).scalar_subquery(),
            select(a.thread_id).where(a.alias == number).scalar_subquery(),
        ))
    ).scalar()  # fmt: skip
    if found is None:
        archive.get(conn, number)  # or says that it is not there
        raise errors.NotFound(f"message {number} is not indexed yet")
    return int(found)


def turns(conn: Connection, thread_id: int) -> list[Turn]:
    """Give the messages of a conversation, every answer behind what it answers."""
    t = messages.c
    names = [name for name in Turn.__dataclass_fields__ if name != "depth"]
    query = select(*[t[name] for name in names]).where(t.thread_id == thread_id)
    rows = {row.id: row for row in conn.execute(query.order_by(t.sent_at.nulls_last(), t.id))}
    link = thread_links.c
    keys: dict[int, dict[int, int]] = defaultdict(dict)
    of = select(link.message, link.position, link.key).join(messages, t.id == link.message)
    for message, position, key in conn.execute(of.where(t.thread_id == thread_id).order_by(link.position)):
        keys[message][position] = key
    nodes = [Node(one, keys[one].get(0), tuple(key for place, key in keys[one].items() if place)) for one in rows]
    return [Turn(depth=depth, **rows[message]._asdict()) for depth, message in thread.tree(nodes)]
