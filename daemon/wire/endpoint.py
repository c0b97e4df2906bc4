"""Where a server is, how it is reached, and what it must prove: values, for whoever opens a stream."""

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path


class Security(StrEnum):
    """How a session is protected; also what the operator writes."""

    TLS = "tls"
    STARTTLS = "starttls"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server is and what it must prove.

    fingerprint: SHA-256 of the certificate in hexadecimal, colons allowed; replaces the CA.  timeout_seconds: of silence.
    client_certificate: PEM file, shown to a server that asks; its key in client_key, or in the same file.
    proxy: URL of the proxy to go through, `socks5://host:1080` or `http://user:password@host:3128`; never shown.
    """

    host: str
    port: int
    security: Security
    ca_file: Path | None = None
    fingerprint: str | None = None
    timeout_seconds: float = 60.0
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """`host:port`, as messages begin."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=256)  # asked several times a session, of few servers
def is_loopback(address: str) -> bool:
    """Tell whether an IP address is this machine's own, an IPv4 one written as IPv6 too."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_loopback
    return found.is_loopback
