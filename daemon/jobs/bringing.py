"""Archive what people have in files, in an account's name: by content, so that nothing is there twice however often it is said.

Messages are written many at a time, in transactions of some tens of milliseconds between which a daemon has its turns. Killed at
any instant, it is said again: what is there already is read and hashed, and nothing more. What is broken is told, the rest goes
on. StoreError passes through.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, assert_never

from daemon import errors
from daemon.jobs import belongings
from daemon.jobs.belongings import Broken, Found, NoMail
from daemon.store import accounts as known_accounts
from daemon.store import archive
from daemon.store.database import Database
from daemon.store.packing import Packer

MESSAGES_A_TRANSACTION: Final = 200  # as many as a poll writes at once
OCTETS_A_TRANSACTION: Final = 16 * 1024 * 1024  # held in memory, or in files without names


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run did. known: were in the archive.  no_mail: files in directories that were left out.  accounts: new messages of each."""

    new: int = 0
    known: int = 0
    broken: int = 0
    no_mail: int = 0
    octets: int = 0
    accounts: dict[str, int] = field(default_factory=dict)


def bring_in(
    database: Database,
    sources: Sequence[Path],
    *,
    account: str | None = None,
    otherwise: str | None = None,
    form: str = "auto",
    packer: Packer | None = None,
    now: Callable[[], datetime],
    stop: threading.Event,
    progress: Callable[[int], None] = lambda _octets: None,
    complain: Callable[[Broken], None] = lambda _broken: None,
) -> Result:
    """Archive all messages of these files and directories; stops between two transactions if `stop` is set.

    account: in whose name, whatever they say; else each goes to the one that it names itself, or to `otherwise`, and is broken
    without either.  form: as `belongings` has them.  packer: says how octets are stored.  progress: told the octets of files that are done.  complain: told each piece that is broken.
    """
    done = Result()
    for batch in _batches(_pieces(sources, form, (account, otherwise), done, complain)):
        try:
            for name in dict.fromkeys(one.account for one in batch):
                _write(database, str(name), [one for one in batch if one.account == name], now, done, complain, packer)
        finally:
            for one in batch:
                one.spool.close()
        done.octets += sum(one.takes for one in batch)
        progress(done.octets)
        if stop.is_set():
            break
    return done


def _pieces(
    sources: Sequence[Path],
    form: str,
    accounts: tuple[str | None, str | None],
    done: Result,
    complain: Callable[[Broken], None],
) -> Iterator[Found]:
    """Give what can be archived, each with its account; count the rest."""
    for source in sources:
        for piece in belongings.pieces(source, form):
            match piece:
                case Found():
                    name = accounts[0] or piece.account or accounts[1]
                    if name:
                        yield piece._replace(account=name)
                        continue
                    piece.spool.close()
                    done.broken += 1
                    complain(Broken(piece.place, "it names no account; --account does"))
                case Broken():
                    done.broken += 1
                    complain(piece)
                case NoMail():
                    done.no_mail += 1
                case _:
                    assert_never(piece)


def _batches(pieces: Iterable[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    octets = 0
    for piece in pieces:
        if len(batch) == MESSAGES_A_TRANSACTION or (batch and octets + piece.spool.octets > OCTETS_A_TRANSACTION):
            yield batch
            batch, octets = [], 0
        batch.append(piece)
        octets += piece.spool.octets
    if batch:
        yield batch


def _write(
    database: Database,
    account: str,
    batch: list[Found],
    now: Callable[[], datetime],
    done: Result,
    complain: Callable[[Broken], None],
    packer: Packer | None,
) -> None:
    """Archive what is not there yet; what the database refuses is written alone, so that it stops no other."""
    try:
        with database.reading() as conn:
            there = archive.held(conn, account, [one.spool.sha256 for one in batch])
        missing = [one for one in batch if one.spool.sha256 not in there]
        new = 0
        if missing:  # else nobody has to wait for us
            brought = [archive.Brought(one.spool, one.uidl, one.retrieved) for one in missing]
            with database.transaction() as tx:
                known_accounts.note(tx, account)
                new = archive.bring_in(tx, account, brought, now(), packer)
    except errors.RowRefused as error:
        if len(batch) == 1:
            done.broken += 1
            complain(Broken(batch[0].place, str(error)))
            return
        for one in batch:
            _write(database, account, [one], now, done, complain, packer)
        return
    done.new += new
    done.known += len(batch) - new
    done.accounts[account] = done.accounts.get(account, 0) + new
