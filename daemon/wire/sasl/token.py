"""Mechanisms that show an OAuth 2 access token: OAUTHBEARER (RFC 7628), and XOAUTH2, Google's and Microsoft's older form. Pure.

A refused token is told as a challenge, JSON with a `status`, which must be answered before the server says no.
"""

from typing import ClassVar

from daemon.errors import InputInvalid
from daemon.wire.sasl.exchange import Channel, Credentials, Exchange, status_of

SEPARATOR = "\x01"


class XOAuth2(Exchange):
    """XOAUTH2 (Google's Gmail, Microsoft's Exchange Online): user and token, separated by control-A."""

    name = "XOAUTH2"
    answer_to_error: ClassVar[bytes] = b""

    def __init__(self, credentials: Credentials, channel: Channel) -> None:
        """Refuse a control character: it would be the border of a field."""
        if any(one < " " for one in credentials.username + credentials.secret.reveal()):
            raise InputInvalid(f"a username or token with a control character can't be used with SASL {self.name}")
        self._credentials, self._channel = credentials, channel
        self._status: str | None = None

    def initial(self) -> bytes | None:
        """Return the whole message."""
        return f"user={self._credentials.username}\x01auth=Bearer {self._credentials.secret.reveal()}\x01\x01".encode()

    def respond(self, challenge: bytes) -> bytes:
        """Keep what the server says of the error, and let it go on to its refusal."""
        if self._status is not None:
            return super().respond(challenge)
        self._status = status_of(challenge)
        return self.answer_to_error

    def objection(self, *, accepted: bool) -> str | None:  # noqa: ARG002 -- behind an error there is no success
        """Return the status of the error challenge."""
        if self._status is None:
            return None
        return f"the access token is not accepted (status {self._status or 'not told'}): is it expired, or for another scope?"


class OAuthBearer(XOAuth2):
    """OAUTHBEARER (RFC 7628): a GS2 header, then fields separated by control-A."""

    name = "OAUTHBEARER"
    answer_to_error: ClassVar[bytes] = SEPARATOR.encode()

    def initial(self) -> bytes | None:
        """Return the whole message; host and port (section 3.1) where they are known."""
        name = self._credentials.username.replace("=", "=3D").replace(",", "=2C")
        fields = [f"n,a={name}," if name else "n,,"]
        if self._channel.host:
            fields += [f"host={self._channel.host}", f"port={self._channel.port}"]
        fields += [f"auth=Bearer {self._credentials.secret.reveal()}", "", ""]
        return SEPARATOR.join(fields).encode()
