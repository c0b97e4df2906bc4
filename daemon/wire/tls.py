"""What TLS trusts and shows: the CA or the pinned fingerprint, our own certificate, and what its failures mean.

TLS is 1.2 or newer, verified against the CA (the system's, or `ca_file`) and the host name, or against a pinned fingerprint.
Raises TlsFailed and CertificateRejected, one line each with what to do; reads the PEM files anew for each session.
"""

import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Final, NoReturn

from daemon import errors
from daemon.wire.endpoint import Endpoint

# Alerts (RFC 8446, section 6.2) by which a server says what it thinks of our certificate, as OpenSSL names them.
WANTS_OURS: Final = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED"})
REFUSES_OURS: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


class _Encrypted(Exception):
    """OpenSSL asks for a passphrase."""


def context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return what a handshake with this server needs."""
    try:
        made = ssl.create_default_context(cafile=None if endpoint.ca_file is None else str(endpoint.ca_file))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise errors.TlsFailed(f"{endpoint}: CA_FILE {endpoint.ca_file} can't be used ({reason(error)})") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if endpoint.fingerprint is not None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if endpoint.client_certificate is not None:
        _show(made, endpoint, endpoint.client_certificate, endpoint.client_key)
    return made


def _show(made: ssl.SSLContext, endpoint: Endpoint, certificate: Path, key: Path | None) -> None:
    """Load our own certificate; a passphrase is never asked for: nobody sits at a daemon's terminal."""

    def encrypted() -> NoReturn:
        raise _Encrypted

    key_name = f"CLIENT_KEY {key}" if key is not None else f"the key in CLIENT_CERTIFICATE {certificate}"
    for name, path in (("CLIENT_CERTIFICATE", certificate), ("CLIENT_KEY", key)):
        try:
            if path is not None:
                path.open("rb").close()
        except (OSError, ValueError) as error:
            raise errors.TlsFailed(f"{endpoint}: {name} {path} can't be read ({reason(error)})") from error
    try:
        made.load_cert_chain(certificate, key, password=encrypted)
    except _Encrypted as error:
        raise errors.TlsFailed(
            f"{endpoint}: {key_name} is encrypted, and nobody is there to type its passphrase; "
            f"take it off (openssl pkey -in {key or certificate} -out FILE), and guard the file by its mode"
        ) from error
    except (OSError, ValueError) as error:
        hint = f"CLIENT_CERTIFICATE {certificate} and its key must be PEM, the key in CLIENT_KEY or in the same file"
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            hint = f"{key_name} is not the key of CLIENT_CERTIFICATE {certificate}"
        raise errors.TlsFailed(f"{endpoint}: our certificate can't be used ({reason(error)}); {hint}") from error


def check_pin(endpoint: Endpoint, certificate: bytes) -> None:
    """Hold the server's certificate, DER, against the fingerprint, where one is pinned."""
    if endpoint.fingerprint is None:
        return
    found = hashlib.sha256(certificate).hexdigest()
    if not hmac.compare_digest(endpoint.fingerprint.replace(":", "").lower().encode(), found.encode()):
        raise errors.CertificateRejected(
            f"{endpoint}: the certificate's SHA-256 is {found}, not the one in FINGERPRINT; "
            "if the server has a new certificate, set FINGERPRINT to it, else somebody is in between"
        )


def is_about_us(error: ssl.SSLError) -> bool:
    """Tell whether the server speaks of our certificate: that it wants one, or another one."""
    return error.reason in WANTS_OURS | REFUSES_OURS


def failed(endpoint: Endpoint, error: ssl.SSLError) -> errors.TlsFailed:
    """Return what a failed handshake means, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return errors.CertificateRejected(
            f"{endpoint}: the certificate is not accepted: {error.verify_message or error.reason}; "
            "set CA_FILE to the CA that signed it, or FINGERPRINT to its SHA-256"
        )
    name = error.reason or str(error)
    has_ours = endpoint.client_certificate is not None
    hint = "check PORT and SECURITY"
    if name in NO_TLS:
        hint = "the server does not speak TLS there: check PORT, or set SECURITY to starttls"
    elif "PROTOCOL" in name or "VERSION" in name:
        hint = "the server has no TLS 1.2 or newer; it needs an update"
    elif is_about_us(error) and has_ours:
        hint = "the server does not accept our CLIENT_CERTIFICATE; ask its operator for another one"
    elif is_about_us(error):
        hint = "the server wants to see a certificate of ours; set CLIENT_CERTIFICATE and CLIENT_KEY"
    elif name == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        hint = (
            "no cipher in common, or the server wants another client certificate"
            if has_ours
            else ("no cipher in common, or the server wants to see a certificate of ours (CLIENT_CERTIFICATE)")
        )
    return errors.TlsFailed(f"{endpoint}: no TLS: {name.replace('_', ' ').lower()}; {hint}")


def reason(error: Exception) -> str:
    """Return what a library's error says, in lower case."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
