"""Ourselves as the daemon is: a process that stays, with its modules loaded and its database open, and polls when told to.

As a program (`python -m tests.benchmarks.resident`) it composes settings, database and context as `daemon.app` does and
answers one JSON object a line with another; `Resident` is the other end. What is timed is timed inside: `wall` and `cpu`
are seconds of `jobs.poll.poll`, from the connection to the recorded QUIT, of `jobs.index.index`, and of the daemon's hands that
drain, until all have come back.
"""

import cProfile
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from tests.benchmarks.ground import PASSWORD, Maildrop


class Failed(Exception):
    """A run that did not do what it should: a wrong count, or an error; the message says which."""


def variables(directory: Path, maildrops: dict[str, Maildrop], **more: str) -> dict[str, str]:
    """Return the environment of a house with these accounts, its database in the directory. more: of each POP3 account."""
    found = {
        "POSTROOM_DATABASE_URL": f"sqlite:///{directory}/postroom.db",
        "POSTROOM_LOG_FORMAT": "json",
        "POSTROOM_LOG_LEVEL": "warning",
    }
    for name, maildrop in maildrops.items():
        prefix = f"POSTROOM_ACCOUNTS__{name.upper()}__"
        found[f"{prefix}ADDRESS"] = f"{name}@example.org"
        values = {
            "HOST": "localhost",
            "PORT": str(maildrop.port),
            "SECURITY": "tls" if maildrop.ca_file else "plaintext",
            "USERNAME": maildrop.user,
            "PASSWORD": PASSWORD,
            **({"CA_FILE": str(maildrop.ca_file)} if maildrop.ca_file else {}),
            **more,
        }
        found |= {f"{prefix}POP3__{key}": value for key, value in values.items()}
    return found


