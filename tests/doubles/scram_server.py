"""The server's two messages of SCRAM (RFC 5802), written from the RFC and not from our client."""

import base64
import hashlib
import hmac


def server_first(nonce: str = "n0nceMORE", salt: bytes = b"salt", iterations: int = 4096) -> bytes:
    return f"r={nonce},s={base64.b64encode(salt).decode()},i={iterations}".encode()


def server_final(name: str, password: str, client_first: bytes, first: bytes, client_final: bytes) -> bytes:
    """Check the proof as a server does (RFC 5802 section 3), from stored keys, and sign."""
    digest = "sha256" if "256" in name else "sha1"
    fields = dict(field.split(b"=", 1) for field in first.split(b","))
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    stored = hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest()
    bare, (without_proof, proof) = client_first.split(b",", 2)[2], client_final.rsplit(b",p=", 1)
    message = bare + b"," + first + b"," + without_proof
    signature = hmac.digest(stored, message, digest)
    key = bytes(one ^ other for one, other in zip(signature, base64.b64decode(proof), strict=True))
    assert stored == hashlib.new(digest, key).digest(), "the proof is wrong"
    return b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", digest), message, digest))
