"""Mechanisms that show a password (PLAIN, LOGIN), or a keyed MD5 of it (CRAM-MD5). Pure."""

import hmac

from daemon.errors import InputInvalid
from daemon.wire.sasl.exchange import Channel, Credentials, Exchange


class Plain(Exchange):
    """PLAIN (RFC 4616): one message, NUL username NUL password in UTF-8."""

    name = "PLAIN"

    def __init__(self, credentials: Credentials, _channel: Channel) -> None:
        """Refuse a NUL: it would move the border between name and password (RFC 4616 section 2)."""
        if "\0" in credentials.username or "\0" in credentials.secret.reveal():
            raise InputInvalid("a username or password with a NUL can't be used with SASL PLAIN")
        self._credentials = credentials

    def initial(self) -> bytes | None:
        """Return the whole message; the empty challenge that asks for it is the session's business."""
        return f"\0{self._credentials.username}\0{self._credentials.secret.reveal()}".encode()


class Login(Exchange):
    """LOGIN (draft-murchison-sasl-login): the server asks twice; whatever it asks, first the name, then the password.

    It has no initial response: some servers take one, others take it for the password.
    """

    name = "LOGIN"

    def __init__(self, credentials: Credentials, _channel: Channel) -> None:
        """`credentials`: sent in UTF-8."""
        self._answers = [credentials.secret.reveal().encode(), credentials.username.encode()]

    def respond(self, challenge: bytes) -> bytes:
        """Return the name, then the password."""
        return self._answers.pop() if self._answers else super().respond(challenge)


class CramMd5(Exchange):
    """CRAM-MD5 (RFC 2195): the name and HMAC-MD5 of the challenge under the password. The server proves nothing."""

    name = "CRAM-MD5"

    def __init__(self, credentials: Credentials, _channel: Channel) -> None:
        """`credentials`: in UTF-8."""
        self._credentials: Credentials | None = credentials

    def respond(self, challenge: bytes) -> bytes:
        """Return `name digest`, once."""
        credentials, self._credentials = self._credentials, None
        if credentials is None:
            return super().respond(challenge)
        digest = hmac.digest(credentials.secret.reveal().encode(), challenge, "md5")
        return f"{credentials.username} {digest.hex()}".encode()
