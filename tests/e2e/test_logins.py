"""A real Dovecot takes every login that it knows, with the right password, and says no to a wrong one."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from daemon import errors
from daemon.pop3.client import Client
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests import suite_log
from tests.secrets_used import PASSWORD
from tests.servers import child
from tests.servers import dovecot as dovecot_server
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot

MECHANISMS: Final = ("plain", "login", "apop", "cram-md5", "scram-sha-1", "scram-sha-256")
pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def learned(certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot that knows every mechanism."""
    child.need(dovecot_server.why_not())
    with Dovecot(certificates, mechanisms=(*MECHANISMS, "external")) as server:
        yield server


def said(
    server: Dovecot,
    certificates: Certificates,
    auth: str,
    security: Security,
    password: str = PASSWORD,
    certificate: Path | None = None,
) -> str:
    """Log in and look; return the transcript."""
    endpoint = Endpoint(
        host="localhost",
        port=server.pop3s_port if security is Security.TLS else server.pop3_port,
        security=security,
        ca_file=certificates.ca_file,
        timeout_seconds=20,
        client_certificate=certificate,
    )
    transcript = Transcript("test", "work")
    credentials = Credentials(username="logins", secret=Secret(password))
    try:
        with closing(Client.connect(endpoint, credentials, auth=auth, transcript=transcript)) as client:
            assert 0 == client.stat().count
            client.quit()
    finally:
        suite_log.keep(transcript.text())
    return transcript.text()


@pytest.mark.parametrize("security", Security)
@pytest.mark.parametrize("auth", ["user", *MECHANISMS])
def test_every_login_that_it_offers(
    learned: Dovecot, certificates: Certificates, auth: str, security: Security
) -> None:
    text = said(learned, certificates, auth, security)
    assert {"user": "> USER logins", "apop": "> APOP logins ***"}.get(auth, f"> AUTH {auth.upper()}") in text


@pytest.mark.parametrize("auth", ["user", *MECHANISMS])
def test_a_wrong_password_is_refused(learned: Dovecot, certificates: Certificates, auth: str) -> None:
    with pytest.raises(errors.AuthFailed, match="check USERNAME and PASSWORD"):
        said(learned, certificates, auth, Security.TLS, "wrong")


def test_auto_takes_the_strongest(learned: Dovecot, certificates: Certificates) -> None:
    assert "> AUTH SCRAM-SHA-256 ***" in said(learned, certificates, "auto", Security.TLS)


def test_a_client_certificate_is_the_login(learned: Dovecot, certificates: Certificates, tmp_path: Path) -> None:
    """Without a password `auto` means EXTERNAL; the name in the certificate is who we are."""
    certificate = tmp_path / "client.pem"
    certificates.issue(certificate, common_name="logins")
    text = said(learned, certificates, "auto", Security.TLS, "", certificate)
    assert "> AUTH EXTERNAL ***" in text
