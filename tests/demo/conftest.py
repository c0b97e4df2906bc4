import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doubles.raw_line import RawLine
from tests.servers import certificates


@pytest.fixture
def call() -> Iterator[Callable[[int], RawLine]]:
    """Open raw connections; they are closed after the test."""
    lines: list[RawLine] = []

    def opened(port: int) -> RawLine:
        lines.append(RawLine(port))
        return lines[-1]

    yield opened
    for line in lines:
        line.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS contexts of a server on localhost and of a client that trusts it."""
    directory: Path = tmp_path_factory.mktemp("demo-tls")
    made = certificates.make(directory)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate_file, made.key_file)
    return server, ssl.create_default_context(cafile=made.ca_file)
