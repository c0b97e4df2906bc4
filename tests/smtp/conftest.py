"""Relays on loopback and a client for them."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from daemon.demo.smtp_server import SmtpServer
from daemon.smtp.relay import Relay
from daemon.wire.sasl import Credentials
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests.doubles.smtp_double import Connect, Tls
from tests.servers import certificates


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    made = certificates.make(tmp_path_factory.mktemp("certificates"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate_file, made.key_file)
    return Tls(context, made.ca_file)


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as started:
        yield started


@pytest.fixture
def transcript() -> Transcript:
    return Transcript("0123456789ab", "home")


@pytest.fixture
def connect(transcript: Transcript) -> Iterator[Connect]:
    """Connect to a port on loopback: `connect(port, …)`, further arguments as of Endpoint and Relay.connect."""
    opened: list[Relay] = []

    def connected(port: int, credentials: Credentials | None = None, **options: Any) -> Relay:
        of_endpoint = {"security": Security.PLAINTEXT, "timeout_seconds": 5.0, "host": "127.0.0.1"}
        of_endpoint |= {
            name: options.pop(name) for name in ("host", "security", "ca_file", "timeout_seconds") if name in options
        }
        options = {"helo_name": "us.example", "transcript": transcript} | options
        relay = Relay.connect(Endpoint(port=port, **of_endpoint), credentials, **options)  # type: ignore[arg-type]
        opened.append(relay)
        return relay

    yield connected
    for relay in opened:
        relay.close()
