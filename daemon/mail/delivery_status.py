"""What a report says became of each recipient: the fields of message/delivery-status (RFC 3464) and its kin.

Kin: message/global-delivery-status (RFC 6533), message/disposition-notification (RFC 8098), message/feedback-report (RFC 5965).
All are blocks of `Name: value`. Lenient, linear, capped; raises nothing. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from daemon.mail import charset
from daemon.mail.defects import Notes

MAX_OCTETS: Final = 1_048_576  # of one part that are read: some 3,000 recipients
MAX_RECIPIENTS: Final = 1000  # of one report; what is behind them is not looked at
MAX_VALUE_CHARACTERS: Final = 4000  # of one field
MAX_DIAGNOSTIC_CHARACTERS: Final = 1000  # as are kept of a relay's reply

ACTIONS: Final = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})

_FIELD: Final = re.compile(r"([!-9;-~]{1,100})[ \t]*:[ \t]*(.*)")
_TYPED: Final = re.compile(r"\s*([A-Za-z0-9-]{1,40})\s*;\s*(.*)", re.DOTALL)
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 section 4
_UNITEXT: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 section 3
_CODE: Final = re.compile(r"(?:^|\s)([245]\d\d)(?=[ #-]|$)[ -]?")
_STATUS: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_LAST_CHARACTER: Final = 0x10FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one recipient.

    recipients: the addresses it is called by, the one that we used first; none if the report names nobody.
    action: failed, delayed, delivered, relayed or expanded.  status: like 5.1.1, "" for none.  code: of the SMTP reply behind it.
    diagnostic: one line, without the codes at its head.
    """

    recipients: tuple[str, ...]
    action: str
    status: str = ""
    code: int | None = None
    diagnostic: str = ""


def blocks(octets: bytes) -> list[dict[str, str]]:
    """Read blocks of fields that empty lines divide; names in lower case, of equal ones the first counts, folds are undone."""
    text = charset.decode(octets[:MAX_OCTETS], "", Notes())
    found: list[dict[str, str]] = []
    block: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip():
            if block:
                found.append(block)
            block, name = {}, ""
        elif line[0] in " \t":
            if name and len(block[name]) < MAX_VALUE_CHARACTERS:
                block[name] += " " + line.strip()[:MAX_VALUE_CHARACTERS]
        elif (field := _FIELD.match(line)) is not None:
            name = field[1].lower()
            if name in block:
                name = ""
            else:
                block[name] = field[2].strip()[:MAX_VALUE_CHARACTERS]
        if len(found) > MAX_RECIPIENTS:
            return found
    return [*found, block] if block else found


def fates(found: Iterable[dict[str, str]]) -> tuple[Fate, ...]:
    """Give the recipients of a delivery status, in its order; those without a known action are left out."""
    listed = []
    for block in found:
        words = block.get("action", "").lower().split()
        action = re.match("[a-z]*", words[0])[0] if words else ""  # type: ignore[index]  # it matches always
        if action not in ACTIONS:
            continue
        code, status, diagnostic = diagnosed(_untyped(block.get("diagnostic-code", "")))
        stated = _STATUS.search(block.get("status", ""))
        listed.append(
            Fate(
                recipients=addresses(block.get("original-recipient", ""), block.get("final-recipient", "")),
                action=action,
                # Some write 5.0.0 where the server said more.
                status=stated[1] if stated and not (status and stated[1].endswith(".0.0")) else status,
                code=code,
                diagnostic=diagnostic,
            )
        )
    return tuple(listed)


def addresses(*values: str) -> tuple[str, ...]:
    """Read `rfc822; bob@example.net` and `utf-8; größe@example.net`: each as it stands, then with its escapes undone."""
    spelled: dict[str, None] = {}
    for value in values:
        address = _untyped(value).strip().strip("<>").strip()
        if "@" not in address:
            continue
        spelled[address] = None
        plain = _XTEXT.sub(lambda escape: chr(int(escape[1], 16)), address)
        spelled[_UNITEXT.sub(_character, plain)] = None
    return tuple(spelled)


def _character(escape: re.Match[str]) -> str:
    number = int(escape[1], 16)
    return chr(number) if number <= _LAST_CHARACTER and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def _untyped(value: str) -> str:
    typed = _TYPED.fullmatch(value)
    return typed[2] if typed else value


def diagnosed(text: str) -> tuple[int | None, str, str]:
    """Read a server's words: the first reply code in them or None, the first status or "", and one line without those at its head."""
    line = charset.one_line(text[:MAX_VALUE_CHARACTERS], Notes())
    code = _CODE.search(line)
    status = _STATUS.search(line)
    rest = line[code.end() :] if code and code.start() == 0 else line
    at_head = _STATUS.match(rest)
    rest = (rest[at_head.end() :] if at_head else rest).strip(" -")
    if code and status and not code.start():  # the lines of one reply repeat both
        rest = re.sub(rf"\s{code[1]}[ -]{re.escape(status[1])}(?=\s)", "", rest)
    if len(rest) > MAX_DIAGNOSTIC_CHARACTERS:
        rest = f"{rest[: MAX_DIAGNOSTIC_CHARACTERS - 1]}…"
    return int(code[1]) if code else None, status[1] if status else "", rest
