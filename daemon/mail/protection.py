"""Which parts of a message are signed or encrypted, and how: it is marked, not opened (RFC 1847, 3156, 8551).

Nothing is verified. Linear; of opaque S/MIME the first octets are decoded. Pure.
"""

from enum import StrEnum
from typing import Final

from daemon.mail import mime
from daemon.mail.defects import Notes

PEEKED_OCTETS: Final = 100  # of a CMS structure: its type stands in the first twenty


class Protection(StrEnum):
    """One kind. The values are public: they stand in `messages.protection`."""

    PGP_SIGNED = "pgp_signed"
    PGP_ENCRYPTED = "pgp_encrypted"
    SMIME_SIGNED = "smime_signed"
    SMIME_ENCRYPTED = "smime_encrypted"


_CMS: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNATURES: Final = {
    "application/pgp-signature": Protection.PGP_SIGNED,
    "application/pkcs7-signature": Protection.SMIME_SIGNED,
    "application/x-pkcs7-signature": Protection.SMIME_SIGNED,
}
_OID_PKCS7: Final = bytes.fromhex("2a864886f70d0107")  # 1.2.840.113549.1.7, and one octet that says what
_CONTENTS: Final = {2: Protection.SMIME_SIGNED, 3: Protection.SMIME_ENCRYPTED, 4: Protection.SMIME_ENCRYPTED}
_SMIME_TYPES: Final = {
    "signed-data": Protection.SMIME_SIGNED,
    "enveloped-data": Protection.SMIME_ENCRYPTED,
    "authenveloped-data": Protection.SMIME_ENCRYPTED,
}
_ARMOUR: Final = "-----BEGIN PGP "


def found(root: mime.Part, body: str, notes: Notes) -> tuple[str, ...]:
    """Give the values of what protects a message or a part of it, each once, in the order of the parts. body: its text."""
    kinds: dict[Protection, None] = {}
    for part in root.walk():
        kind = _SIGNATURES.get(part.content_type)
        if part.content_type == "multipart/encrypted":
            kind = Protection.PGP_ENCRYPTED
        elif part.content_type in _CMS:
            kind = _SMIME_TYPES.get(part.parameters.get("smime-type", "").lower()) or _peeked(part, notes)
        if kind is not None:
            kinds[kind] = None
    if _may_be_armoured(root) and _ARMOUR in body:  # RFC 9580 section 6.2: in the text itself
        if f"{_ARMOUR}MESSAGE-----" in body:
            kinds[Protection.PGP_ENCRYPTED] = None
        if f"{_ARMOUR}SIGNED MESSAGE-----" in body:
            kinds[Protection.PGP_SIGNED] = None
    return tuple(kind.value for kind in kinds)


def _may_be_armoured(root: mime.Part) -> bool:
    """Look at the octets of a message in one part: that costs a tenth of a look at its text."""
    if root.children or root.encoding == "base64" or not isinstance(root.buffer, bytes):
        return True
    return root.buffer.find(b"BEGIN", root.start, root.end) >= 0


def _peeked(part: mime.Part, notes: Notes) -> Protection | None:
    """Tell a CMS structure by its type, of senders that do not say it."""
    head = next(mime.content(part, notes), b"")[:PEEKED_OCTETS]
    place = head.find(_OID_PKCS7) + len(_OID_PKCS7)
    return _CONTENTS.get(head[place]) if len(_OID_PKCS7) <= place < len(head) else None
