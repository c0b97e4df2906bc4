"""EXTERNAL (RFC 4422 appendix A): who we are, the server knows already, by the TLS client certificate. Pure."""

from daemon.errors import InputInvalid
from daemon.wire.sasl.exchange import Channel, Credentials, Exchange


class External(Exchange):
    """One message, the name to act as; empty: the one in the certificate."""

    name = "EXTERNAL"

    def __init__(self, credentials: Credentials, _channel: Channel) -> None:
        """Refuse a NUL, which the grammar of an authorization identity excludes."""
        if "\0" in credentials.username:
            raise InputInvalid("a username with a NUL can't be used with SASL EXTERNAL")
        self._username = credentials.username

    def initial(self) -> bytes | None:
        """Return the name in UTF-8."""
        return self._username.encode()
