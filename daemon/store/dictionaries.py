"""Trained dictionaries: data like the mail, for without them it can't be read. Never changed, never deleted.

All functions take the connection and never commit.
"""

import hashlib
from datetime import datetime
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Insert, func, insert, select

from daemon.store import zstd
from daemon.store.dialect.prepared import Prepared
from daemon.store.source_tables import dictionaries

# What was read, for the life of its database: rows never change, and an id is never given twice.
_READ: WeakKeyDictionary[Engine, dict[int, zstd.Dictionary]] = WeakKeyDictionary()
_NEWEST: Final = Prepared(lambda _: select(func.max(dictionaries.c.id)))


class Trained(NamedTuple):
    """The newest dictionary. letters: that the archive had then, small ones."""

    id: int
    letters: int


def newest(conn: Connection) -> int | None:
    """Give the id of the dictionary that letters are compressed with now, None before the first."""
    ((found,),) = _NEWEST.rows(conn)
    return None if found is None else int(found)


def latest(conn: Connection) -> Trained | None:
    """Give what is known of it."""
    t = dictionaries.c
    row = conn.execute(select(t.id, t.letters).order_by(t.id.desc()).limit(1)).first()
    return None if row is None else Trained(*row)


def get(conn: Connection, key: int) -> zstd.Dictionary:
    """Give a dictionary, read once; zstd.Broken if it is not there, or not as it was."""
    read = _READ.setdefault(conn.engine, {})
    if key not in read:
        t = dictionaries.c
        row = conn.execute(select(t.content, t.sha256).where(t.id == key)).first()
        if row is None:
            raise zstd.Broken(f"dictionary {key} is not in the database")
        content = bytes(row.content)
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise zstd.Broken(f"dictionary {key} is not what was trained")
        read[key] = zstd.Dictionary(content)
    return read[key]


def add(tx: Connection, content: bytes, *, letters: int, now: datetime) -> None:
    """Keep a new one; everything that comes in from now on is compressed with it."""
    statement: Insert = insert(dictionaries)
    sha256 = hashlib.sha256(content).hexdigest()
    tx.execute(
        statement,
        {"trained_at": now, "letters": letters, "octets": len(content), "sha256": sha256, "content": content},
    )


def broken(conn: Connection) -> list[int]:
    """Read all of them and hash them; give the ids of those that are not what was trained."""
    t = dictionaries.c
    rows = conn.execute(select(t.id, t.sha256, t.content).order_by(t.id))
    return [key for key, sha256, content in rows if hashlib.sha256(content).hexdigest() != sha256]
