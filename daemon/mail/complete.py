"""A complete message as a program gave it (`raw`): octet for octet, but for line ends, Bcc, and what mail can't carry at all.

Lines over 998 octets and NUL go encoded, where that loses nothing (`downgrade.py`). InputInvalid says what can't be sent. Pure.
"""

import re
from typing import Final

from daemon.errors import InputInvalid
from daemon.mail import downgrade
from daemon.wire import lines

_FIELD_START: Final = re.compile(rb"[!-9;-~]+[ \t]*:")


def sendable(raw: bytes) -> tuple[bytes, str | None]:
    """Return the message as it is sent, and its Message-ID with its angle brackets."""
    octets = lines.normalised(raw)
    if _FIELD_START.match(octets) is None:
        raise InputInvalid("it does not begin with a header field")
    content, message_id = _without_bcc(octets)
    return downgrade.carriable(content), message_id


def _without_bcc(octets: bytes) -> tuple[bytes, str | None]:
    head, separator, body = octets.partition(b"\r\n\r\n")
    kept: list[bytes] = []
    message_id: str | None = None
    is_bcc = had_bcc = False
    for line in head.removesuffix(b"\r\n").split(b"\r\n"):
        if not line.startswith((b" ", b"\t")):
            name = line.partition(b":")[0].strip(b" \t").lower()
            is_bcc = name in (b"bcc", b"resent-bcc")
            had_bcc |= is_bcc
            if name == b"message-id" and message_id is None:
                message_id = _id_in(line)
        elif kept and message_id is None and kept[-1].lower().rstrip(b" \t") == b"message-id:":
            message_id = _id_in(line)  # folded behind its name, as some programs do with a long one
        if not is_bcc:
            kept.append(line)
    if not kept:
        raise InputInvalid("nothing is left in its header when Bcc is taken out")
    if not had_bcc:
        return octets, message_id
    return b"".join([b"\r\n".join(kept), separator or b"\r\n", body]), message_id


def _id_in(line: bytes) -> str | None:
    found = re.search(rb"<[!-;=?-~]{1,900}>", line)
    return found[0].decode("ascii") if found else None
