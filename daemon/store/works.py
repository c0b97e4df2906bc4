"""Long works that go on where they were: how far each came, in the database. Takes the connection, never commits."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from daemon.store.schema import works


def begin(tx: Connection, name: str, version: int, now: datetime) -> int:
    """Begin a work, or go on with it; give the last id that is done, 0 for none.

    version: of the parser that it is done with; what another one has done is done again.
    """
    t = works.c
    done: int | None = tx.execute(select(t.done).where(t.name == name, t.parser_version == version)).scalar()
    if done is not None:
        return done
    end(tx, name)
    tx.execute(insert(works).values(name=name, parser_version=version, started_at=now))
    return 0


def mark(tx: Connection, name: str, done: int) -> None:
    """Write down how far it came; another process that is at it too may be further."""
    tx.execute(update(works).where(works.c.name == name, works.c.done < done).values(done=done))


def end(tx: Connection, name: str) -> None:
    """Forget it: it is done."""
    tx.execute(delete(works).where(works.c.name == name))
