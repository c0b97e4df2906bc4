"""Where copies of messages go: eml files, a Maildir, one mbox, one file of JSON lines. Each can be gone on with after a kill.

A file has its name only once it is whole. While an export is under way, a journal beside it says what is being exported and how
far it is safe on the disk; whoever comes next goes on behind that, if it is the same export. Octets come in parts and are never
held whole. Raises InputInvalid for a place that is not ours to write, Busy if another process is at it.
"""

import base64
import fcntl
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

from daemon import errors
from daemon.mail import mbox
from daemon.store.export import Copy

SYNCED_FILES: Final = 200  # open at once, far below what a process may have
SYNCED_OCTETS: Final = 32 * 1024 * 1024
SYNCING_THREADS: Final = (
    8  # seven times as fast as one after another on a disk that was measured; more threads give little
)
MAX_NAME_CHARACTERS: Final = 60  # of a subject in a file name: directories are read by people
_UNFIT: Final = re.compile(r"[^\w.@+-]+")
_NUMBERED: Final = re.compile(r"(\d+)(?:-.*)?\.eml")

Columns = Callable[[], dict[str, Any]]


class Destination(Protocol):
    """A place under way."""

    def wants(self, message: int) -> bool:
        """Tell whether this message is not there yet."""

    def write(self, copy: Copy, columns: Columns) -> bool:
        """Add a message, or tell by False that it is there. columns: asked only where they are written."""

    def save(self) -> None:
        """Make what was written so far safe."""

    def finish(self) -> None:
        """Let it be whole: under its own name, without a journal."""

    def close(self) -> None:
        """Let go of it, finished or not."""


def open_destination(form: str, path: Path, purpose: dict[str, Any]) -> Destination:
    """Begin, or go on with what was begun for the same purpose. purpose: what is exported, for the journal."""
    makers: dict[str, Callable[[Path, dict[str, Any]], Destination]] = {
        "eml": EmlFiles,
        "mbox": Mbox,
        "maildir": Maildir,
        "jsonl": JsonLines,
    }
    if form not in makers:
        raise errors.InputInvalid(f"format: {form} is not known; {', '.join(makers)} are")
    return makers[form](path, purpose)


class Journal:
    """How far an export is. Held locked, so that no two processes write one destination."""

    def __init__(self, path: Path, purpose: dict[str, Any]) -> None:
        """Open or begin it. `is_new` tells which."""
        self._path, self._purpose = path, purpose
        self._lock = path.open("a+b")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise errors.Busy(f"{path}: another postroom is exporting there") from error
        self._lock.seek(0)
        text = self._lock.read()
        # Each state is a line of its own; one that a kill cut short does not count.
        self._lock.truncate(text.rfind(b"\n") + 1)
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        self.is_new = not lines
        self.state: dict[str, int] = json.loads(lines[-1]) if len(lines) > 1 else {}
        if lines and json.loads(lines[0]) != purpose:
            self.close()
            raise errors.InputInvalid(
                f"{path}: an unfinished export of something else is there; finish it with the same words, or delete it"
            )
        if self.is_new:
            self._append(purpose)

    def _append(self, line: dict[str, Any]) -> None:
        self._lock.write(json.dumps(line).encode() + b"\n")
        self._lock.flush()
        os.fsync(self._lock.fileno())

    def note(self, **state: int) -> None:
        """Write down a state."""
        self._append(state)

    def remove(self) -> None:
        """Take it away: it is over."""
        with suppress(FileNotFoundError):
            self._path.unlink()

    def close(self) -> None:
        """Let the lock go."""
        self._lock.close()


def _refuse(path: Path) -> None:
    if path.exists():
        raise errors.InputInvalid(f"{path} is there already; nothing is overwritten")


class _Pending:
    """Files that are written, and get their names once they are safe, many at once: a disk syncs some for the time of one."""

    def __init__(self) -> None:
        """Nothing waits yet."""
        self._files: list[tuple[IO[bytes], Path, Path]] = []
        self._octets = 0

    def write(self, part: Path, path: Path, octets: Iterable[bytes]) -> None:
        """Write a file under a name that is not its own yet."""
        file = part.open("wb")
        self._files.append((file, part, path))
        try:
            file.writelines(octets)
            file.flush()
        except BaseException:
            self._files.pop()
            file.close()
            with suppress(OSError):
                part.unlink()
            raise
        self._octets += file.tell()
        if len(self._files) >= SYNCED_FILES or self._octets >= SYNCED_OCTETS:
            self.settle()

    def settle(self) -> None:
        """Sync what waits, then name it."""
        if self._files:
            with ThreadPoolExecutor(SYNCING_THREADS, "export-sync") as threads:
                list(threads.map(os.fsync, [file.fileno() for file, _, _ in self._files]))
        while self._files:
            file, part, path = self._files.pop(0)
            file.close()
            part.rename(path)
        self._octets = 0

    def drop(self) -> None:
        """Let go of what has no name yet."""
        while self._files:
            file, part, _ = self._files.pop()
            file.close()
            with suppress(OSError):
                part.unlink()


def _names(directory: Path) -> list[str]:
    with os.scandir(directory) as entries:
        return [one.name for one in entries]


