"""TLS shows our certificate where a server asks, says what is wrong with it, and takes nothing older than 1.2."""

import socket
import ssl
import threading
import warnings
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as pem

from daemon import errors
from daemon.wire import tls
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript
from tests.doubles.scripted import Scripted, authority, ca_file
from tests.secrets_used import PASSWORD


def asking(*, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Make a server's context that wants a client certificate of our authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    return context


def own(folder: Path, name: str = "anna") -> dict[str, Path]:
    leaf = authority().issue_cert(f"{name}@example.org")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    return {"client_certificate": certificate, "client_key": key}


def where(tmp_path: Path, **more: object) -> Endpoint:
    facts: dict[str, object] = {"host": "127.0.0.1", "port": 1, "ca_file": ca_file(tmp_path), "timeout_seconds": 5.0}
    return Endpoint(security=Security.TLS, **(facts | more))  # type: ignore[arg-type]


def connect(endpoint: Endpoint) -> Stream:
    return Stream.connect(endpoint, transcript=Transcript("s", "a"))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_our_certificate_is_shown_to_a_server_that_asks(tmp_path: Path, newest: ssl.TLSVersion) -> None:
    with (
        Scripted(["S: hello"], tls=asking(newest=newest)) as server,
        closing(connect(where(tmp_path, port=server.port, **own(tmp_path)))) as stream,
    ):
        assert b"hello\r\n" == stream.receive()
        assert (newest is ssl.TLSVersion.TLSv1_2) == (stream.channel_binding("tls-unique") is not None)


def test_the_key_may_stand_in_the_certificate_s_file(tmp_path: Path) -> None:
    files = own(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(files["client_certificate"].read_bytes() + files["client_key"].read_bytes())
    with (
        Scripted(["S: hello"], tls=asking()) as server,
        closing(connect(where(tmp_path, port=server.port, client_certificate=both))) as stream,
    ):
        assert b"hello\r\n" == stream.receive()


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.TlsFailed, match=r"CLIENT_KEY .*nowhere\.key can't be read"):
        tls.context(where(tmp_path, **(own(tmp_path) | {"client_key": tmp_path / "nowhere.key"})))


def test_the_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    files = own(tmp_path) | {"client_key": own(tmp_path, "bob")["client_key"]}
    with pytest.raises(errors.TlsFailed, match="is not the key of CLIENT_CERTIFICATE"):
        tls.context(where(tmp_path, **files))


def test_a_file_that_is_no_pem_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no")
    with pytest.raises(errors.TlsFailed, match="must be PEM"):
        tls.context(where(tmp_path, client_certificate=tmp_path / "no.pem"))


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    files = own(tmp_path)
    key = pem.load_pem_private_key(files["client_key"].read_bytes(), None)
    locked = pem.BestAvailableEncryption(PASSWORD.encode())
    files["client_key"].write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked))
    with pytest.raises(errors.TlsFailed, match=r"is encrypted.*openssl pkey -in"):
        tls.context(where(tmp_path, **files))


def reason(name: str) -> ssl.SSLError:
    error = ssl.SSLError(1, name)
    error.reason = name
    return error


def test_a_server_that_wants_a_certificate_of_ours_is_understood(tmp_path: Path) -> None:
    """What the alerts stand for that are hard to bring about."""
    refused = tls.failed(where(tmp_path, **own(tmp_path)), reason("SSLV3_ALERT_CERTIFICATE_EXPIRED"))
    assert "does not accept our CLIENT_CERTIFICATE" in str(refused)
    failure = tls.failed(where(tmp_path), reason("SSLV3_ALERT_HANDSHAKE_FAILURE"))
    assert "(CLIENT_CERTIFICATE)" in str(failure)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_is_shown_nothing_and_wants_something_is_named(tmp_path: Path, newest: ssl.TLSVersion) -> None:
    """Under TLS 1.3 it says so only after the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted, suppress(OSError):
                asking(newest=newest).wrap_socket(accepted, server_side=True)

        server = threading.Thread(target=serve)
        server.start()
        with (
            pytest.raises(errors.TlsFailed, match="wants to see a certificate of ours"),
            closing(connect(where(tmp_path, port=listener.getsockname()[1]))) as stream,
        ):
            stream.receive()
        server.join()


def test_a_server_without_tls_1_2_is_refused(tmp_path: Path) -> None:
    assert ssl.TLSVersion.TLSv1_2 == tls.context(where(tmp_path)).minimum_version
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with Scripted(["HANG"], tls=context) as server, pytest.raises(errors.TlsFailed, match=r"no TLS 1\.2 or newer"):
        connect(where(tmp_path, port=server.port))


@pytest.mark.parametrize(("expected", "host"), [("localhost", "localhost"), (None, "127.0.0.1")])
def test_a_name_is_told_to_the_server_and_an_address_is_not(tmp_path: Path, expected: str | None, host: str) -> None:
    """SNI (RFC 6066, section 3) has names only; an address is still looked for in the certificate."""
    told: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(host).configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    with (
        Scripted(["S: hello"], tls=context) as server,
        closing(connect(where(tmp_path, port=server.port, host=host))) as stream,
    ):
        assert b"hello\r\n" == stream.receive()
    assert [expected] == told
