"""What systemd is told (sd_notify(3)): READY, STATUS, WATCHDOG, STOPPING; and when the watchdog may be fed.

The protocol is one datagram to the socket that NOTIFY_SOCKET names; without that variable everything here does nothing.
The watchdog is fed by evidence of progress, not by a thread that happens to be alive: the caller says whether the clock
ticks and no job is overdue.
"""

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager; `address` is a path, or `@name` for an abstract socket; None: nobody listens."""

    address: str | None

    def _tell(self, text: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
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

    def stopping(self, grace_seconds: float) -> None:
        """Say that sessions are being ended, and ask for the time that takes."""
        self._tell(f"STOPPING=1\nSTATUS=ending sessions\nEXTEND_TIMEOUT_USEC={int(grace_seconds * 1_000_000)}")