def _sync(directory: Path) -> None:
    """Make names safe, too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- a file a message -----------------------------------------------------------------------------------------------


class EmlFiles:
    """A directory with `00000042-subject.eml` for message 42: its octets and nothing else."""

    def __init__(self, path: Path, purpose: dict[str, Any]) -> None:
        """Make the directory; of an unfinished export, the files that are there count."""
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._journal = Journal(path / ".postroom-export", purpose)
        names = [] if self._journal.is_new else _names(path)
        self._there = {int(one[1]) for one in map(_NUMBERED.fullmatch, names) if one}
        for name in names:  # what a kill left
            if name.startswith(".") and name.endswith(".part") and _NUMBERED.fullmatch(name[1:-5]):
                (path / name).unlink()
        self._pending = _Pending()

    def wants(self, message: int) -> bool:
        """Tell whether this message is not there yet."""
        return message not in self._there

    def write(self, copy: Copy, columns: Columns) -> bool:  # noqa: ARG002 -- Destination's
        """Add a message."""
        subject = _UNFIT.sub("-", copy.subject).strip("-.")[:MAX_NAME_CHARACTERS]
        path = self._path / f"{copy.id:08d}{'-' if subject else ''}{subject}.eml"
        if path.exists():
            if not self._there:  # nothing of this export's own is there yet: it may have another beginning
                self._journal.remove()
            _refuse(path)
        self._pending.write(path.with_name(f".{path.name}.part"), path, copy.parts)
        self._there.add(copy.id)
        return True

    def save(self) -> None:
        """Give files their names."""
        self._pending.settle()

    def finish(self) -> None:
        """Remove the journal."""
        self.save()
        self._journal.remove()
        _sync(self._path)

    def close(self) -> None:
        """Let go of it."""
        self._pending.drop()
        self._journal.close()


class Maildir:
    """A Maildir, into which others may deliver too. All goes into `cur`, marked as seen: it is an archive, not new mail.

    The names hold the message's hash and id. So they are the same each time, what is there is not written again, and there is
    no journal.
    """

    def __init__(self, path: Path, purpose: dict[str, Any]) -> None:  # noqa: ARG002 -- Destination's
        """Make what is missing of it."""
        for name in ("tmp", "new", "cur"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self._path = path
        self._there = {name.partition(":")[0] for place in ("new", "cur") for name in _names(path / place)}
        self._pending = _Pending()

    def wants(self, message: int) -> bool:  # noqa: ARG002 -- Destination's
        """Say yes: the name tells, and needs the hash."""
        return True

    def write(self, copy: Copy, columns: Columns) -> bool:  # noqa: ARG002 -- Destination's
        """Add a message, unless it is there."""
        name = f"{int(copy.archived_at.timestamp())}.{copy.sha256[:24]}_{copy.id}.postroom,S={copy.octets}"
        if name in self._there:
            return False
        self._pending.write(self._path / "tmp" / name, self._path / "cur" / f"{name}:2,S", copy.parts)
        return True

    def save(self) -> None:
        """Give files their names."""
        self._pending.settle()

    def finish(self) -> None:
        """Make the names safe."""
        self.save()
        _sync(self._path / "cur")

    def close(self) -> None:
        """Let go of it."""
        self._pending.drop()


# --- one file -------------------------------------------------------------------------------------------------------


class _Growing(ABC):
    """A file that grows under the name `.NAME.part` and gets its own at the end; what a kill left behind the journal is cut off."""

    def __init__(self, path: Path, purpose: dict[str, Any]) -> None:
        """Open it where it is safe until."""
        _refuse(path)
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        self._journal = Journal(path.with_name(f".{path.name}.journal"), purpose)
        self._last = self._journal.state.get("message", 0)
        self._file: IO[bytes] = self._part.open("r+b" if self._part.exists() else "w+b")
        self._file.truncate(self._journal.state.get("octets", 0))
        self._file.seek(0, os.SEEK_END)

    def wants(self, message: int) -> bool:
        """Tell whether this message is not there yet: they come in the order of their ids."""
        return message > self._last

    def write(self, copy: Copy, columns: Columns) -> bool:
        """Add a message."""
        begin = self._file.tell()
        try:
            self._file.writelines(self._octets(copy, columns))
        except BaseException:
            self._file.seek(begin)
            self._file.truncate()
            raise
        self._last = copy.id
        return True

    @abstractmethod
    def _octets(self, copy: Copy, columns: Columns) -> Iterator[bytes]:
        """Give a message as it stands in the file."""

    def save(self) -> None:
        """Sync the file, then say so."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._journal.note(message=self._last, octets=self._file.tell())

    def finish(self) -> None:
        """Give it its name."""
        self.save()
        _refuse(self._path)
        self._part.rename(self._path)
        self._journal.remove()
        _sync(self._path.parent)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        self._journal.close()


class Mbox(_Growing):
    """An mbox as `mail/mbox.py` has it: octets as archived, lines quoted that look like a From_ line."""

    def _octets(self, copy: Copy, columns: Columns) -> Iterator[bytes]:  # noqa: ARG002 -- the other one's
        sender = _UNFIT.sub("-", copy.sender) or "MAILER-DAEMON"
        yield mbox.from_line(sender, copy.sent_at)
        yield from mbox.quoted(copy.parts)
        yield b"\n"


class JsonLines(_Growing):
    """An object a line: the columns, addresses, attachments, and at its end `raw`, the octets in Base64."""

    def _octets(self, copy: Copy, columns: Columns) -> Iterator[bytes]:
        text = json.dumps(columns(), ensure_ascii=False, default=str).encode("utf-8", "replace")
        yield text.removesuffix(b"}") + b', "raw": "'
        rest = b""
        for part in copy.parts:
            octets = rest + part
            whole = len(octets) - len(octets) % 3  # between two parts there is no padding
            yield base64.b64encode(octets[:whole])
            rest = octets[whole:]
        yield base64.b64encode(rest) + b'"}\n'
