"""What systemd is told (sd_notify(3)): READY, STATUS, WATCHDOG, RELOADING, STOPPING; and that no core is dumped.

The protocol is one datagram to the socket that NOTIFY_SOCKET names; without that variable everything here does nothing.
The watchdog is fed by evidence of progress, not by a thread that happens to be alive: the caller says whether the clock
ticks and all jobs get on.
"""

import ctypes
import resource
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

PATIENCE_SECONDS: Final = 1.0  # with a manager that does not read
PR_SET_DUMPABLE: Final = 4  # prctl(2)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager; `address` is a path, or `@name` for an abstract socket; None: nobody listens."""

    address: str | None

    @property
    def is_heard(self) -> bool:
        """Tell whether there is a service manager."""
        return self.address is not None

    def _tell(self, text: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(PATIENCE_SECONDS)
                channel.connect(address)
                channel.send(text.encode())
        except OSError:
            # A manager that went away must not take the mail with it; systemd will notice the missing message itself.
            return

    def ready(self, status: str) -> None:
        """Say that the start-up is complete: the database is migrated and the clock runs."""
        self._tell(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._tell(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for more time, from now on, than TimeoutStartSec or TimeoutStopSec give."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def reloading(self) -> None:
        """Say that the settings are being read again; READY ends it. The time lets systemd tell this reload from another."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the settings again")

    def stopping(self, grace_seconds: float) -> None:
        """Say that sessions are being ended, and ask for the time that takes."""
        self._tell(f"STOPPING=1\nSTATUS=ending sessions\nEXTEND_TIMEOUT_USEC={int(grace_seconds * 1_000_000)}")


def forbid_core_dumps() -> None:
    """Never let this process's memory, which holds passwords and mail, become a file.

    RLIMIT_CORE does not hold where cores are piped to a program (core(5)); not being dumpable does (prctl(2)), and also keeps
    other processes of the same user from reading the memory. Root still can.
    """
    with suppress(OSError):  # a filter of system calls may forbid it; who sets one sets LimitCORE, too
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