class Resident:
    """The process, from outside. Use as a context manager."""

    def __init__(self, log: Path, profile: Path | None = None) -> None:
        """`profile`: a directory; every poll and every index run leaves a cProfile file there, and is slower."""
        self._profile = str(profile) if profile else None
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.resident"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def open(self, directory: Path, maildrops: dict[str, Maildrop], **more: str) -> None:
        """Let go of the database before, and open a new one (or the one that is there)."""
        self._ask("open", variables=variables(directory, maildrops, **more))

    def open_with(self, found: dict[str, str]) -> None:
        """The same, with these variables."""
        self._ask("open", variables=found)

    def drain(self) -> dict[str, Any]:
        """Send all that is due, on as many connections as the settings give; the answer has wall, cpu, sent."""
        return self._ask("drain", profile=self._profile)

    def poll(self, account: str = "bench") -> dict[str, Any]:
        """Visit the account's maildrop; the answer has wall, cpu, fetched, new, octets, deleted."""
        return self._ask("poll", account=account, profile=self._profile)

    def poll_all(self) -> dict[str, Any]:
        """Ask the daemon's hands for a visit of every account at once; the answer has wall, cpu, fetched, octets, deleted."""
        return self._ask("poll_all")

    def index(self) -> dict[str, Any]:
        """Make searchable what came; the answer has wall, cpu, messages."""
        return self._ask("index", profile=self._profile)

    def memory(self) -> int:
        """Return the most memory that the process has had resident, in octets."""
        return int(self._ask("memory")["octets"])

    def archived(self) -> int:
        """Return how many messages the database holds."""
        return int(self._ask("archived")["messages"])

    def _ask(self, do: str, **words: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.sync()
        self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the resident ended: {self._log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


# --- the process itself ---------------------------------------------------------------------------------------------


class _House:
    """Holds the open database between questions."""

    def __init__(self) -> None:
        self.settings: Any = None
        self.database: Any = None
        self.context: Any = None

    def open(self, variables: dict[str, str]) -> dict[str, Any]:
        from daemon import app, settings

        if self.database is not None:
            self.database.dispose()
        self.settings = settings.load(variables, dotenv=None)
        app.configure_trace(self.settings)
        self.database = app.open_database(self.settings)
        self.context = app.context_of(self.settings, self.database)
        app.share_heaps()
        app.settle()
        return {}

    def poll(self, account: str, profile: str | None) -> dict[str, Any]:
        from daemon.jobs import poll

        with _Timed(profile, "poll") as timed:
            result = poll.poll(self.settings.accounts[account], self.context)
        if result.error is not None:
            raise Failed(f"poll of {account}: {result.error}")
        return {**timed.seconds, **_counts([result])}

    def poll_all(self) -> dict[str, Any]:
        from daemon import hands as pool
        from daemon import schedule
        from daemon.jobs import poll

        accounts = list(self.settings.accounts.values())
        context = replace(self.context, stop=threading.Event())
        hands = pool.Hands(context, min(schedule.POLLS_AT_ONCE, len(accounts)))
        results: list[Any] = []
        done = threading.Semaphore(0)

        def visiting(account: Any) -> Callable[[Any], None]:
            def visit(given: Any) -> None:
                try:
                    results.append(poll.poll(account, given))
                finally:
                    done.release()

            return visit

        for account in accounts:
            hands.register(account.name, visiting(account), 600.0)
        with _Timed(None, "poll_all") as timed:
            for account in accounts:
                hands.ask(account.name)
            for _account in accounts:
                done.acquire()
        context.stop.set()
        hands.stop(5.0)
        failed = [f"{one.account}: {one.error}" for one in results if one.error is not None]
        if failed or len(results) != len(accounts):
            raise Failed(f"{len(failed)} of {len(accounts)} polls failed, {failed[:1]}")
        return {**timed.seconds, **_counts(results)}

    def drain(self, profile: str | None) -> dict[str, Any]:
        from daemon import schedule
        from daemon.hands import Hands
        from daemon.jobs import drain, routing

        accounts = self.settings.accounts
        while routing.route(self.context, accounts):
            pass
        (account,) = accounts.values()
        names = [job.name for job in schedule._jobs_of(account) if job.kind != "poll"]
        context = replace(self.context, stop=threading.Event())
        hands, done, results = Hands(context, len(names)), threading.Semaphore(0), []

        def visit(given: Any) -> None:
            try:
                with _Timed(profile, "drain"):  # a profile is of the thread that it is made in
                    results.append(drain.drain(account, given))
            finally:
                done.release()

        for name in names:
            hands.register(name, visit, 600.0)
        with _Timed(None, "drain") as timed:
            for name in names:
                hands.ask(name)
            for _name in names:
                done.acquire()
        context.stop.set()
        hands.stop(5.0)
        failed = [str(one.error) for one in results if one.error is not None]
        if failed or len(results) != len(names):
            raise Failed(f"{len(failed)} of {len(names)} drains failed, {failed[:1]}")
        return {**timed.seconds, "sent": sum(one.sent for one in results)}

    def index(self, profile: str | None) -> dict[str, Any]:
        from daemon.jobs import index

        context = self.context
        with _Timed(profile, "index") as timed:
            done = index.index(self.database, now=context.clock, stop=context.stop, progress=context.pulse)
        return {**timed.seconds, "messages": done.messages}

    def memory(self) -> dict[str, Any]:
        # Not getrusage: its maximum survives exec and would be that of whoever started us.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return {"octets": int(status.partition("VmHWM:")[2].split()[0]) * 1024}

    def archived(self) -> dict[str, Any]:
        with self.database.reading() as conn:
            return {"messages": conn.exec_driver_sql("SELECT count(*) FROM messages").scalar_one()}


def _counts(results: list[Any]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in results) for name in ("fetched", "new", "octets", "deleted")}


class _Timed:
    """Wall and CPU seconds of the block, of all threads; with a profile when a directory is given."""

    def __init__(self, profile: str | None, name: str) -> None:
        self._directory, self._name = profile, name
        self._profile = cProfile.Profile() if profile else None
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        if self._profile:
            self._profile.enable()
        return self

    def __exit__(self, *_: object) -> None:
        if self._profile:
            self._profile.disable()
            self._profile.dump_stats(f"{self._directory}/{self._name}-{time.time_ns()}.prof")
        self.seconds = {"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


QUESTIONS: Final = ("open", "drain", "poll", "poll_all", "index", "memory", "archived")


def main() -> None:
    """Answer questions until there are no more."""
    house = _House()
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        assert do in QUESTIONS
        try:
            answer = getattr(house, do)(**question)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other end says it in the table
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    if house.database is not None:
        with suppress(Exception):
            house.database.dispose()


if __name__ == "__main__":
    main()
