"""What befalls the whole house now and then, and its end: the resolver, the disk, a lock, the clock, a reload, a server that starts anew.

Each disaster begins at one simulated hour and lasts real seconds; `Disasters.mend` ends them all.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.secrets_used import PASSWORD
from tests.servers import mounted
from tests.soak.world import World

SHARE: Final = 0.2  # of the hours in which one of them begins
LONGEST_LOCK_SECONDS: Final = 7.0  # longer than a writer waits
COMMAND_SECONDS: Final = 60.0


class Disasters:
    """One house and what befalls it. order: tells the process something on its stdin."""

    def __init__(
        self, world: World, house: subprocess.Popen[str], database: Path, order: Callable[[str], None]
    ) -> None:
        self._world, self._house, self._database, self._order = world, house, database, order
        self.counted: Counter[str] = Counter()
        self._under_way: list[threading.Thread] = []
        self._jumped = 0.0
        self._kinds: dict[str, Callable[[], None]] = {
            "no names": self._no_names,
            "database locked": self._locked,
            "clock set": self._clock,
            "server restarted": self._restart,
            "password refused": self._password,
            "reload": self._reload,
            "UIDLs changed": self._renumber,
        }
        if mounted.is_one(database.parent):
            self._kinds["disk full"] = self._full

    def maybe(self, share: float) -> None:
        """Let one begin, or none; none while another is under way. share: of the calls in which one does."""
        self._under_way = [one for one in self._under_way if one.is_alive()]
        if self._under_way or self._world.random.random() >= share:
            return
        name = self._world.random.choice(sorted(self._kinds))
        self.counted[name] += 1
        thread = threading.Thread(target=self._kinds[name], name=name)
        thread.start()
        self._under_way.append(thread)

    def mend(self) -> None:
        """Wait for the end of what is under way; set the clock right."""
        for thread in self._under_way:
            thread.join()
        self._order(f"jump {-self._jumped}")
        self._jumped = 0.0

    def _wait(self, shortest: float, longest: float) -> None:
        time.sleep(self._world.random.uniform(shortest, longest))

    def _no_names(self) -> None:
        self._order("names off")
        self._wait(1, 4)
        self._order("names on")

    def _locked(self) -> None:
        connection = sqlite3.connect(self._database, timeout=1, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._wait(0.5, LONGEST_LOCK_SECONDS)
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            self.counted["database locked"] -= 1  # the house was quicker
        finally:
            connection.close()

    def _full(self) -> None:
        ballast = self._database.with_name("ballast")
        with ballast.open("wb") as file:
            room = os.statvfs(ballast)
            while room.f_bavail:
                with contextlib.suppress(OSError):  # the house took some of it meanwhile
                    os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END) + room.f_bavail * room.f_frsize)
                room = os.statvfs(ballast)
            self._wait(1, 3)
        ballast.unlink()

    def _clock(self) -> None:
        hours = self._world.random.uniform(-6, 6)
        self._jumped += hours * 3600
        self._order(f"jump {hours * 3600}")

    def _restart(self) -> None:
        server = self._world.random.choice((self._world.pop3, self._world.smtp))
        server.stop()
        self._wait(0.2, 2)
        server.start()

    def _password(self) -> None:
        """A password is changed on the server, polling stops, it is changed back, and the operator says so."""
        name = self._world.random.choice(self._world.accounts)
        maildrop = self._world.pop3.maildrop(name)
        maildrop.password = f"not {PASSWORD}"
        self._wait(3, 5)
        maildrop.password = PASSWORD
        retry(self._house, self._database.parent, name)

    def _reload(self) -> None:
        """An account is taken out of the settings, and comes back."""
        name = self._world.random.choice(self._world.accounts)
        for left_out in (name, None):
            settings = self._world.settings(f"sqlite:///{self._database}", left_out=left_out)
            self._database.with_name(".env").write_text(settings, encoding="utf-8")
            self._house.send_signal(signal.SIGHUP)
            self._wait(1, 3)

    def _renumber(self) -> None:
        """A server is restored from a copy: every UIDL of a maildrop is another."""
        name = self._world.random.choice(self._world.accounts)
        self._world.pop3.maildrop(name).renumber(f"{self.counted['UIDLs changed']}-")


def retry(house: subprocess.Popen[str], folder: Path, name: str) -> None:
    """Say `postroom retry`, as an operator would; again if the database is locked or full just then."""
    until = time.monotonic() + COMMAND_SECONDS
    while house.poll() is None and time.monotonic() < until:
        said = subprocess.run(
            [sys.executable, "-m", "daemon", "retry", name],
            cwd=folder,
            capture_output=True,
            check=False,
            env=environment(),
        )
        if said.returncode == 0:
            return
        time.sleep(0.5)


def environment() -> dict[str, str]:
    """Give what the house's processes are given: no settings but those in `.env`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])}
