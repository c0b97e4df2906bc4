"""Who holds a lease: a process, named so that others on its machine can tell whether it still lives.

A killed daemon's leases are then free at once, not when they run out. Linux only knows: the same host, boot and pid
namespace, and a process of that number that started at that tick. Of any other owner only the lease's time is known.
"""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self


@cache
def _place() -> tuple[str, str, str]:
    """Give host, boot and pid namespace; "-" for what this system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        boot = namespace = "-"
    return socket.gethostname().replace("/", "_"), boot, namespace


def _started(pid: int) -> str | None:
    """Give the tick at which a living process started, None if there is none of that number; "-" where nobody can tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "-" if _exists(pid) else None
    except OSError:
        return "-"
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in {"Z", "X"} else fields[19]  # state (3rd) and starttime (22nd), proc(5)


def _exists(pid: int) -> bool:
    """Tell whether there is a process: under ProtectProc=invisible /proc hides those of other users, kill(2) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process as the holder of leases; `str()` is what the tables hold."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """Name this process."""
        host, boot, namespace = _place()
        pid = os.getpid()
        return cls(host=host, boot=boot, namespace=namespace, pid=pid, started=_started(pid) or "-")

    def __str__(self) -> str:
        """Give host/boot/namespace/pid/start."""
        return f"{self.host}/{self.boot}/{self.namespace}/{self.pid}/{self.started}"


def is_dead(owner: str) -> bool:
    """Tell whether that owner surely lives no more; False where it can't be known."""
    parts = owner.split("/")
    if len(parts) != 5 or not parts[3].isdigit():
        return False
    host, boot, namespace, pid, started = parts
    if "-" in {boot, namespace, started} or (host, boot, namespace) != _place():
        return False
    now = _started(int(pid))
    return now is None or now not in {"-", started}
