"""Octets into lines and bodies, and bodies into octets: CRLF framing and dot-stuffing (RFC 1939 section 3, RFC 5321 4.5.2).

Any input may be cut anywhere. Lines: CRLF ends one; a bare LF does too, for the servers that forget the CR. Bodies: what
stands between the status line and the terminator, un-stuffed, its last line end included, not one octet altered.

The terminator is CRLF.CRLF and nothing else, so that a bare LF around a dot inside a message can't end it early. Only a
server whose status line itself ended in a bare LF is read leniently: there a line that is a lone dot, however ended, is the
end. Such a server has no other way to say it.

Raises TooLong. Pure: no I/O, never decodes text, no Python loop over octets.
"""

import re
from collections.abc import Iterator
from typing import Final

from daemon.errors import TooLong

_END: Final = b"\r\n.\r\n"
_ENDINGS_BEGUN: Final = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
_LENIENT_END: Final = re.compile(rb"\n\.\r?\n")
_BARE_LF: Final = re.compile(rb"\n(?<!\r\n)")  # these two are looked for much faster so than by counting pairs
_DOT_FIRST: Final = re.compile(rb"\n\.")
_LENIENT_ENDINGS_BEGUN: Final = (b"\n.\r", b"\n.", b"\n")


class LineReader:
    """Lines out of octets; what is behind the last line taken stays in `buffer`, from `start`."""

    __slots__ = ("_max_line_octets", "buffer", "ended_bare", "start")

    def __init__(self, max_line_octets: int) -> None:
        """`max_line_octets`: of a line without its end; a longer one raises TooLong before it is kept whole."""
        self._max_line_octets = max_line_octets
        self.buffer = b""
        self.start = 0
        self.ended_bare = False  # whether the line given last ended in a bare LF

    def feed(self, octets: bytes) -> None:
        """Add what the peer sent."""
        self.buffer = self.buffer[self.start :] + octets if self.start < len(self.buffer) else octets
        self.start = 0

    def next_line(self) -> bytes | None:
        """Return the next line without its end, or None until more is fed."""
        start, end = self.start, self.buffer.find(b"\n", self.start)
        if (end if end >= 0 else len(self.buffer)) - start > self._max_line_octets + 1:
            raise TooLong(f"a line is longer than {self._max_line_octets} octets")
        if end < 0:
            return None
        self.start = end + 1
        self.ended_bare = not (end > start and self.buffer[end - 1] == 13)
        return self.buffer[start : end if self.ended_bare else end - 1]

    @property
    def buffered(self) -> int:
        """How many octets are waiting behind the last line taken."""
        return len(self.buffer) - self.start

    def take_body(self, reader: "BodyReader") -> bytes:
        """Give `reader` what is buffered; return the un-stuffed octets it made of it; `reader.done` tells the end."""
        piece, self.start = reader.feed(self.buffer, self.start)
        return piece


class BodyReader:
    """One multi-line body, from the octet behind the status line to the terminator."""

    __slots__ = ("_carried", "_is_first", "_lenient", "done")

    def __init__(self, *, lenient: bool = False) -> None:
        """`lenient`: the status line ended in a bare LF (see the module)."""
        self._lenient = lenient
        self._is_first = True  # no octet was given out yet: `_carried` still begins with the status line's end
        # A terminator may follow the status line at once: its line end is the first half of CRLF.CRLF.
        self._carried = b"\n" if lenient else b"\r\n"
        self.done = False

    def feed(self, buffer: bytes, start: int = 0) -> tuple[bytes, int]:
        """Return the body's next octets (maybe none) and the index behind what was used; all of it unless `done` now."""
        newline = b"\n" if self._lenient else b"\r\n"
        if self._is_first and self._carried == newline and start and buffer.endswith(newline, 0, start):
            work, at, shift = buffer, start - len(newline), 0  # no copy: the status line's end is there in front
        else:
            work, at = self._carried + (buffer[start:] if start else buffer), 0
            shift = start - len(self._carried)
        # A line that begins with a dot is stuffed, or the end: mail has few, so one look at the octets is mostly enough. One octet
        # is looked for ten times as fast as two or three, and base64 has none.
        dot = work.find(b".", at)
        if dot >= 0:
            dot = work.find(newline + b".", max(at, dot - len(newline)))
        end = stop = -1
        if dot >= 0 and self._lenient:
            found = _LENIENT_END.search(work, dot)
            end, stop = (found.start(), found.end()) if found else (-1, -1)
        elif dot >= 0:
            end = work.find(_END, dot)
            stop = end + len(_END)
        has_stuffed = dot >= 0 and dot != end
        if end >= 0:
            self.done = True
            return self._unstuffed(work, at, end + len(newline), has_stuffed=has_stuffed), stop + shift
        begun = _LENIENT_ENDINGS_BEGUN if self._lenient else _ENDINGS_BEGUN
        held = next((len(one) for one in begun if work.endswith(one, at)), 0)
        safe = len(work) - held
        self._carried = work[safe:]
        return (self._unstuffed(work, at, safe, has_stuffed=has_stuffed) if safe > at else b""), len(buffer)

    def _unstuffed(self, work: bytes, at: int, stop: int, *, has_stuffed: bool) -> bytes:
        newline = b"\n" if self._lenient else b"\r\n"
        hidden = len(newline) if self._is_first else 0
        self._is_first = False
        if not has_stuffed:
            return work[at + hidden : stop]
        return work[at:stop].replace(newline + b".", newline)[hidden:]


def normalised(octets: bytes) -> bytes:
    """Return the octets with every line end, bare CR and bare LF too, as CRLF, and one at the end.

    RFC 5321 section 2.3.8: bare ones must not be sent; passed on, they are how messages are smuggled.
    """
    is_normal = octets.count(b"\n") == octets.count(b"\r") and _BARE_LF.search(octets) is None
    if is_normal and octets.endswith(b"\n"):
        return octets  # no copy of a letter that may be large
    if b"\r" in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not octets.endswith(b"\n"):
        octets += b"\n"
    return octets.replace(b"\n", b"\r\n")


def stuff(octets: bytes) -> bytes:
    """Return content ready for DATA: normalised, leading dots doubled, ending in CRLF, without the terminator."""
    normal = normalised(octets)
    return b"".join(stuffed_pieces(normal, len(normal)))


def stuffed_pieces(normal: bytes, most_octets: int) -> Iterator[bytes]:
    """Yield normalised content dot-stuffed, in pieces made of about `most_octets` each: no second copy of a large letter."""
    start = 0
    while start < len(normal):
        piece = normal[start : start + most_octets]
        # Every LF ends a line here; a dot behind it may stand at the beginning of the next piece.
        stuffed = piece.replace(b"\n.", b"\n..") if _DOT_FIRST.search(piece) is not None else piece
        at_line_start = start == 0 or normal[start - 1] == 10
        yield b"." + stuffed if at_line_start and piece.startswith(b".") else stuffed
        start += most_octets


def unstuff(octets: bytes) -> bytes:
    """Return stuffed lines as they were; `unstuff(stuff(x)) == normalised(x)`."""
    return (b"\r\n" + octets).replace(b"\r\n.", b"\r\n")[2:]
