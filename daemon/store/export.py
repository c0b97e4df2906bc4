"""Copies of archived messages in the forms that other programs read: eml, mbox (mboxrd), Maildir, JSON lines.

Octets go out as they were archived; only mbox quotes lines that begin with `From ` and makes line ends LF, as its readers
want. A file appears whole or not at all: it is written under another name and renamed. Messages are streamed in parts of at
most 4 MiB. Takes the connection. Raises InputInvalid for a destination that is there and is not ours to write.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection

from daemon import errors
from daemon.store import archive, sources
from daemon.store.dialect.types import instant_text

FORMATS: Final = ("eml", "mbox", "maildir", "jsonl")
MAX_NAME_CHARACTERS: Final = 60  # of a subject in a file name: directories are read by people
_FROM_LINE: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_UNFIT: Final = re.compile(r"[^\w.@+-]+")

Progress = Callable[[int], None]


def write(
    conn: Connection,
    ids: Sequence[int],
    *,
    format: str,  # noqa: A002 -- the option's name
    destination: Path,
    progress: Progress = lambda _done: None,
) -> int:
    """Write these messages; give how many. destination: a directory for eml and maildir, a new file for the others."""
    writers: dict[str, Callable[[Connection, Iterable[int], Path], int]] = {
        "eml": _eml,
        "mbox": _mbox,
        "maildir": _maildir,
        "jsonl": _jsonl,
    }
    if format not in writers:
        raise errors.InputInvalid(f"format: {format} is not known; {', '.join(FORMATS)} are")
    try:
        return writers[format](conn, _told(ids, progress), destination)
    except FileExistsError as error:
        raise errors.InputInvalid(
            f"{error.filename or destination} is there already; nothing is overwritten"
        ) from error
    except OSError as error:
        raise errors.InputInvalid(f"{error.filename or destination}: {error.strerror or error}") from error


def _told(ids: Sequence[int], progress: Progress) -> Iterator[int]:
    for done, key in enumerate(ids, start=1):
        yield key
        progress(done)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name once the block has ended well; FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(17, "File exists", str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


# --- a file a message -----------------------------------------------------------------------------------------------


def _eml(conn: Connection, ids: Iterable[int], destination: Path) -> int:
    destination.mkdir(parents=True, exist_ok=True)
    done = 0
    for key in ids:
        row = archive.get(conn, key)
        subject = _UNFIT.sub("-", row.subject or "").strip("-.")[:MAX_NAME_CHARACTERS]
        with _whole(destination / f"{key:08d}{'-' if subject else ''}{subject}.eml") as file:
            file.writelines(sources.parts(conn, key))
        done += 1
    return done


def _maildir(conn: Connection, ids: Iterable[int], destination: Path) -> int:
    """Write into `cur`, marked as seen: they are an archive, not new mail. The name holds the hash, so that it is stable."""
    for name in ("tmp", "new", "cur"):
        (destination / name).mkdir(parents=True, exist_ok=True)
    done = 0
    for key in ids:
        row = archive.get(conn, key)
        name = f"{int(row.archived_at.timestamp())}.{row.sha256[:24]}_{key}.postroom,S={row.octets}"
        path = destination / "tmp" / name
        with path.open("wb") as file:
            file.writelines(sources.parts(conn, key))
        path.rename(destination / "cur" / f"{name}:2,S")
        done += 1
    return done


# --- one file -------------------------------------------------------------------------------------------------------


def _mbox(conn: Connection, ids: Iterable[int], destination: Path) -> int:
    done = 0
    with _whole(destination) as file:
        for key in ids:
            row = archive.get(conn, key)
            at = row.sent_at or row.archived_at
            sender = _UNFIT.sub("-", row.from_address or "") or "MAILER-DAEMON"
            file.write(f"From {sender} {_asctime(at)}\n".encode("ascii", "replace"))
            for line in _lines(sources.parts(conn, key)):
                file.write(_FROM_LINE.sub(rb">\1", line))
            file.write(b"\n")
            done += 1
    return done


def _asctime(at: datetime) -> str:
    """Write the time of a From line; strftime would follow the locale."""
    at = at.astimezone(UTC)
    days, months = "Mon Tue Wed Thu Fri Sat Sun", "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
    return f"{days.split()[at.weekday()]} {months.split()[at.month - 1]} {at.day:2d} {at:%H:%M:%S} {at.year:04d}"


def _lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Give whole lines, many at a time, ended by LF; a line that is cut by a part's end is put together."""
    rest = b""
    for part in parts:
        whole, newline, rest = (rest + part).rpartition(b"\n")
        if newline:
            yield whole.replace(b"\r\n", b"\n").removesuffix(b"\r") + newline
    if rest:
        yield rest + b"\n"


def _jsonl(conn: Connection, ids: Iterable[int], destination: Path) -> int:
    """Write the columns of messages, an object a line, with their addresses and attachments; not the raw octets."""
    done = 0
    with _whole(destination) as file:
        for key in ids:
            row = archive.get(conn, key)._asdict()
            row["addresses"] = [one._asdict() for one in archive.addresses_of(conn, key)]
            row["attachments"] = [one._asdict() for one in archive.attachments(conn, key)]
            file.write(json.dumps(row, ensure_ascii=False, default=_json).encode("utf-8", "replace") + b"\n")
            done += 1
    return done


def _json(value: Any) -> str:
    return instant_text(value) if isinstance(value, datetime) else str(value)
