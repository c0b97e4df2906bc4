"""What a login may know of the connection that it goes over: chance for its nonce, a channel binding, a client certificate."""

import secrets
from typing import Final

from daemon.wire.sasl import Channel
from daemon.wire.stream import Stream

NONCE_OCTETS: Final = 24
BINDINGS: Final = ("tls-exporter", "tls-unique")  # RFC 9266 for TLS 1.3, RFC 5929 section 3 for TLS 1.2


def channel_of(stream: Stream) -> Channel:
    """Return it, with a nonce that was never used."""
    bindings = ((kind, stream.channel_binding(kind)) for kind in BINDINGS)
    endpoint = stream.endpoint
    return Channel(
        nonce=secrets.token_urlsafe(NONCE_OCTETS),
        binding=next(((kind, octets) for kind, octets in bindings if octets is not None), None),
        has_certificate=stream.is_encrypted and endpoint.client_certificate is not None,
        host=endpoint.host,
        port=endpoint.port,
    )
