"""Certificates for the loopback servers: an authority of its own and one certificate for localhost, made anew for each run."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files; the names in the certificate are `localhost`, `127.0.0.1` and `::1`."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    authority: trustme.CA

    def issue(self, file: Path, *, common_name: str) -> None:
        """Write a client's certificate and its key into one file."""
        leaf = self.authority.issue_cert("client.example", common_name=common_name)
        file.touch(mode=0o600)
        leaf.private_key_and_cert_chain_pem.write_to_path(str(file))


def make(directory: Path) -> Certificates:
    """Write the three files into the directory; the key is readable by its owner only."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    made = Certificates(
        ca_file=directory / "ca.pem",
        certificate_file=directory / "server.pem",
        key_file=directory / "server.key",
        authority=authority,
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    for position, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(made.certificate_file), append=position > 0)
    made.key_file.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(str(made.key_file))
    return made
