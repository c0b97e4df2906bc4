"""What people have of mail in files: eml, mbox, Maildir with its folders, JSON lines. Each message with its octets, in order.

Files are read in pieces; a message larger than a few MiB waits in a file without a name (wire/spool.py). What can't be read is
given as `Broken`, with its place, and the rest goes on. Never writes, follows no link to a directory.
"""

import base64
import binascii
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from daemon.mail import mbox
from daemon.wire.spool import Spool

FORMATS: Final = ("auto", "eml", "mbox", "mboxcl", "mboxcl2", "maildir", "jsonl")
BLOCK_OCTETS: Final = 1024 * 1024  # read at once; a multiple of 4, as Base64 wants
MAX_LINE_OCTETS: Final = 16 * 1024 * 1024  # of JSON that is held whole; a longer line has `raw` at its end, as ours do
SNIFFED_OCTETS: Final = 4096
MAILDIR: Final = ("new", "cur")  # what is in `tmp` was never delivered
_ENDINGS: Final = {".eml": "eml", ".mbox": "mbox", ".mbx": "mbox", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_HEADER: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_RAW: Final = b', "raw": "'  # in a text of JSON these quotes would have a backslash


class Found(NamedTuple):
    """A message. place: for people.  takes: octets of the file.  account, uidl, retrieved: as another archive had it."""

    place: str
    spool: Spool
    takes: int
    account: str | None = None
    uidl: str | None = None
    retrieved: str = "whole"


class Broken(NamedTuple):
    """What could not be read, and why."""

    place: str
    why: str


class NoMail(NamedTuple):
    """A file in a directory that is not mail as we know it."""

    place: str


Piece: TypeAlias = Found | Broken | NoMail
Read: TypeAlias = Callable[[int, int], bytes]


class _Refused(Exception):
    """One piece can't be read; says why."""


def pieces(source: Path, form: str = "auto") -> Iterator[Piece]:
    """Give all that is in a file, or in a directory and those in it. form: one of FORMATS."""
    if not source.is_dir():
        yield from _file(source, form if form not in {"auto", "maildir"} else _sniffed(source) or "", is_named=True)
        return
    is_maildir = form in {"auto", "maildir"} and any((source / name).is_dir() for name in MAILDIR)
    for name in MAILDIR if is_maildir else ():
        for path in _listed(source / name, files=True):
            yield from _file(path, "eml")
    if not is_maildir and form != "maildir":
        for path in _listed(source, files=True):
            yield from _file(path, _sniffed(path) or "" if form == "auto" else form)
    for path in _listed(source, files=False, hidden=is_maildir):
        if not is_maildir or path.name not in {*MAILDIR, "tmp"}:
            yield from pieces(path, form)


def octets(source: Path) -> int:
    """Add up the files; for a progress bar."""
    if not source.is_dir():
        return source.stat().st_size
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(source) for name in names)


def _listed(directory: Path, *, files: bool, hidden: bool = False) -> list[Path]:
    """List what is in a directory, in the order of the names; what begins with a dot is no mail, but a folder of Maildir++."""
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        names = [
            one.name
            for one in entries
            if (one.is_file() if files else one.is_dir(follow_symlinks=False))
            and (hidden or not one.name.startswith("."))
        ]
    return [directory / name for name in sorted(names)]


def _sniffed(path: Path) -> str | None:
    """Tell a file's format by its name, else by how it begins."""
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            beginning = file.read(SNIFFED_OCTETS)
    except OSError:
        return "eml"  # whoever reads it says what is wrong with it
    if mbox.is_mbox(beginning):
        return "mbox"
    if beginning.startswith(b'{"'):
        return "jsonl"
    return "eml" if _HEADER.match(beginning) else None


