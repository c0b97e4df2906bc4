"""A machine of the tests' own: this one's files under an overlay, booted by a real systemd in a container (systemd-nspawn).

Nothing that is written in it reaches this machine; its network is its own loopback. Needs root. Ended by its own poweroff,
else by the pid of the process that was started here; the mounts are taken away in any case.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from tests.servers import child
from tests.servers.child import ServerError

BOOT_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 60.0  # for what a test waits for in it; two cores may be busy with seven others
CLONE_NEWNET: Final = 0x40000000  # setns(2)
# What would hold a boot up that has no network, and what this machine may have installed and the test does not want.
MASKED: Final = (
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    "systemd-resolved.service",
)


def why_not() -> str | None:
    """Say why no machine can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    missing = [tool for tool in ("systemd-nspawn", "nsenter") if child.find(tool) is None]
    if missing:
        return f"{missing[0]} is not installed"
    place = child.directory("mount")
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "postroom-try", str(place)], capture_output=True, check=False)
        if mounted.returncode:
            return "root may not mount here"
        subprocess.run(["umount", str(place)], check=True)
    finally:
        place.rmdir()
    return None


class Machine:
    """A booted container; `root` is its file system as seen from here."""

    def __init__(self) -> None:
        self.directory = child.directory("machine")
        self.root, self._upper = self.directory / "root", self.directory / "upper"
        self._mounted: list[Path] = []
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        try:
            self._mount()
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- up and down ----------------------------------------------------------------------------------------------------

    def _mount(self) -> None:
        for place in (self.root, self._upper):
            place.mkdir()
        self._mount_one("-t", "tmpfs", "-o", "mode=0755", "postroom-machine", at=self._upper)
        for name in ("files", "work"):
            (self._upper / name).mkdir()
        layers = f"lowerdir=/,upperdir={self._upper}/files,workdir={self._upper}/work"
        self._mount_one("-t", "overlay", "-o", layers, "postroom-machine", at=self.root)
        for name in MASKED:
            unit = self.root / "etc/systemd/system" / name
            unit.unlink(missing_ok=True)
            unit.symlink_to("/dev/null")

    def _mount_one(self, *words: str, at: Path) -> None:
        done = subprocess.run(["mount", *words, str(at)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"mount {' '.join(words)}: {done.stderr}")
        self._mounted.insert(0, at)

    def _boot(self) -> None:
        log = self.directory / "boot.log"
        words = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--timezone=off"]
        words += ["--link-journal=no", "--console=pipe", f"--machine=postroom-{os.getpid()}"]
        with log.open("wb") as output:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", f"--directory={self.root}", *words, "--boot", "systemd.unit=basic.target"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )

        def is_up() -> bool:
            assert self._nspawn is not None
            if self._nspawn.poll() is not None:
                raise ServerError(f"systemd-nspawn ended\n{log.read_text(errors='replace')[-2000:]}")
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text(encoding="ascii")
            self._init = int((children.split() or ["0"])[0])
            return bool(self._init) and self.run("systemctl", "is-active", "basic.target", check=False) == "active\n"

        self.wait_for(is_up, "the machine is up", seconds=BOOT_SECONDS)

    def close(self) -> None:
        """Turn it off, and leave nothing behind; safe to call twice."""
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is not None and nspawn.poll() is None:
            if self._init:
                self.run("systemctl", "poweroff", "--force", check=False)
            try:
                nspawn.wait(child.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if self._init:
                    os.kill(self._init, signal.SIGKILL)  # with the first process of a pid namespace all of it ends
                nspawn.kill()
                nspawn.wait()
        while self._mounted:
            subprocess.run(["umount", "--lazy", str(self._mounted.pop(0))], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- in it ------------------------------------------------------------------------------------------------------

    def run(self, *command: str | Path, user: str | None = None, stdin: str = "", check: bool = True) -> str:
        """Run a command in it, as root or as `user`; return what it printed, both ways; AssertionError if it failed."""
        words = [
            "nsenter",
            "--target",
            str(self._init),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--",
        ]
        words += ["runuser", "-u", user, "--"] if user else []
        done = subprocess.run(
            [*words, *map(str, command)],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=5 * PATIENCE_SECONDS,
            check=False,
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into it, as its root would."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def unit(self, name: str, field: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", name, f"--property={field}", "--value").strip()

    @contextmanager
    def network(self) -> Iterator[None]:
        """Be in its network for the block, with this thread: a socket that is made here belongs there for its life."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open("rb") as ours, Path(f"/proc/{self._init}/ns/net").open("rb") as its:
            if libc.setns(its.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(ours.fileno(), CLONE_NEWNET):
                    os._exit(70)  # a thread in a network that is going away would fail every test behind this one

    @staticmethod
    def wait_for(happened: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it happened; AssertionError says what did not."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, f"did not happen: {what}"
            time.sleep(0.05)
