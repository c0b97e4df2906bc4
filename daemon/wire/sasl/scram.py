"""SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and nobody on the line learns it. Pure.

With a channel binding (the -PLUS mechanisms) the proof holds for this TLS connection only, so that nobody can pass it on.
Ours, because the one library there is, scramp 1.5.0, refuses the binding that TLS 1.3 has (tls-exporter, RFC 9266) and brings
an ASN.1 parser without a release since 2022; the algorithms themselves are `hashlib`'s and `hmac`'s.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import ClassVar, Final

from daemon.errors import AuthFailed, ProtocolViolation
from daemon.wire.sasl.exchange import Channel, Credentials, Exchange, said
from daemon.wire.sasl.prepared import prepared

LEAST_ITERATIONS: Final = 4096  # RFC 7677 section 4; fewer would be a gift to whoever pretends to be the server
MOST_ITERATIONS: Final = 2_000_000  # about a second of work, which is not to be had from us for nothing
_FIRST: Final = re.compile(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8})(?:,[a-zA-Z]=[^,\0]+)*")
_FINAL: Final = re.compile(rb"v=([A-Za-z0-9+/=]+)(?:,[a-zA-Z]=[^,\0]+)*")
_ERROR: Final = re.compile(rb"e=([^,\0]+)(?:,.*)?", re.DOTALL)


class Scram(Exchange):
    """One exchange: client-first, server-first, client-final, server-final (section 5)."""

    digest: ClassVar[str] = ""
    is_bound: ClassVar[bool] = False

    def __init__(self, credentials: Credentials, channel: Channel) -> None:
        """Refuse what SASLprep refuses (InputInvalid).  channel: with a nonce; with a binding for -PLUS."""
        if not channel.nonce or (self.is_bound and channel.binding is None):
            raise ValueError(f"{self.name} without a nonce or a channel binding")
        self._password = prepared("password", credentials.secret.reveal()).encode()
        name = prepared("username", credentials.username).replace("=", "=3D").replace(",", "=2C")
        kind, octets = channel.binding if self.is_bound and channel.binding is not None else ("", b"")
        # Never "y", by which a server learns that somebody removed -PLUS from its list: TLS lets nobody do that.
        header = (f"p={kind},," if self.is_bound else "n,,").encode()
        self._nonce = channel.nonce.encode()
        self._header, self._binding = header, base64.b64encode(header + octets)
        self._bare = f"n={name},r={channel.nonce}".encode()
        self._signature = b""
        self._is_proven = False

    def initial(self) -> bytes | None:
        """Return client-first-message."""
        return self._header + self._bare

    def respond(self, challenge: bytes) -> bytes:
        """Return client-final-message to server-first, and nothing to a server-final that is right."""
        if self._is_proven:
            return super().respond(challenge)
        if refused := _ERROR.fullmatch(challenge):
            raise AuthFailed(f"the server refuses the login: {said(refused[1])}; check USERNAME and PASSWORD")
        return self._verified(challenge) if self._signature else self._proof(challenge)

    def objection(self, *, accepted: bool) -> str | None:
        """Tell of a server that lets us in and did not prove that it knows the password."""
        if accepted and not self._is_proven:
            return "the server did not prove that it knows the password: it may be somebody else's"
        return None

    def _proof(self, challenge: bytes) -> bytes:
        found = _FIRST.fullmatch(challenge)
        if found is None:
            raise ProtocolViolation(f"the first message of {self.name} can't be read: {said(challenge)!r}")
        nonce, salt, iterations = found[1], _decoded(found[2]), int(found[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ProtocolViolation(f"the server's nonce in {self.name} does not go on from ours")
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ProtocolViolation(
                f"the server wants {iterations} iterations of {self.name}, and {LEAST_ITERATIONS} to {MOST_ITERATIONS} are done"
            )
        salted = hashlib.pbkdf2_hmac(self.digest, self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", self.digest)
        stored_key = hashlib.new(self.digest, client_key).digest()
        without_proof = b"c=" + self._binding + b",r=" + nonce
        message = b",".join((self._bare, challenge, without_proof))
        signature = hmac.digest(stored_key, message, self.digest)
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", self.digest), message, self.digest)
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)

    def _verified(self, challenge: bytes) -> bytes:
        found = _FINAL.fullmatch(challenge)
        if found is None:
            raise ProtocolViolation(f"the last message of {self.name} can't be read: {said(challenge)!r}")
        if not hmac.compare_digest(_decoded(found[1]), self._signature):
            raise AuthFailed(
                "the server's signature is wrong: it does not know the password, and may be somebody else's; "
                "check HOST, CA_FILE and FINGERPRINT"
            )
        self._is_proven = True
        return b""


class ScramSha1(Scram):
    """SCRAM-SHA-1 (RFC 5802)."""

    name = "SCRAM-SHA-1"
    digest = "sha1"


class ScramSha256(Scram):
    """SCRAM-SHA-256 (RFC 7677)."""

    name = "SCRAM-SHA-256"
    digest = "sha256"


class ScramSha1Plus(ScramSha1):
    """SCRAM-SHA-1 with a channel binding."""

    name = "SCRAM-SHA-1-PLUS"
    is_bound = True


class ScramSha256Plus(ScramSha256):
    """SCRAM-SHA-256 with a channel binding."""

    name = "SCRAM-SHA-256-PLUS"
    is_bound = True


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ProtocolViolation("a SCRAM message has a field that is not base64") from error