def _file(path: Path, form: str, *, is_named: bool = False) -> Iterator[Piece]:
    """Give what is in one file. is_named: somebody asked for it, so it ought to be mail."""
    if not form:
        yield (
            Broken(str(path), "is not mail in a form that is known; --format says which it is")
            if is_named
            else NoMail(str(path))
        )
        return
    readers: dict[str, Callable[[Path, Read, int], Iterator[Piece]]] = {
        "eml": _eml,
        "mbox": _mbox,
        "mboxcl": partial(_mbox, by_length=True),
        "mboxcl2": partial(_mbox, by_length=True, is_quoted=False),
        "jsonl": _jsonl,
    }
    try:
        with _reading(path) as (read, size):
            yield from readers[form](path, read, size)
    except OSError as error:
        yield Broken(str(path), error.strerror or str(error))


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Read, int]]:
    """Open a file; give what reads (offset, octets) of it, and its size now: what is appended meanwhile is not looked at."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # of a pipe nobody writes into, too
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a file that can be read again")
        size = os.fstat(descriptor).st_size
        yield lambda at, octets: os.pread(descriptor, min(octets, size - at), at) if at < size else b"", size
    finally:
        os.close(descriptor)


def _blocks(read: Read, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, BLOCK_OCTETS):
        yield read(at, min(BLOCK_OCTETS, end - at))


def _spooled(blocks: Iterator[bytes]) -> Spool:
    spool = Spool(next(blocks, b""))
    for block in blocks:
        spool.append(block)
    return spool


# --- the forms ------------------------------------------------------------------------------------------------------


def _eml(path: Path, read: Read, size: int) -> Iterator[Piece]:
    yield Found(str(path), _spooled(_blocks(read, 0, size)), size)


def _mbox(path: Path, read: Read, size: int, *, by_length: bool = False, is_quoted: bool = True) -> Iterator[Piece]:
    if size and read(0, 5) != b"From ":
        yield Broken(f"{path}, octet 0", "no message: it does not begin with a From_ line")
    for number, (begin, end) in enumerate(mbox.extents(read, size, by_length=by_length), start=1):
        blocks = _blocks(read, begin, end)
        spool = _spooled(mbox.unquoted(blocks) if is_quoted else blocks)
        yield Found(f"{path}, message {number} at octet {begin}", spool, end - begin)


def _jsonl(path: Path, read: Read, size: int) -> Iterator[Piece]:
    for number, (begin, end) in enumerate(_lines(read, size), start=1):
        place = f"{path}, line {number}"
        if not read(begin, min(end - begin, BLOCK_OCTETS)).strip():
            continue
        try:
            yield _of_json(place, read, begin, end)
        except _Refused as error:
            yield Broken(place, str(error))


def _lines(read: Read, size: int) -> Iterator[tuple[int, int]]:
    begin = at = 0
    for block in _blocks(read, 0, size):
        found = block.find(b"\n")
        while found >= 0:
            yield begin, at + found
            begin = at + found + 1
            found = block.find(b"\n", found + 1)
        at += len(block)
    if begin < size:
        yield begin, size


def _of_json(place: str, read: Read, begin: int, end: int) -> Found:
    """Read one line; its octets must hash to what it says."""
    end -= read(end - 1, 1) == b"\r"
    if end - begin <= MAX_LINE_OCTETS:
        row = _object(read(begin, end - begin))
        raw = row.get("raw")
        if not isinstance(raw, str):
            raise _Refused("there is no `raw`, the octets in Base64")
        spool = _spooled(_decoded(iter([raw.encode("ascii", "replace")])))
    else:
        head = read(begin, MAX_LINE_OCTETS)
        at = head.find(_RAW)
        if at < 0 or read(end - 2, 2) != b'"}':
            raise _Refused(f"of more than {MAX_LINE_OCTETS:,} octets, and `raw` is not at its end")
        row = _object(head[:at] + b"}")
        spool = _spooled(_decoded(_blocks(read, begin + at + len(_RAW), end - 2)))
    if row.get("sha256", spool.sha256) != spool.sha256:
        raise _Refused("its octets do not hash to its sha256")
    account, uidl = (row.get(name) if isinstance(row.get(name), str) else None for name in ("account", "uidl"))
    retrieved = "headers" if row.get("retrieved") == "headers" else "whole"
    return Found(place, spool, end - begin, account, uidl, retrieved)


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise _Refused("not an object of JSON")
    return row


def _decoded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        for block in blocks:
            yield base64.b64decode(block, validate=True)
    except binascii.Error as error:
        raise _Refused(f"`raw` is not Base64: {error}") from error
