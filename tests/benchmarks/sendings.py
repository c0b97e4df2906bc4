"""The scenarios of sending: what everybody does in turns, round after round, and how we do it as the resident daemon does."""

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from tests.benchmarks import senders
from tests.benchmarks.delay import Proxy
from tests.benchmarks.figures import Series, Unit
from tests.benchmarks.resident import Resident
from tests.benchmarks.scenarios import RTT_MS, SLOW_ROUNDS, Contestant, Runs, expect, take_turn
from tests.benchmarks.senders import Sender
from tests.servers import certificates, child, postfix
from tests.servers.postfix import Postfix
from tests.servers.sink import Sink

MANY, FAR, STREAMED = 2000, 200, 1000  # rows of scenarios i, j, k
FEW: Final = 40  # letters for those who wait for each reply
ONE, FOUR, SIXTEEN = (f"postroom, {count}" for count in ("one connection", "four", "sixteen"))
RAW: Final = "postroom, one connection, raw rows"
CONNECTIONS: Final = {ONE: 1, FOUR: 4, SIXTEEN: 16, RAW: 1}

Counter = Callable[[int], int]  # how many letters a relay has taken, waiting a little for that many


class Stage:
    """What a scenario is given. Use as a context manager; the directory is removed at the end."""

    def __init__(self, directory: Path, *, rounds: int, profile: Path | None, alone: bool) -> None:
        """`alone`: without the others."""
        self.directory, self.rounds, self.profile, self.alone = directory, rounds, profile, alone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory)

    def fresh(self, name: str) -> Path:
        """Make a directory for one run."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))

    def beside(self, *wanted: Sender) -> list[Sender]:
        """Return the senders whose program is on this machine; none if we measure ourselves alone."""
        return [] if self.alone else [one for one in wanted if child.find(one.program)]

    def take_turns(self, series: Series, contestants: list[Contestant]) -> Series:
        """Let everybody run in every round."""
        for number in range(self.rounds):
            for one in contestants:
                if number < one.rounds:
                    take_turn(series, one, number)
        return series


def variables(directory: Path, port: int, connections: int = 1) -> dict[str, str]:
    """Return the environment of a house that sends through a port of loopback."""
    account = "POSTROOM_ACCOUNTS__BENCH__"
    return {
        "POSTROOM_DATABASE_URL": f"sqlite:///{directory}/postroom.db",
        "POSTROOM_LOG_FORMAT": "json",
        "POSTROOM_LOG_LEVEL": "warning",
        f"{account}ADDRESS": senders.SENDER,
        f"{account}SMTP__HOST": "127.0.0.1",
        f"{account}SMTP__PORT": str(port),
        f"{account}SMTP__SECURITY": "plaintext",
        f"{account}SMTP__MAX_CONNECTIONS": str(connections),
    }


def fill(directory: Path, rows: int, *, raw: bool = False) -> None:
    """Drop rows as another program would: text, of which we make the letter, or the letter itself."""
    with closing(sqlite3.connect(directory / "postroom.db", timeout=30)) as database, database:
        if raw:
            statement, values = "INSERT INTO outbox (recipients, raw) VALUES (?, ?)", (senders.letter(),)
        else:
            statement = "INSERT INTO outbox (recipients, subject, body) VALUES (?, ?, ?)"
            values = ("What the house has to say", senders.BODY)  # type: ignore[assignment]
        database.executemany(statement, ((senders.RECIPIENT, *values) for _ in range(rows)))


def ours(stage: Stage, resident: Resident, name: str, port: int, rows: int, count: Counter) -> Contestant:
    """Be the contestant that drains rows of a fresh database."""

    def run(_number: int) -> Runs:
        directory, before = stage.fresh("ours"), count(0)
        resident.open_with(variables(directory, port, CONNECTIONS[name]))
        fill(directory, rows, raw=name == RAW)
        drained = resident.drain()
        expect("rows sent", rows, drained["sent"])
        expect("letters at the relay", rows, count(before + rows) - before)
        shutil.rmtree(directory)
        return {name: {**drained, "messages": rows, "octets": rows * senders.OCTETS}}

    return Contestant(names=(name,), run=run)


def theirs(sender: Sender, port: int, letters: int, count: Counter, rounds: int = sys.maxsize) -> Contestant:
    """Be the contestant that runs another program."""

    def run(_number: int) -> Runs:
        before = count(0)
        seconds = sender.run(port, letters)
        expect(f"letters at the relay, of {sender.name}", letters, count(before + letters) - before)
        return {sender.name: {**seconds, "messages": letters, "octets": letters * senders.OCTETS}}

    return Contestant(names=(sender.name,), run=run, rounds=rounds)


def series(key: str, title: str, reference: str, unit: Unit = "messages/s") -> Series:
    """Begin a series."""
    return Series(key=key, title=title, unit=unit, reference=reference)


def beside(whole: Series, key: str, reference: str, *clients: str) -> Series:
    """Show some of a series again, beside another reference."""
    runs = {one: whole.runs[one] for one in (*clients, reference) if one in whole.runs}
    return Series(key=key, title=f"the same, to {reference}", unit=whole.unit, reference=reference, runs=runs)


def warm(stage: Stage, resident: Resident, port: int) -> None:
    """Let the process have sent once: its code is loaded, its statements are compiled."""
    directory = stage.fresh("warm")
    resident.open_with(variables(directory, port))
    fill(directory, FEW)
    resident.drain()


# --- the scenarios --------------------------------------------------------------------------------------------------


def loopback(stage: Stage) -> Iterator[Series]:
    """2,000 rows into smtp-sink."""
    with Sink() as sink, Resident(stage.directory / "resident.log", stage.profile) as resident:
        warm(stage, resident, sink.port)

        def count(least: int) -> int:
            return sink.count(at_least=least)

        whole = stage.take_turns(
            series("i", f"{MANY:,} of 3 kB, loopback", senders.SOURCE.name),
            [
                *(ours(stage, resident, name, sink.port, MANY, count) for name in (ONE, RAW, FOUR)),
                *(theirs(one, sink.port, MANY, count) for one in stage.beside(senders.SOURCE, senders.SOURCE_4)),
                *(theirs(one, sink.port, MANY, count) for one in stage.beside(senders.SMTPLIB, senders.SMTPLIB_EACH)),
                *(theirs(one, sink.port, FEW, count, SLOW_ROUNDS) for one in stage.beside(senders.MSMTP)),
            ],
        )
    yield whole
    if not stage.alone:
        yield beside(whole, "i smtplib", senders.SMTPLIB.name, ONE)


def far_away(stage: Stage) -> Iterator[Series]:
    """200 rows over 50 ms into smtp-sink: a letter is a round trip at least, which is what DATA costs."""
    with (
        Sink() as sink,
        Proxy(sink.port, RTT_MS) as proxy,
        Resident(stage.directory / "resident.log", stage.profile) as resident,
    ):
        warm(stage, resident, sink.port)

        def count(least: int) -> int:
            return sink.count(at_least=least)

        waiting = stage.beside(senders.SMTPLIB, senders.SMTPLIB_EACH, senders.MSMTP, senders.SOURCE)
        whole = stage.take_turns(
            series("j", f"{FAR} of 3 kB, round trip {RTT_MS:.0f} ms, DATA", senders.SMTPLIB.name),
            [
                *(ours(stage, resident, name, proxy.port, FAR, count) for name in (ONE, FOUR, SIXTEEN)),
                *(theirs(one, proxy.port, FEW, count, SLOW_ROUNDS) for one in waiting),
                *(theirs(one, proxy.port, 4 * FEW, count, SLOW_ROUNDS) for one in stage.beside(senders.SOURCE_4)),
            ],
        )
    yield whole
    yield beside(whole, "j one", ONE, FOUR, SIXTEEN)


def far_postfix(stage: Stage) -> Iterator[Series]:
    """1,000 rows over 50 ms into a Postfix that throws them away once it has queued them."""
    if (why_not := postfix.why_not()) is not None:
        print(f"(k) left out: {why_not}", file=sys.stderr)
        return
    made = certificates.make(stage.fresh("certificates"))
    with (
        Postfix(made, stage.directory / "no-logins-here", discards=True) as server,
        Proxy(server.plain_port, RTT_MS) as proxy,
        Resident(stage.directory / "resident.log", stage.profile) as resident,
    ):
        warm(stage, resident, server.plain_port)
        server.discarded(FEW)
        yield stage.take_turns(
            series("k", f"{STREAMED:,} of 3 kB, round trip {RTT_MS:.0f} ms, Postfix", senders.SMTPLIB.name),
            [
                ours(stage, resident, ONE, proxy.port, STREAMED, server.discarded),
                *(theirs(one, proxy.port, FEW, server.discarded, SLOW_ROUNDS) for one in stage.beside(senders.SMTPLIB)),
            ],
        )
