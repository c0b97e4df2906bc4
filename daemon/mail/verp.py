"""Sender addresses that name row and recipient (variable envelope return paths), so that a bounce of any kind is understood.

    anna@example.org -> anna+pr2s-k3f7qa5vwxhzme2d@example.org

Behind `+pr`: the row in base 36, six letters for the recipient, ten that sign both; all of lower case, since some relays make it
so. The server must give mail for anna+anything to anna (RFC 5233 calls it subaddressing). Keyed (HMAC-SHA-256), so that a stranger
can't make one up: 50 bits, each guess a letter to us. Pure.
"""

import base64
import hmac
import re
from dataclasses import dataclass
from typing import Final

from daemon.mail import address as addresses

RECIPIENT_LETTERS: Final = 6  # 30 bits: the recipients of one row are told apart, of 1,000 with a doubt of 1 in 2,000
TAG_LETTERS: Final = 10  # 50 bits
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_MARKED: Final = re.compile(r"\+pr([0-9a-z]{1,13})-([a-z2-7]{6})([a-z2-7]{10})@", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Marked:
    """What such an address says. recipient: as `mark` gives it."""

    outbox_id: int
    recipient: str


def sender(address: str, outbox_id: int, recipient: str, key: bytes) -> str:
    """Give the address to send from; `address` itself where it can't be marked.

    That is the null reverse-path, a quoted local part, and one that would become longer than 64 octets (RFC 5321 section
    4.5.3.1.1): with ids below two thousand million, one of more than 38. Such a bounce is known by its Message-ID alone.
    """
    local, at, domain = address.rpartition("@")
    marked = mark(recipient, key)
    whole = f"{local}+pr{base36(outbox_id)}-{marked}{tag(f'verp {outbox_id} {marked}', key, TAG_LETTERS)}"
    if not at or local.startswith('"') or len(whole.encode()) > addresses.MAX_LOCAL_OCTETS:
        return address
    return f"{whole}@{domain}"


def is_marked(address: str) -> bool:
    """Tell whether an address has the form of `sender`'s, signed by whomever."""
    return _MARKED.search(address) is not None


def read(address: str, key: bytes) -> Marked | None:
    """Read an address that `sender` gave; None for any other."""
    found = _MARKED.search(address)
    if found is None:
        return None
    outbox_id, marked, signature = int(found[1], 36), found[2].lower(), found[3].lower()
    genuine = tag(f"verp {outbox_id} {marked}", key, TAG_LETTERS)
    return Marked(outbox_id, marked) if hmac.compare_digest(genuine, signature) else None


def mark(recipient: str, key: bytes) -> str:
    """Give the letters that stand for a recipient, however the address is spelled."""
    return tag(f"recipient {addresses.folded(recipient)}", key, RECIPIENT_LETTERS)


def tag(text: str, key: bytes, letters: int) -> str:
    """Sign a text: so many letters (a-z, 2-7) of five bits, at most 51."""
    digest = hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
    return base64.b32encode(digest[: letters * 5 // 8 + 1]).decode("ascii").lower()[:letters]


def base36(number: int) -> str:
    """Write a positive number; int(…, 36) reads it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
