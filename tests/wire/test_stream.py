"""A stream ends every wait, trusts only what was asked for, and names host, port and remedy in every error."""

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from daemon import errors
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript
from tests.doubles.scripted import Scripted, authority, ca_file, server_context


def endpoint(port: int, **more: object) -> Endpoint:
    facts: dict[str, object] = {"host": "127.0.0.1", "security": Security.PLAINTEXT, "timeout_seconds": 5.0, **more}
    return Endpoint(port=port, **facts)  # type: ignore[arg-type]


def connect(where: Endpoint, **more: object) -> Stream:
    return Stream.connect(where, transcript=Transcript("s", "a"), **more)  # type: ignore[arg-type]


def test_octets_go_and_come_and_the_transcript_has_a_line_for_each() -> None:
    moves: list[int] = []
    with Scripted(["C: one", "C: two", "S: three"]) as server:
        transcript = Transcript("s", "a")
        stream = Stream.connect(endpoint(server.port), transcript=transcript, progress=lambda: moves.append(1))
        with closing(stream):
            stream.send(b"one\r\ntwo\r\n", ["one", "TWO ***"])
            assert b"three\r\n" == stream.receive()
            assert (False, True, None) == (stream.is_encrypted, stream.is_loopback, stream.tls_version)
            assert f"127.0.0.1:{server.port}" == stream.peer == str(stream.endpoint)
            with pytest.raises(errors.ConnectionLost, match="closed the connection"):
                stream.receive()
    assert f"* connected to 127.0.0.1 (127.0.0.1:{server.port})\n> one\n> TWO ***" == transcript.text()
    assert [5, 5] == [line.octets for line in transcript.lines()[1:]]
    assert 2 == len(moves)


def test_tls_is_verified_against_the_ca_file(tmp_path: Path) -> None:
    received = b""
    with (
        Scripted(["S: " + "x" * 70_000], tls=server_context()) as server,
        closing(connect(endpoint(server.port, security=Security.TLS, ca_file=ca_file(tmp_path)))) as stream,
    ):
        assert (stream.tls_version or "").startswith("TLSv1.")
        while len(received) < 70_002:
            received += stream.receive()
    assert b"x" * 70_000 + b"\r\n" == received


def certificate_sha256(names: Sequence[str] = ("localhost", "127.0.0.1")) -> tuple[ssl.SSLContext, str]:

    leaf = authority().issue_cert(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    return context, hashlib.sha256(der).hexdigest()


def test_a_pinned_fingerprint_replaces_the_ca() -> None:
    context, sha256 = certificate_sha256(["other.example"])
    colons = ":".join(sha256[i : i + 2] for i in range(0, 64, 2)).upper()
    for pinned in (sha256, colons):
        with (
            Scripted(["S: hello"], tls=context) as server,
            closing(connect(endpoint(server.port, security=Security.TLS, fingerprint=pinned))) as stream,
        ):
            assert b"hello\r\n" == stream.receive()


def test_another_certificate_than_the_pinned_one_is_refused() -> None:
    context, sha256 = certificate_sha256()
    with Scripted(["HANG"], tls=context) as server, pytest.raises(errors.CertificateRejected, match=sha256):
        connect(endpoint(server.port, security=Security.TLS, fingerprint="00" * 32))


@pytest.mark.parametrize("case", ["unknown CA", "other host"])
def test_a_certificate_that_does_not_verify_is_refused(tmp_path: Path, case: str) -> None:
    trusted = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(trusted))
    names = ("localhost", "127.0.0.1") if case == "unknown CA" else ("other.example",)
    where = trusted if case == "unknown CA" else ca_file(tmp_path)
    with (
        Scripted(["HANG"], tls=server_context(*names)) as server,
        pytest.raises(errors.CertificateRejected, match="CA_FILE") as caught,
    ):
        connect(endpoint(server.port, security=Security.TLS, ca_file=where))
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
    assert caught.value.permanent


def test_a_missing_ca_file_is_named(tmp_path: Path) -> None:
    with Scripted(["HANG"]) as server, pytest.raises(errors.TlsFailed, match=r"nowhere\.pem"):
        connect(endpoint(server.port, security=Security.TLS, ca_file=tmp_path / "nowhere.pem"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("host", "says"),
    [("127.0.0.1", "refused"), ("no.such.host.invalid", "resolved"), ("x" * 70 + ".example", "HOST"), ("", "HOST")],
)
def test_an_unreachable_server_is_one_line_with_the_remedy(host: str, says: str) -> None:
    where = endpoint(free_port(), host=host, timeout_seconds=2.0)
    if host == "":
        where = endpoint(free_port(), host="a..b")
    with pytest.raises(errors.Unreachable, match=says) as caught:
        connect(where)
    assert str(caught.value).startswith(f"{where.host}:{where.port}: ")
    assert "\n" not in str(caught.value)


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = free_port()
    with Scripted(["S: hello"]) as server:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with closing(connect(endpoint(995, host="mail.example"))) as stream:
            assert b"hello\r\n" == stream.receive()


def test_silence_and_dribble_end() -> None:
    with (
        Scripted(["HANG"]) as server,
        closing(connect(endpoint(server.port, timeout_seconds=0.2))) as stream,
        pytest.raises(errors.TimedOut, match=r"no reply for 0\.2 s"),
    ):
        stream.receive()
    with (
        Scripted(["S-dribble: 0.02 " + "x" * 400]) as server,
        closing(connect(endpoint(server.port), deadline=time.monotonic() + 0.4)) as stream,
        pytest.raises(errors.TimedOut, match="used up its time"),
    ):
        while True:
            stream.receive()


def test_a_server_that_never_reads_ends_the_sending() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        closing(connect(endpoint(listener.getsockname()[1], timeout_seconds=0.3))) as stream,
        pytest.raises(errors.TimedOut),
    ):
        stream.send(b"x" * 50_000_000, ["(50000000 octets)"])


@pytest.mark.parametrize("tls", [False, True])
def test_abort_ends_a_wait_from_another_thread(tmp_path: Path, *, tls: bool) -> None:
    security = Security.TLS if tls else Security.PLAINTEXT
    with Scripted(["HANG"], tls=server_context() if tls else None) as server:
        stream = connect(endpoint(server.port, security=security, ca_file=ca_file(tmp_path), timeout_seconds=30.0))
        timer = threading.Timer(0.1, stream.abort)
        timer.start()
        with closing(stream), pytest.raises(errors.Stopped):
            stream.receive()
        timer.join()
        with pytest.raises(errors.Stopped):
            stream.send(b"x", ["x"])
        stream.abort()


def test_a_handshake_that_hangs_can_be_aborted_too() -> None:
    streams: list[Stream] = []
    with Scripted(["HANG"]) as server:
        timer = threading.Timer(0.1, lambda: streams[0].abort())  # noqa: PLW0108 -- not there yet when the timer is made
        timer.start()
        with pytest.raises(errors.Stopped):
            connect(endpoint(server.port, security=Security.TLS, timeout_seconds=30.0), opened=streams.append)
        timer.join()


def test_a_reset_is_a_lost_connection() -> None:
    with Scripted(["C-any:", "RESET"]) as server, closing(connect(endpoint(server.port))) as stream:
        stream.send(b"x\r\n", ["x"])
        with pytest.raises(errors.ConnectionLost, match="reset"):
            stream.receive()
