"""The way to a server: every address of its name, and proxies, which neither show their login nor wait for ever."""

import errno
import hashlib
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from daemon import errors
from daemon.demo.pop3_server import Pop3Server
from daemon.pop3.client import Client
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript
from tests.doubles.proxies import Connect, Proxy, Socks5
from tests.doubles.scripted import Scripted, ca_file, server_context
from tests.secrets_used import PASSWORD, TOKEN

LOGIN = ("anna", TOKEN)
KINDS = pytest.mark.parametrize("kind", [Socks5, Connect])


def url(proxy: Proxy, login: tuple[str, str] | None = None) -> str:
    scheme = "socks5" if isinstance(proxy, Socks5) else "http"
    return f"{scheme}://{':'.join(login) + '@' if login else ''}127.0.0.1:{proxy.port}"


def behind(proxy: str, **more: object) -> Endpoint:
    facts: dict[str, object] = {"host": "pop.example.invalid", "port": 110, "security": Security.PLAINTEXT, **more}
    return Endpoint(proxy=proxy, **({"timeout_seconds": 5.0} | facts))  # type: ignore[arg-type]


def connect(where: Endpoint, deadline: float | None = None) -> Stream:
    return Stream.connect(where, transcript=Transcript("s", "a"), deadline=deadline)


def test_a_live_address_is_found_behind_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.2 is loopback too, and nobody listens there."""
    with Scripted(["S: hello"]) as server:
        row = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        found = [(*row, ("127.0.0.2", server.port)), (*row, ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        where = Endpoint(host="pop.example.invalid", port=server.port, security=Security.PLAINTEXT)
        with closing(connect(where)) as stream:
            assert b"hello\r\n" == stream.receive()
            assert f"127.0.0.1:{server.port}" == stream.peer


def test_a_connection_that_is_reset_before_we_see_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two comes first is the machine's choice, and must not be the difference between two errors."""

    def reset(_self: socket.socket, _address: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(socket.socket, "connect", reset)
    where = Endpoint(host="127.0.0.1", port=110, security=Security.PLAINTEXT)
    with pytest.raises(errors.ConnectionLost, match=r"^127\.0\.0\.1:110: the connection was lost at once"):
        connect(where)


@KINDS
@pytest.mark.parametrize("login", [None, LOGIN])
@pytest.mark.parametrize("together", [False, True])
def test_a_maildrop_is_fetched_through_a_proxy(
    tmp_path: Path, kind: type[Proxy], login: tuple[str, str] | None, *, together: bool
) -> None:
    """The proxy resolves the name; the greeting may come in one segment with its reply; TLS ends at the server."""
    letters = [b"Subject: %d\r\n\r\n.%s\r\n" % (number, b"x" * 3000) for number in range(30)]
    with (
        Pop3Server({"anna": letters}, PASSWORD, tls=server_context("pop.example.invalid")) as server,
        kind(server.port, login=login, together=together) as proxy,
    ):
        where = behind(url(proxy, login), security=Security.STARTTLS, ca_file=ca_file(tmp_path))
        transcript = Transcript("s", "a")
        anna = Credentials(username="anna", secret=Secret(PASSWORD))
        with closing(Client.connect(where, anna, auth="user", transcript=transcript)) as client:
            got = [one.sha256 for _, one in client.retrieve(client.listing().entries) if isinstance(one, Spool)]
            client.quit()
    assert [hashlib.sha256(letter).hexdigest() for letter in letters] == got
    assert ["pop.example.invalid:110"] == proxy.asked
    assert f"* connected to pop.example.invalid (through the proxy 127.0.0.1:{proxy.port})" in transcript.text()
    assert TOKEN not in transcript.text()


@KINDS
def test_behind_a_proxy_nobody_is_on_loopback(kind: type[Proxy]) -> None:
    with Scripted(["S: hello"]) as server, kind(server.port) as proxy, closing(connect(behind(url(proxy)))) as stream:
        assert b"hello\r\n" == stream.receive()
        assert not stream.is_loopback


@KINDS
@pytest.mark.parametrize("mood", ["refusing", "cut", "garbage"])
def test_a_proxy_that_does_not_help_is_named_without_its_login(kind: type[Proxy], mood: str) -> None:
    with kind(9, login=LOGIN, mood=mood) as proxy, pytest.raises(errors.Unreachable, match="check PROXY") as caught:
        connect(behind(url(proxy, LOGIN)))
    assert str(caught.value).startswith(f"pop.example.invalid:110 through the proxy 127.0.0.1:{proxy.port}: ")
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


@KINDS
@pytest.mark.parametrize("given", [None, ("anna", "wrong")])
def test_a_proxy_that_wants_another_login_is_named(kind: type[Proxy], given: tuple[str, str] | None) -> None:
    with kind(9, login=LOGIN) as proxy, pytest.raises(errors.Unreachable, match="check PROXY"):
        connect(behind(url(proxy, given)))


@KINDS
def test_a_silent_proxy_is_left_at_the_timeout_and_at_the_deadline(kind: type[Proxy]) -> None:
    with kind(9, mood="silent") as proxy:
        with pytest.raises(errors.TimedOut, match=r"no reply for 0\.2 s"):
            connect(behind(url(proxy), timeout_seconds=0.2))
        with pytest.raises(errors.TimedOut, match="used up its time"):
            connect(behind(url(proxy)), deadline=time.monotonic() + 0.2)


def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(errors.Unreachable, match="check PROXY, and that it is up") as caught:
        connect(behind(f"socks5://anna:{TOKEN}@127.0.0.1:{port}"))
    assert TOKEN not in str(caught.value)


def test_a_login_that_a_proxy_s_protocol_can_t_say_is_named() -> None:
    with Socks5(9, login=LOGIN) as proxy, pytest.raises(errors.Unreachable, match="login can't be said"):
        connect(behind(url(proxy, ("anna", "p%C3%A4ss"))))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(errors.Unreachable, match=r"pip install 'postroom\[proxy\]'"):
        connect(behind(f"socks5://anna:{TOKEN}@127.0.0.1:1"))
