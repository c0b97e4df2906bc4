"""The scenarios at the edges: a maildrop where all is known, one enormous letter, fifty accounts at once, a whole process."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from daemon.schedule import POLLS_AT_ONCE
from tests.benchmarks import bare, letters, peers
from tests.benchmarks.figures import Series
from tests.benchmarks.ground import Maildrop
from tests.benchmarks.peers import Peer
from tests.benchmarks.resident import Resident
from tests.benchmarks.scenarios import (
    ACCOUNTS,
    HUGE_OCTETS,
    KNOWN,
    MANY,
    SEARCHABLE,
    STORED,
    Contestant,
    Runs,
    Shared,
    Stage,
    expect,
    ours,
    series,
    take_turn,
    theirs,
)

POLL: Final = "postroom, poll in the daemon"
FIFTY: Final = "postroom, 50 accounts at once"
ONE: Final = "postroom, one account"
BARE_FIFTY: Final = "bare sockets, 50 accounts at once"
BARE_ONE: Final = "bare sockets, one account"


def all_known(stage: Stage) -> Iterator[Series]:
    """20,000 letters that everybody knows, then one new one beside them."""
    ground, user = stage.ground, "e"
    everything = ground.maildrop(user, stage.small(KNOWN))
    new = ground.write("new", letters.small(stage.rounds, seed=77))
    none = Maildrop(user=user, port=everything.port, ca_file=None, messages=0, octets=0)
    beside = stage.beside(peers.MBOX, peers.FETCHMAIL, peers.GETMAIL)
    states = {peer.name: _knowing(stage, peer, everything) for peer in beside}
    with stage.resident() as resident:
        stage.warm(resident)
        resident.open(ground.fresh("ours"), {"bench": everything})
        resident.poll()
        expect("letters archived", KNOWN, resident.archived())
        expect("fetched anew", 0, resident.poll()["fetched"])
        nothing = series("e none", "poll of 20,000 known letters", "ms")
        one_new = series("e one", "the same and one new letter", "ms")
        for number in range(stage.rounds):
            for kept, contents in ((nothing, none), (one_new, None)):
                maildrop = contents or ground.maildrop(user, new, slice(number, number + 1))
                contestants = [
                    Contestant(names=(POLL,), run=partial(_poll_ours, resident, maildrop)),
                    *(
                        Contestant(names=(peer.name,), run=partial(_poll_theirs, peer, states[peer.name], maildrop))
                        for peer in beside
                    ),
                ]
                for one in contestants:
                    take_turn(kept, one, number)
    yield nothing
    yield one_new


def _knowing(stage: Stage, peer: Peer, maildrop: Maildrop) -> Path:
    """Return a directory where a peer has its state of a maildrop that it has fetched; slow ones have it written for them."""
    directory = stage.ground.fresh("known")
    if peer.seen is not None:
        peer.prepare(directory, maildrop, False)
        peer.seen(directory, maildrop, stage.ground.uidls(maildrop.user))
    else:
        peers.run(peer, directory, maildrop)
    return directory


def _poll_ours(resident: Resident, maildrop: Maildrop, _number: int) -> Runs:
    before = resident.archived()
    polled = resident.poll()
    expect("letters archived", maildrop.messages, resident.archived() - before)
    return {POLL: {**polled, "messages": maildrop.messages}}


def _poll_theirs(peer: Peer, directory: Path, maildrop: Maildrop, _number: int) -> Runs:
    return {peer.name: {**peers.run(peer, directory, maildrop), "messages": maildrop.messages}}


def one_huge(stage: Stage) -> Iterator[Series]:
    """The memory that one letter of 200 MB takes: polled and indexed by a process that does nothing else."""
    maildrop = stage.ground.maildrop("f", stage.ground.write("huge", letters.huge(HUGE_OCTETS)))
    sizes = {"messages": 1, "octets": maildrop.octets}

    def run_ours(_number: int) -> Runs:
        directory = stage.ground.fresh("huge")
        with Resident(stage.ground.directory / "resident.log") as resident:
            resident.open(directory, {"bench": maildrop})
            polled, stored = resident.poll(), resident.memory()
            indexed = resident.index()
            expect("letters indexed", 1, indexed["messages"])
            expect("octets fetched", maildrop.octets, polled["octets"])
            both = {name: polled[name] + indexed[name] for name in ("wall", "cpu")}
            runs = {
                STORED: {**polled, "memory": stored, **sizes},
                SEARCHABLE: {**both, "memory": resident.memory(), **sizes},
            }
        shutil.rmtree(directory)
        return runs

    def run_theirs(peer: Peer, _number: int) -> Runs:
        directory = stage.ground.fresh("huge")
        done = peers.run(peer, directory, maildrop, memory=True)
        shutil.rmtree(directory)
        return {peer.name: {**done, **sizes}}

    yield stage.take_turns(
        series("f", "peak memory for one letter of 200 MB", "MB"),
        [
            Contestant(names=(STORED, SEARCHABLE), run=run_ours),
            *(Contestant(names=(one.name,), run=partial(run_theirs, one)) for one in stage.beside(peers.MBOX)),
        ],
    )


def fifty_accounts(stage: Stage) -> Iterator[Series]:
    """50 accounts of 100 letters, polled at once by the daemon's hands, and the same letters in one account.

    Then the same by bare sockets, from as many threads: what the server makes of fifty logins is no client's doing.
    """
    kind, each = stage.small(MANY), MANY // ACCOUNTS
    shares = {
        f"g{number}": stage.ground.maildrop(f"g-{number}", kind, slice(number * each, (number + 1) * each))
        for number in range(ACCOUNTS)
    }
    octets = sum(one.octets for one in shares.values())
    shared = Shared(stage, "g-one", kind)
    with stage.resident() as resident:
        stage.warm(resident)

        def run_fifty(_number: int) -> Runs:
            directory = stage.ground.fresh("fifty")
            resident.open(directory, shares)
            polled = resident.poll_all()
            expect("letters archived", MANY, resident.archived())
            expect("octets fetched", octets, polled["octets"])
            stage.tidy(directory)
            return {FIFTY: {**polled, "messages": MANY, "octets": octets}}

        alone = ours(stage, resident, shared, index=False)
        yield stage.take_turns(
            series("g", f"{ACCOUNTS} accounts of {each} small letters, against one of 5,000", "messages/s", ONE),
            [
                Contestant(names=(FIFTY,), run=run_fifty),
                Contestant(names=(ONE,), run=lambda number: {ONE: next(iter(alone.run(number).values()))}),
                *(theirs(stage, peer, shared) for peer in stage.beside(peers.MBOX)),
            ],
        )

    def run_bare(name: str, maildrops: list[Maildrop], _number: int) -> Runs:
        done = bare.visit_all(maildrops, min(POLLS_AT_ONCE, len(maildrops)))
        expect("letters that ended", MANY, done["messages"])
        return {name: {**done, "octets": octets}}

    yield stage.take_turns(
        series("g bare", "the same letters, let go of", "messages/s", BARE_ONE),
        [
            Contestant(names=(BARE_FIFTY,), run=partial(run_bare, BARE_FIFTY, list(shares.values()))),
            Contestant(names=(BARE_ONE,), run=partial(run_bare, BARE_ONE, [shared("", slice(None))])),
        ],
    )


def whole_process(stage: Stage) -> Iterator[Series]:
    """20,000 small letters by the command, from its start until they are searchable."""
    shared = Shared(stage, "h", stage.small(KNOWN))
    yield stage.take_turns(
        series("h", "20,000 small, whole process, loopback", "messages/s"),
        [theirs(stage, peer, shared) for peer in (peers.FETCH, *stage.beside(peers.MBOX))],
    )
