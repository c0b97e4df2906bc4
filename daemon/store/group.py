"""Whose turn it is to write to an SQLite file, and whose transactions end in one COMMIT.

SQLite has one writer at a time, and each COMMIT waits for the disk: of fifty accounts that are polled at once, each would wait
for the COMMITs of all others. So a short transaction that asks for it joins those before it:

    first member: BEGIN IMMEDIATE, its statements | further ones: SAVEPOINT, statements, RELEASE | the last one: COMMIT

They run one behind another, each in its own thread, and each returns only when the COMMIT for all of them is on the disk, or
raises what kept it from there. One that raises takes back what is its own; the others go on. The last is whoever finds that
nobody waits to join, or that the group is full or old: no thread is kept for it, and where threads do not meet nothing differs
from a transaction of one's own. A block never waits for another thread, which may be waiting for its COMMIT.

At some errors SQLite rolls back the whole transaction by itself (a full disk, I/O): then every member fails. No constraint is
deferred to the COMMIT here, and triggers refuse by RAISE(ABORT), so that a refused row is its own member's alone.

PostgreSQL needs none of this. Raises the driver's errors, and NotCommitted, which `Database` names.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import SQLAlchemyError

from daemon.store.dialect import engine, failures
from daemon.store.dialect.prepared import driver

MEMBERS: Final = 16  # of one COMMIT; each one's share in it is small then, and the first has waited long enough
JOIN_SECONDS: Final = 0.05  # after its BEGIN a group takes no more members; a slow disk's COMMIT takes as long


class NotCommitted(Exception):
    """The COMMIT failed, or SQLite had rolled back before it. orig: what the driver said."""

    def __init__(self, cause: BaseException) -> None:
        """cause: what was raised where it happened, perhaps in another thread."""
        is_signal = not isinstance(cause, Exception)
        self.orig = InterruptedError("stopped at its COMMIT") if is_signal else getattr(cause, "orig", cause)
        super().__init__(str(self.orig))


class _Group:
    """An open transaction, used by whoever has the turn, and the members that wait for its end."""

    def __init__(self, conn: Connection, begun: RootTransaction) -> None:
        self.conn, self._begun = conn, begun
        self.members = 0  # that are through
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self._began = time.monotonic()

    @property
    def is_full(self) -> bool:
        return self.members >= MEMBERS or time.monotonic() - self._began >= JOIN_SECONDS

    def say(self, statement: str) -> None:
        driver(self.conn).execute(statement).close()

    def end(self, faults: tuple[type[Exception], ...]) -> None:
        """COMMIT, or ROLLBACK where something failed or nobody is left, and let the members go. faults: kept, for all of them."""
        try:
            if self.members and self.failure is None:
                self.say("COMMIT")  # fails where SQLite has rolled back by itself; the driver's commit() would not
                self._begun.commit()
        except faults as error:
            self.failure = error
        except BaseException as error:
            self.failure = error  # a signal: whether the COMMIT is done is not known, and nobody is told that it is
            raise
        finally:
            try:
                self.conn.close()  # rolls back what is still open
            finally:
                self.ended.set()


class Writers:
    """The threads of this process that write to one SQLite file."""

    def __init__(self, made: Engine) -> None:
        """Nothing is opened yet."""
        self._engine = made
        self._faults = (SQLAlchemyError, failures.of_driver(made))
        # Left to itself SQLite lets who waits sleep for longer and longer. Here one is woken at once, and whoever waits holds no
        # connection: the next one writes with that of the one before, whose schema is read and whose statements are prepared.
        self._turn = threading.Lock()
        self._open: _Group | None = None  # for whoever has the turn
        self._counting = threading.Lock()
        self._joining = 0  # threads that wait for the turn, and will join

    @contextmanager
    def transaction(self, *, joins: bool) -> Iterator[Connection]:
        """Hand out the connection; COMMIT before this returns. joins: may be one with those of others, if they are there now."""
        self._take_turn(joins=joins)
        try:
            group = self._entered(joins=joins)
            is_first = not group.members
            try:
                if not is_first:
                    group.say("SAVEPOINT member")
                yield group.conn
                if not is_first:
                    group.say("RELEASE member")
            except BaseException as error:
                self._take_back(group, error, is_first=is_first)
                raise
            group.members += 1
            if not (joins and self._goes_on(group)):
                self._end(group)
        finally:
            self._turn.release()
        self._wait_for(group)

    def _take_turn(self, *, joins: bool) -> None:
        if not joins:
            self._turn.acquire()
        elif not self._turn.acquire(blocking=False):
            self._count(1)
            try:
                self._turn.acquire()
            finally:
                self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._joining += more

    def _entered(self, *, joins: bool) -> _Group:
        """Give the open group to one that joins. A longer transaction ends it first: nobody waits for that one's COMMIT."""
        if self._open is not None and (not joins or self._open.is_full):
            self._end(self._open)
        if self._open is None:
            conn = self._engine.connect()
            try:
                self._open = _Group(conn, engine.begin(conn, engine.WRITING))
            except BaseException:
                conn.close()
                raise
        return self._open

    def _goes_on(self, group: _Group) -> bool:
        return self._joining > 0 and not group.is_full

    def _take_back(self, group: _Group, error: BaseException, *, is_first: bool) -> None:
        """Undo what one member did, and let the others go on if they still can."""
        if not is_first:
            try:
                group.say("ROLLBACK TO member")
                group.say("RELEASE member")
            except self._faults as lost:  # there is no such savepoint any more: SQLite has rolled back everything
                group.failure = error if isinstance(error, self._faults) else lost
        if is_first or group.failure is not None or not self._goes_on(group):
            self._end(group)

    def _end(self, group: _Group) -> None:
        self._open = None
        group.end(self._faults)

    def _wait_for(self, group: _Group) -> None:
        """Return when the group's COMMIT is done; raise NotCommitted if it is not to be."""
        try:
            while not group.ended.wait(JOIN_SECONDS):
                # Whoever waited to join was interrupted, and does not come. If another has the turn, he sees to the group.
                if self._turn.acquire(blocking=False):
                    self._end_if_open(group)
        except BaseException:
            self._turn.acquire()
            self._end_if_open(group)
            raise
        if group.failure is not None:
            raise NotCommitted(group.failure) from group.failure

    def _end_if_open(self, group: _Group) -> None:
        """Needs the turn, and gives it back."""
        try:
            if self._open is group:
                self._end(group)
        finally:
            self._turn.release()
