"""Which conversation each message is of, kept as they are indexed, in whatever order and in however many batches.

A conversation is called by the `id` of its first message, so that its number is the same however it came about; one that is
joined to an older one becomes an alias of it. A message that is indexed again and is tied as before costs a look; tied
otherwise, it leaves its conversation, which falls apart where it alone held it together. Never commits.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Delete, Select, delete, func, select, update

from daemon.mail import address, thread
from daemon.mail.message import Parsed
from daemon.mail.thread import Candidate, Ties
from daemon.store.dialect import statements
from daemon.store.dialect.prepared import Prepared
from daemon.store.schema import addresses, messages
from daemon.store.thread_tables import thread_aliases, thread_keys, thread_links, thread_subjects

RECIPIENTS: Final = ("to", "cc", "bcc")


def place(tx: Connection, items: Sequence[tuple[int, Parsed]]) -> dict[int, int]:
    """File messages under their conversations; give the `thread_id` of each, which the caller writes.

    Those of other messages that change with it are written here.
    """
    statements.alone(tx, "threads")
    parsed, ties = dict(items), {message: thread.ties(one) for message, one in items}
    _file_subjects(tx, ties)
    ties |= _tied_by_subject(tx, ties, parsed)
    placed: dict[int, int] = dict(iter(statements.gather(tx, _placed, messages=list(ties))))
    links = _links(tx, ties)
    moved = {message: one for message, one in ties.items() if message not in placed or links[message] != _listed(one)}
    changed = {message: placed[message] for message in moved if message in placed}
    if changed:
        _take_out(tx, changed, links)
    _file_links(tx, moved, [message for message in moved if links[message]])
    given = _join(tx, moved)
    others = [message for message in moved if message not in parsed]
    statements.rewrite(tx, messages, [{"id": one, "thread_id": given[one]} for one in others])
    return given | _where(
        tx, {message: one for message, one in ties.items() if message in parsed and message not in moved}
    )


def _placed(conn: Connection) -> Select[Any]:
    t = messages.c
    return select(t.id, t.thread_id).where(statements.among_given(conn, t.id, "messages"), t.thread_id.is_not(None))


def _where(tx: Connection, stayed: Mapping[int, Ties]) -> dict[int, int]:
    """Give the conversations of messages that are tied as before; what ties none is alone."""
    keys = {message: ties.keys[0] for message, ties in stayed.items() if ties.keys}
    known = _threads_of(tx, set(keys.values()))
    return {message: known.get(keys.get(message, -1), message) for message in stayed}


# --- ties -----------------------------------------------------------------------------------------------------------------


def _listed(ties: Ties) -> tuple[tuple[int, int], ...]:
    """Give (position, key) of each."""
    own = () if ties.own is None else ((0, ties.own),)
    return own + tuple(enumerate(ties.references, start=1))


def _links(conn: Connection, of: Iterable[int]) -> Mapping[int, tuple[tuple[int, int], ...]]:
    found: dict[int, tuple[tuple[int, int], ...]] = defaultdict(tuple)
    for message, position, key in sorted(statements.gather(conn, _linked, messages=list(of))):
        found[message] += ((position, key),)
    return found


def _linked(conn: Connection) -> Select[Any]:
    t = thread_links.c
    return select(t.message, t.position, t.key).where(statements.among_given(conn, t.message, "messages"))


def _file_links(tx: Connection, moved: Mapping[int, Ties], known: list[int]) -> None:
    if known:
        tx.execute(delete(thread_links).where(statements.among(tx, thread_links.c.message, known)))
    rows = [(message, position, key) for message, ties in moved.items() for position, key in _listed(ties)]
    statements.fill(tx, thread_links, ("message", "position", "key"), rows)


# --- joining and leaving --------------------------------------------------------------------------------------------------


def _join(tx: Connection, moved: Mapping[int, Ties]) -> dict[int, int]:
    """Join messages to the conversations that they are tied to, and these to one another; give the number of each.

    In the sets, a key stands for itself, and -n for message n as for conversation n: it holds that message if it is there.
    """
    keys = {key for ties in moved.values() for key in ties.keys}
    known = _threads_of(tx, keys)
    sets = thread.Sets()
    for message, ties in moved.items():
        sets.join((-message, *ties.keys))
    for key, number in known.items():
        sets.join((key, -number))
    first: dict[int, int] = {}
    for one in {*moved, *known.values()}:
        root = sets.of(-one)
        first[root] = min(one, first.get(root, one))
    fresh = sorted((key, first[sets.of(key)]) for key in keys - known.keys())
    statements.fill(tx, thread_keys, ("key", "thread_id"), fresh)
    merged = defaultdict(list)
    for number in set(known.values()):
        if number != (into := first[sets.of(-number)]):
            merged[into].append(number)
    for into, numbers in merged.items():
        _merge(tx, numbers, into)
    return {message: first[sets.of(-message)] for message in moved}


def _threads_of(tx: Connection, keys: Collection[int]) -> dict[int, int]:
    return dict(iter(statements.gather(tx, _known, keys=list(keys)))) if keys else {}


def _known(conn: Connection) -> Select[Any]:
    k, a = thread_keys.c, thread_aliases.c
    found = select(k.key, func.coalesce(a.thread_id, k.thread_id))
    found = found.select_from(thread_keys.outerjoin(thread_aliases, a.alias == k.thread_id))
    return found.where(statements.among_given(conn, k.key, "keys"))


def _merge(tx: Connection, numbers: list[int], into: int) -> None:
    """Join conversations to an older one."""
    of, aliased = messages.c.thread_id, thread_aliases.c.thread_id
    tx.execute(update(messages).where(statements.among(tx, of, numbers)).values(thread_id=into))
    tx.execute(update(thread_aliases).where(statements.among(tx, aliased, numbers)).values(thread_id=into))
    statements.fill(tx, thread_aliases, ("alias", "thread_id"), [(number, into) for number in numbers])


def _take_out(tx: Connection, changed: Mapping[int, int], links: Mapping[int, tuple[tuple[int, int], ...]]) -> None:
    """Take messages out of their conversations, as if they had not come yet. changed: their conversations.

    What falls apart then is called by its first message, but for the part that has the first of all: that keeps the number,
    unless the message of that number is taken out.
    """
    t = messages.c
    tx.execute(update(messages).where(statements.among(tx, t.id, list(changed))).values(thread_id=None))
    threads = sorted(set(changed.values()))
    among = statements.among(tx, t.thread_id, threads)
    stayed: dict[int, int] = dict(iter(tx.execute(select(t.id, t.thread_id).where(among))))
    held = _links(tx, stayed)
    keys = {message: [key for _, key in held.get(message, ())] for message in stayed}
    loose = {key for message in changed for _, key in links.get(message, ())}.difference(*keys.values())
    tx.execute(delete(thread_keys).where(statements.among(tx, thread_keys.c.key, sorted(loose))))
    free = {number for number in threads if number not in changed}
    renamed: list[dict[str, int]] = []
    rekeyed: dict[int, int] = {}
    for part in thread.conversations(keys):
        number = before = stayed[part[0]]
        if before in free:
            free.remove(before)
        else:
            number = part[0]
        if number != before:
            renamed += [{"id": message, "thread_id": number} for message in part]
        rekeyed |= {key: number for message in part for key in keys[message]}
    gone = [*changed, *(row["thread_id"] for row in renamed)]
    tx.execute(delete(thread_aliases).where(statements.among(tx, thread_aliases.c.alias, gone)))
    statements.rewrite(tx, messages, renamed)
    of_keys = [{"key": key, "thread_id": number} for key, number in rekeyed.items()]
    statements.rewrite(tx, thread_keys, of_keys, by=("key",))


# --- subjects -------------------------------------------------------------------------------------------------------------


def _file_subjects(tx: Connection, ties: Mapping[int, Ties]) -> None:
    _FORGOTTEN.run(tx, messages=statements.listed(tx, list(ties)))
    rows = [(message, one.subject, int(one.asks)) for message, one in ties.items() if one.subject is not None]
    statements.fill(tx, thread_subjects, ("message", "key", "asks"), rows)


def _forgotten(conn: Connection) -> Delete:
    t = thread_subjects
    return delete(t).where(statements.among_given(conn, t.c.message, "messages"))


_FORGOTTEN: Final = Prepared(_forgotten)


def _asked(conn: Connection) -> Select[Any]:
    t = thread_subjects.c
    return select(t.key, t.asks).where(statements.among_given(conn, t.key, "keys"), t.asks == 1).distinct()


def _tied_by_subject(tx: Connection, ties: Mapping[int, Ties], parsed: Mapping[int, Parsed]) -> dict[int, Ties]:
    """Give the ties of messages that name none, here and in the archive, whose subject one of these has."""
    subjects = list({one.subject for one in ties.values() if one.subject is not None})
    asked = [key for key, _ in statements.gather(tx, _asked, keys=subjects)]
    if not asked:
        return {}
    t = thread_subjects.c
    counted = select(t.key, func.count()).where(statements.among(tx, t.key, asked)).group_by(t.key)
    rare: list[int] = []
    common: list[int] = []
    for key, count in tx.execute(counted):
        (rare if count <= thread.MAX_OF_ONE_SUBJECT else common).append(key)
    found: dict[int, Ties] = {}
    for group in _groups(tx, rare, ties, parsed):
        found |= thread.tied_by_subject(group)
    # Those that were tied before the subject became a common one are so no more.
    of = select(t.message).where(statements.among(tx, t.key, common), t.asks == 1)
    tied = of.join(thread_links, (thread_links.c.message == t.message) & (thread_links.c.position > 0))
    loosened = [message for message in tx.execute(tied).scalars() if message not in ties] if common else []
    for message, links in (_links(tx, loosened) if loosened else {}).items():
        found[message] = Ties(own=dict(links).get(0), references=(), subject=None, asks=True)
    return found


def _groups(
    tx: Connection, subjects: Sequence[int], ties: Mapping[int, Ties], parsed: Mapping[int, Parsed]
) -> list[list[Candidate]]:
    """Give the messages of each of these subjects."""
    t, m, a = thread_subjects.c, messages.c, addresses.c
    query = select(t.key, t.message, t.asks, m.sent_at, m.from_address).join(messages, m.id == t.message)
    rows = list(tx.execute(query.where(statements.among(tx, t.key, list(subjects)))))
    stored = [row.message for row in rows if row.message not in parsed]
    links = _links(tx, stored)
    recipients = defaultdict(set)
    to = select(a.message, a.address).where(statements.among(tx, a.message, stored), a.role.in_(RECIPIENTS))
    for message, one in tx.execute(to):
        recipients[message].add(one)
    groups = defaultdict(list)
    for row in rows:
        if row.message in parsed:
            groups[row.key].append(_candidate(row.message, ties[row.message], parsed[row.message]))
            continue
        own = dict(links.get(row.message, ())).get(0)
        groups[row.key].append(
            Candidate(
                message=row.message,
                ties=Ties(own=own, references=(), subject=row.key, asks=bool(row.asks)),
                sent_at=row.sent_at,
                sender=address.folded(row.from_address or ""),
                recipients=frozenset(recipients[row.message]),
            )
        )
    return list(groups.values())


def _candidate(message: int, ties: Ties, parsed: Parsed) -> Candidate:
    return Candidate(
        message=message,
        ties=ties,
        sent_at=parsed.sent_at,
        sender=address.folded(parsed.from_address or ""),
        recipients=frozenset(address.folded(one.address) for one in parsed.addresses if one.role in RECIPIENTS),
    )
