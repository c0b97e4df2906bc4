"""mbox, the mailbox in one file: its From_ lines, their quoting (mboxrd), and where messages begin and end. Pure.

Octets stay as they are, line ends of every kind included:

    From anna@example.org Mon Nov 23 12:00:00 2026 LF
    the message; where a line begins with `From `, or with `>` and `From `, one more `>` stands before
    LF

The one line end before a From_ line, or before the end of the file, belongs to the frame: a message without a final line end
has none after it either, and comes back as it was. Other people's files have their blank line there, so that theirs come as
they are, too. Where the From_ line ends in CRLF, so does the blank line (Google Takeout).

A line is a From_ line if it has a time and a year; if the first one of a file has none, then every line that begins with `From `
is. So an unquoted `From here on` in a careless program's file parts no message.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

BLOCK_OCTETS: Final = 1024 * 1024  # looked through at once
MAX_FROM_LINE_OCTETS: Final = 1000  # a longer line parts no messages
MAX_HEADER_OCTETS: Final = 256 * 1024  # in which a Content-Length is looked for

Read = Callable[[int, int], bytes]  # (offset, octets) -> so many octets, fewer only at the end

_FROM: Final = b"From "
_PARTING: Final = b"\nFrom "
_QUOTE: Final = re.compile(rb"^(>*)From ", re.MULTILINE)
_UNQUOTE: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
_UNTOLD: Final = re.compile(rb"(>*)(|F|Fr|Fro|From)\Z")  # the octets that follow tell whether it is quoted
_TIME: Final = re.compile(rb"\b\d{1,2}:\d\d")
_YEAR: Final = re.compile(rb"\b\d{4}\b")
_END_OF_HEADER: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH: Final = re.compile(rb"^Content-Length:[ \t]*(\d{1,18})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


class Extent(NamedTuple):
    """Where a message lies in the file: [begin, end), still quoted."""

    begin: int
    end: int


# --- writing --------------------------------------------------------------------------------------------------------


def from_line(sender: str, at: datetime) -> bytes:
    """Write the line before a message. sender: an address, or anything else without blanks.  at: aware."""
    at = at.astimezone(UTC)
    days, months = (
        "Mon Tue Wed Thu Fri Sat Sun",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    )  # strftime has the locale's
    day, month = days.split()[at.weekday()], months.split()[at.month - 1]
    return f"From {sender} {day} {month} {at.day:2d} {at:%H:%M:%S} {at.year:04d}\n".encode("ascii", "replace")


def quoted(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Quote a message that comes in parts, wherever they are cut; holds back no more than a word."""
    return _rewritten(parts, _QUOTE, rb">\1From ", held=0)


def unquoted(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Undo `quoted`."""
    return _rewritten(parts, _UNQUOTE, rb"\1", held=1)


def _rewritten(parts: Iterable[bytes], pattern: re.Pattern[bytes], by: bytes, *, held: int) -> Iterator[bytes]:
    """Rewrite lines. held: how many of the `>` of a line that is not told yet have to wait: one that may have to go.

    As one `>` goes in or out, it does not matter which: those before it need not wait, however many there are.
    """
    rest, is_line_start = b"", True  # of what waits in `rest`, or comes next
    for part in parts:
        octets = rest + part
        begin = 0 if is_line_start else octets.find(b"\n") + 1
        if not is_line_start and not begin:
            yield octets
            continue
        last = max(octets.rfind(b"\n") + 1, begin)
        untold = _UNTOLD.match(octets, last)
        is_line_start = untold is not None
        rest = untold[1][:held] + untold[2] if untold else b""
        known = octets[begin:last] if untold else octets[begin:]
        passed = untold[1][held:] if untold else b""
        yield octets[:begin] + (pattern.sub(by, known) if _FROM in known else known) + passed
    if rest:
        yield rest


# --- reading --------------------------------------------------------------------------------------------------------


def is_mbox(beginning: bytes) -> bool:
    """Tell whether a file that begins so is an mbox."""
    line, newline, _ = beginning[: MAX_FROM_LINE_OCTETS + 1].partition(b"\n")
    return bool(newline) and line.startswith(_FROM) and _is_dated(line)


def _is_dated(line: bytes) -> bool:
    time = _TIME.search(line)
    return time is not None and _YEAR.search(line, time.end()) is not None


def extents(read: Read, octets: int, *, by_length: bool = False) -> Iterator[Extent]:
    """Find the messages of a file of that many octets, in one pass; what stands before the first From_ line is no message.

    by_length: a Content-Length that leads to the next From_ line, or to the end, is believed, whatever stands in between
    (mboxcl, mboxcl2). A letter of a stranger's may lie with it, and hide those behind it.
    """
    begin, is_crlf, sure_until = -1, False, 0
    for at, line in _from_lines(read, octets):
        if begin >= 0 and at < sure_until:
            continue
        if begin >= 0:
            yield Extent(begin, _end(read, begin, at, is_crlf=is_crlf))
        begin, is_crlf = at + len(line), line.endswith(b"\r\n")
        if by_length:
            sure_until = _promised_end(read, begin, octets)
    if begin >= 0:
        yield Extent(begin, _end(read, begin, octets, is_crlf=is_crlf))


def _end(read: Read, begin: int, at: int, *, is_crlf: bool) -> int:
    """Leave out the line end that belongs to the frame. at: of the next From_ line, or the end of the file."""
    last = read(max(begin, at - 2), at - max(begin, at - 2))
    if is_crlf and last.endswith(b"\r\n"):
        return at - 2
    return at - 1 if last.endswith(b"\n") else at


def _promised_end(read: Read, begin: int, octets: int) -> int:
    header = read(begin, MAX_HEADER_OCTETS)
    blank = _END_OF_HEADER.search(header)
    length = _LENGTH.search(header, 0, blank.end()) if blank else None
    if blank is None or length is None:
        return 0
    end = begin + blank.end() + int(length[1])
    behind = read(end, len(_FROM) + 2).lstrip(b"\r\n") if end < octets else b""
    return end if behind.startswith(_FROM) or octets - 2 <= end <= octets else 0


def _from_lines(read: Read, octets: int) -> Iterator[tuple[int, bytes]]:
    """Give (offset, line) of each From_ line."""
    needs_date: bool | None = None
    for at in range(0, octets, BLOCK_OCTETS):
        # With the octet before it, a line end that the file itself does not have, and the whole of a line that begins in it.
        before = read(at - 1, 1) if at else b"\n"
        block = before + read(at, BLOCK_OCTETS + MAX_FROM_LINE_OCTETS)
        found = block.find(_PARTING, 0, BLOCK_OCTETS + len(_FROM))
        while found >= 0:
            line = block[found + 1 : block.find(b"\n", found + 1, found + 1 + MAX_FROM_LINE_OCTETS) + 1]
            if line and needs_date is None:
                needs_date = _is_dated(line)
            if line and (not needs_date or _is_dated(line)):
                yield at + found, line
            found = block.find(_PARTING, found + 1, BLOCK_OCTETS + len(_FROM))
