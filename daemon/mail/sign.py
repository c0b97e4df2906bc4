"""Sign letters (DKIM, RFC 6376): one more field in front, over the header fields that readers see and the body. The only importer of dkim.

RSA with SHA-256, relaxed/relaxed, so that what relays do to blanks and folds breaks nothing. Nothing is signed but for its time (t=)
that is not a function of letter and key. Ed25519 (RFC 8463) is left out: few receivers verify it. SecretUnavailable: the extra
is missing, or the key is none. Pure.
"""

import base64
import re
from typing import Any, Final

from daemon.errors import SecretUnavailable
from daemon.mail import headers
from daemon.wire.secret import Secret

MIN_KEY_BITS: Final = 1024  # RFC 8301 section 3.2: verifiers must not take less
MAX_HEADER_OCTETS: Final = 1024 * 1024  # dkim reads folds at a price that is quadratic; relays take about a tenth
# RFC 6376 section 5.4.1, as often as each is there; From once more, so that none can be added.
SIGNED_FIELDS: Final = frozenset(
    b"from sender reply-to to cc subject date message-id in-reply-to references mime-version content-type"
    b" content-transfer-encoding content-id content-description resent-date resent-from resent-to resent-cc"
    b" resent-message-id list-id list-help list-unsubscribe list-unsubscribe-post list-subscribe list-post list-owner"
    b" list-archive".split()
)

_BLANKS: Final = re.compile(rb"[\t ]+")
_FIELD: Final = re.compile(rb"([!-9;-~]+)[ \t]*:.*\r\n(?:[ \t].*\r\n)*")
_RSA: Final = bytes.fromhex(
    "300d06092a864886f70d0101010500"
)  # AlgorithmIdentifier of an RSA key (RFC 3279 section 2.3.1)


class Signer:
    """A key, and where its public half is in the DNS."""

    def __init__(self, key: Secret, *, selector: str, domain: str, origin: str) -> None:
        """`key`: in PEM.  `origin`: where it was found, for what is said of it."""
        try:
            import dkim  # noqa: PLC0415 -- an extra, and slow to load
            from dkim import crypto  # noqa: PLC0415
        except ImportError as error:
            raise SecretUnavailable(f"{origin}: dkimpy is missing; pip install 'postroom[dkim]'") from error
        self._dkim: Any = dkim
        self._pem = key.reveal().replace("\r\n", "\n").encode()
        self.selector, self.domain = selector, domain
        try:
            numbers = crypto.parse_pem_private_key(self._pem)
        except (crypto.UnparsableKeyError, dkim.DKIMException, ValueError, IndexError, AssertionError):
            raise SecretUnavailable(f"{origin}: not an RSA key in PEM, without a passphrase") from None
        self._modulus, self._exponent = numbers["modulus"], numbers["publicExponent"]
        if self._modulus.bit_length() < MIN_KEY_BITS:
            raise SecretUnavailable(f"{origin}: a key of less than {MIN_KEY_BITS} bits is not taken (RFC 8301)")

    def sign(self, content: bytes) -> bytes:
        """Return the letter with a DKIM-Signature before it. content: CRLF lines, as they are sent.

        As it is if it has no From field, or lines in its header that are no fields, or a header of more than a mebioctet: there is
        nobody to sign for, or no telling which fields a reader sees.
        """
        end, body = headers.split(content, 0, len(content))
        head = content[:end] if end <= MAX_HEADER_OCTETS else b""
        names = [one[1].lower() for one in _FIELD.finditer(head)]
        if b"from" not in names or _FIELD.sub(b"", head):
            return content
        signing = self._dkim.DKIM(_FIELD.sub(_closed, head) + b"\r\n")
        signing.body = _relaxed(content[body:])
        signature: bytes = signing.sign(
            self.selector.encode(),
            self.domain.encode(),
            self._pem,
            signature_algorithm=b"rsa-sha256",
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name for name in names if name in SIGNED_FIELDS] + [b"from"],
        )
        return signature + content

    @property
    def record(self) -> tuple[str, str]:
        """The TXT record that verifiers look for: its name and its text (RFC 6376 section 3.6.1)."""
        numbers = _der(0x30, _integer(self._modulus) + _integer(self._exponent))
        public = _der(0x30, _RSA + _der(0x03, b"\0" + numbers))
        return f"{self.selector}._domainkey.{self.domain}", f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def _closed(one: re.Match[bytes]) -> bytes:
    """Take the blanks between a field's name and its colon away, as relaxed canonicalization does, and dkim can't read."""
    return one[1] + one[0][len(one[1]) :].lstrip(b" \t")


def _relaxed(body: bytes) -> bytes:
    """Return the body in its canonical form (RFC 6376 section 3.4.4), which is its own.

    dkim makes it too, but looks for blanks at the ends of lines in a way that is quadratic in their number: here there is one.
    """
    return _BLANKS.sub(b" ", body).replace(b" \r\n", b"\r\n")


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    """Write one element in DER (X.690)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
