r"""What other POP3 clients remember of a maildrop, so that nothing is fetched twice after a change of client. Pure.

Read as the programs write it (getmail6 6.18, fetchmail 6.4, mpop 1.4):

    getmail    oldmail-HOST-PORT-USER    UIDL NUL seconds; one account a file. It writes `-` for `/` in a UIDL: such a one is
                                         not recognised, and its message is fetched once more
    fetchmail  .fetchids                 user@host UIDL; the user may have spaces and @, the UIDL has no space
    mpop       ~/.mpop_uidls/USER_at_HOST   a line ` COUNT HOST USER`, then so many UIDLs, one a line

Raises InputInvalid with the number of the first line that is none of these.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from daemon import errors
from daemon.pop3.replies import uidl_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One message that another client has seen. uidl: as the ledger has it.  host, user: "" where the file does not tell."""

    uidl: str
    host: str = ""
    user: str = ""


_GETMAIL: Final = re.compile(rb"([^\0]+)\0\d+")
_FETCHMAIL: Final = re.compile(rb"(.+)@([^\s@]+) (\S+)")
_MPOP: Final = re.compile(rb" (\d{1,9}) (\S+) (.+)")


def read(program: str, content: bytes) -> list[Remembered]:
    """Read a file. program: a key of PROGRAMS."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return PROGRAMS[program](lines)


def of_account(remembered: Sequence[Remembered], host: str, user: str) -> list[str]:
    """Give the UIDLs of one account, in their order; InputInvalid if the file has several and it can't be told which is meant.

    A file of one account is that of the one asked for, whatever names it was known by.
    """
    owners = {(one.user, one.host) for one in remembered}
    if len(owners) <= 1:
        return [one.uidl for one in remembered]
    chosen = {owner for owner in owners if owner[0] == user and owner[1].lower() == host.lower()}
    chosen = chosen or {owner for owner in owners if owner[0] == user}
    if len(chosen) != 1:
        there = ", ".join(sorted(f"{one[0]} at {one[1]}" for one in owners))
        raise errors.InputInvalid(f"the file has several accounts, and {user} at {host} is none of them: {there}")
    return [one.uidl for one in remembered if (one.user, one.host) in chosen]


def _getmail(lines: Sequence[bytes]) -> list[Remembered]:
    found = []
    for line, match in _matched("getmail", "UIDL, NUL, seconds", _GETMAIL, lines):
        if b"/" in match[1]:
            raise errors.InputInvalid(f"line {line}: the seen list of an IMAP mailbox, not of a POP3 one")
        found.append(Remembered(uidl=uidl_text(match[1])))
    return found


def _fetchmail(lines: Sequence[bytes]) -> list[Remembered]:
    return [
        Remembered(uidl=uidl_text(match[3]), host=_text(match[2]), user=_text(match[1]))
        for _line, match in _matched("fetchmail", "user@host UIDL", _FETCHMAIL, lines)
    ]


def _matched(
    program: str, form: str, pattern: re.Pattern[bytes], lines: Sequence[bytes]
) -> Iterable[tuple[int, re.Match[bytes]]]:
    for number, line in enumerate(lines, start=1):
        match = pattern.fullmatch(line)
        if match is not None:
            yield number, match
        elif line.strip():
            raise errors.InputInvalid(f"line {number} is not as {program} writes its seen list ({form})")


def _mpop(lines: Sequence[bytes]) -> list[Remembered]:
    found: list[Remembered] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith(b"#") or not line.strip():
            continue
        head = _MPOP.fullmatch(line)
        if head is None:
            raise errors.InputInvalid(f"line {at} is not as mpop writes its seen list ( COUNT HOST USER, then UIDLs)")
        count, host, user = int(head[1]), _text(head[2]), _text(head[3])
        if at + count > len(lines):
            raise errors.InputInvalid(
                f"line {at} says {count} UIDLs, and {len(lines) - at} lines follow: it is cut off"
            )
        found += [Remembered(uidl=uidl_text(uidl), host=host, user=user) for uidl in lines[at : at + count]]
        at += count
    return found


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


PROGRAMS: Final[dict[str, Callable[[Sequence[bytes]], list[Remembered]]]] = {
    "getmail": _getmail,
    "fetchmail": _fetchmail,
    "mpop": _mpop,
}
