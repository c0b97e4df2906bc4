"""The scenarios: what everybody does in turns, round after round, and how we do it as the resident daemon does.

Each is a function that is given the stage and yields its series when they are complete. A wrong count is an error, and is
kept as one. The reference is mpop writing an mbox: it syncs each letter, and needs no file for each.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import letters, peers
from tests.benchmarks.delay import Proxy
from tests.benchmarks.figures import Series, Unit
from tests.benchmarks.ground import Ground, Letters, Maildrop
from tests.benchmarks.peers import Peer
from tests.benchmarks.resident import Failed, Resident
from tests.servers import child

STORED: Final = "postroom, stored"
SEARCHABLE: Final = "postroom, until searchable"
MANY, FEW, KNOWN = 5000, 500, 20_000
MIXED: Final = 300
HUGE_OCTETS: Final = 200_000_000
RTT_MS: Final = 50.0
ACCOUNTS: Final = 50
SLOW_ROUNDS: Final = 2  # for clients that need a hundred times as long
FILES_LEFT: Final = 100  # a directory with more is removed only at the very end: see ground
DELETE: Final = {"DELETE": "after_fetch"}

Runs = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One who takes part in every round. run: number of the round -> a run under each name."""

    names: tuple[str, ...]
    run: Callable[[int], Runs]
    rounds: int = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a scenario is given."""

    ground: Ground
    rounds: int
    profile: Path | None
    alone: bool

    def beside(self, *wanted: Peer) -> list[Peer]:
        """Return the peers whose program is on this machine; none if we measure ourselves alone."""
        return [] if self.alone else [peer for peer in wanted if child.find(peer.program)]

    def resident(self) -> Resident:
        """Start the process that we are; not warm."""
        return Resident(self.ground.directory / "resident.log", self.profile)

    def small(self, count: int) -> Letters:
        """Return small letters."""
        return self.ground.write(f"small-{count}", letters.small(count, seed=count))

    def warm(self, resident: Resident) -> None:
        """Let the process have polled and indexed once: its code is loaded, its statements are compiled."""
        maildrop = self.ground.maildrop("warm", self.small(FEW)) if not self._is_filled("warm") else None
        maildrop = maildrop or self.ground.maildrop("warm", self.small(FEW), slice(0, 0))
        resident.open(self.ground.fresh("warm"), {"bench": maildrop})
        resident.poll()
        resident.index()

    def _is_filled(self, user: str) -> bool:
        return (self.ground.server.mail / user).exists()

    def take_turns(self, series: Series, contestants: list[Contestant]) -> Series:
        """Let everybody run in every round."""
        for number in range(self.rounds):
            for one in contestants:
                if number < one.rounds:
                    take_turn(series, one, number)
        return series

    def tidy(self, directory: Path) -> None:
        """Remove what a run left, unless it is many files."""
        if sum(1 for _ in directory.rglob("*")) < FILES_LEFT:
            shutil.rmtree(directory)


def take_turn(series: Series, contestant: Contestant, number: int) -> None:
    """Let one run, and note it."""
    try:
        runs = contestant.run(number)
    except Failed as error:
        runs = {name: {"error": str(error)} for name in contestant.names}
    for name, run in runs.items():
        series.note(name, run)
        shown = run.get("error") or f"{run['wall']:.3f} s, CPU {run['cpu']:.3f} s"
        print(f"({series.key}) round {number + 1}: {name}: {shown}", file=sys.stderr)


def expect(what: str, expected: int, found: int) -> None:
    """Fail a run whose count is wrong."""
    if expected != found:
        raise Failed(f"{what}: {found}, not {expected}")


# --- contestants ----------------------------------------------------------------------------------------------------


def ours(
    stage: Stage,
    resident: Resident,
    fill: Callable[[str, slice], Maildrop],
    *,
    delete: bool = False,
    visited: bool = False,
    index: bool = True,
    key: str = "",
) -> Contestant:
    """Be the contestant that polls a maildrop into a fresh database.

    fill: (a name of its own for each round, which letters) -> maildrop.  visited: the account was visited before, empty.
    """

    def run(number: int) -> Runs:
        user, directory = f"{key}-ours-{number}", stage.ground.fresh("ours")
        maildrop = fill(user, slice(0, 0) if visited else slice(None))
        resident.open(directory, {"bench": maildrop}, **(DELETE if delete else {}))
        if visited:
            expect("fetched from an empty maildrop", 0, resident.poll()["fetched"])
            maildrop = fill(user, slice(None))
        sizes = {"messages": maildrop.messages, "octets": maildrop.octets}
        polled = resident.poll()
        expect("letters archived", maildrop.messages, resident.archived())
        expect("octets fetched", maildrop.octets, polled["octets"])
        if delete:
            expect("letters deleted", maildrop.messages, polled["deleted"])
            expect("letters left on the server", 0, len(stage.ground.uidls(maildrop.user)))
        runs = {STORED: {**polled, **sizes}}
        if index:
            indexed = resident.index()
            expect("letters indexed", maildrop.messages, indexed["messages"])
            both = {name: polled[name] + indexed[name] for name in ("wall", "cpu")}
            runs[SEARCHABLE] = {**both, **sizes}
        stage.tidy(directory)
        return runs

    return Contestant(names=(STORED, SEARCHABLE) if index else (STORED,), run=run)


def theirs(
    stage: Stage, peer: Peer, fill: Callable[[str, slice], Maildrop], *, delete: bool = False, key: str = ""
) -> Contestant:
    """Be the contestant that runs a peer; a slow one on the first letters only."""

    def run(number: int) -> Runs:
        directory = stage.ground.fresh("peer")
        part = slice(0, FEW) if peer.is_slow else slice(None)
        maildrop = fill(f"{key}-{peer.program.rpartition('/')[2]}-{number}", part)
        done = peers.run(peer, directory, maildrop, delete=delete)
        if delete:
            expect("letters left on the server", 0, len(stage.ground.uidls(maildrop.user)))
        stage.tidy(directory)
        return {peer.name: {**done, "messages": maildrop.messages, "octets": maildrop.octets}}

    return Contestant(names=(peer.name,), run=run, rounds=SLOW_ROUNDS if peer.is_slow else sys.maxsize)


class Shared:
    """A maildrop that everybody reads and nobody changes: filled at the first use of a part."""

    def __init__(self, stage: Stage, name: str, kind: Letters, *, tls: bool = False, port: int | None = None) -> None:
        self._stage, self._name, self._kind, self._tls, self._port = stage, name, kind, tls, port
        self._filled: dict[str, Maildrop] = {}

    def __call__(self, _user: str, part: slice) -> Maildrop:
        user = f"{self._name}-{part.stop or 'all'}"  # in lower case, as Dovecot has it
        if user not in self._filled:
            self._filled[user] = self._stage.ground.maildrop(user, self._kind, part, tls=self._tls, port=self._port)
        return self._filled[user]


def series(key: str, title: str, unit: Unit, reference: str = peers.MBOX.name) -> Series:
    """Begin a series."""
    return Series(key=key, title=title, unit=unit, reference=reference)


# --- the scenarios --------------------------------------------------------------------------------------------------


def many_small(stage: Stage, key: str = "a", where: str = "loopback", *, tls: bool = False) -> Iterator[Series]:
    """5,000 small letters; then with their deletion, from a fresh maildrop each time."""
    kind = stage.small(MANY)
    beside = stage.beside(peers.MBOX, peers.MAILDIR, *([] if tls else [peers.FETCHMAIL, peers.GETMAIL]))
    with stage.resident() as resident:
        stage.warm(resident)
        shared = Shared(stage, f"{key}-keep", kind, tls=tls)
        yield stage.take_turns(
            series(key, f"5,000 small, {where}", "messages/s"),
            [ours(stage, resident, shared), *(theirs(stage, peer, shared) for peer in beside)],
        )

        def fresh(user: str, part: slice) -> Maildrop:
            return stage.ground.maildrop(user, kind, part, tls=tls)

        yield stage.take_turns(
            series(f"{key} delete", f"the same, deleted afterwards, {where}", "messages/s"),
            [
                ours(stage, resident, fresh, delete=True, key=f"{key}-delete"),
                *(theirs(stage, one, fresh, delete=True, key=f"{key}-delete") for one in stage.beside(peers.MBOX)),
            ],
        )


def many_small_tls(stage: Stage) -> Iterator[Series]:
    """5,000 small letters over implicit TLS."""
    return many_small(stage, "d", "TLS", tls=True)


def with_attachments(stage: Stage) -> Iterator[Series]:
    """300 letters of 150 MB together."""
    shared = Shared(stage, "b", stage.ground.write("mixed", letters.mixed(MIXED)))
    with stage.resident() as resident:
        stage.warm(resident)
        yield stage.take_turns(
            series("b", "300 with attachments, 150 MB, loopback", "MB/s"),
            [
                ours(stage, resident, shared),
                *(theirs(stage, peer, shared) for peer in stage.beside(peers.MBOX, peers.MAILDIR)),
            ],
        )


def far_away(stage: Stage) -> Iterator[Series]:
    """500 small letters over a round trip of 50 ms, from a server that we know."""
    kind = stage.small(FEW)
    with Proxy(stage.ground.server.pop3_port, RTT_MS) as proxy, stage.resident() as resident:
        stage.warm(resident)
        shared = Shared(stage, "c", kind, port=proxy.port)

        def fresh(user: str, part: slice) -> Maildrop:
            return stage.ground.maildrop(user, kind, part, port=proxy.port)

        yield stage.take_turns(
            series("c", f"500 small, round trip {RTT_MS:.0f} ms", "messages/s"),
            [
                ours(stage, resident, fresh, visited=True, key="c"),
                *(theirs(stage, peer, shared) for peer in stage.beside(peers.MBOX)),
            ],
        )
