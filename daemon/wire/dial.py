"""From an endpoint to a connected socket: every address of the host, or a proxy that knows the way.

Behind a proxy the proxy resolves the host's name; nothing of it goes to our own DNS. Raises Unreachable, TimedOut, and
ConnectionLost by a server that hangs up while we wake, one line each that begins with host:port; a proxy's login is in none
of them. No wait outlives the deadline.
"""

import socket
import time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from daemon import errors
from daemon.wire.endpoint import Endpoint
from daemon.wire.tls import reason

ADDRESS_SECONDS: Final = 20.0  # for one of several addresses: a black hole must not use up the patience for the others
HEAD_OCTETS: Final = 16_384  # of an HTTP proxy's reply
PROXY_TYPES: Final = {"socks5": "SOCKS5", "socks5h": "SOCKS5", "socks4": "SOCKS4", "http": "HTTP"}


def connected(endpoint: Endpoint, deadline: float | None) -> socket.socket:
    """Return a socket that is connected with the server.  deadline: a value of time.monotonic."""
    if endpoint.proxy is not None:
        return _through(endpoint, endpoint.proxy, deadline)
    where = (endpoint.host, endpoint.port)
    return _direct(str(endpoint), where, endpoint.timeout_seconds, deadline, check="HOST and PORT")


def _direct(
    whom: str, where: tuple[str, int], timeout_seconds: float, deadline: float | None, *, check: str
) -> socket.socket:
    """Try every address of a host.  whom: begins the messages.  check: the settings to look at."""
    try:
        found = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise errors.Unreachable(
            f"{whom}: the host name can't be resolved ({reason(error)}); check {check.split(maxsplit=1)[0]} and DNS"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA can't encode
        raise errors.Unreachable(
            f"{whom}: this is no host name ({reason(error)}); check {check.split(maxsplit=1)[0]}"
        ) from error
    patience = timeout_seconds if len(found) == 1 else min(timeout_seconds, ADDRESS_SECONDS)
    failures: list[str] = []
    lost = False
    for family, kind, protocol, _canonical, address in found:
        wait_seconds = patience if deadline is None else min(patience, deadline - time.monotonic())
        if wait_seconds <= 0:
            raise errors.TimedOut(f"{whom}: the session used up its time before a connection was made")
        opened: socket.socket | None = None
        try:
            opened = socket.socket(family, kind, protocol)
            opened.settimeout(wait_seconds)
            opened.connect(address)
        except OSError as error:
            if opened is not None:
                opened.close()
            failures.append(f"{address[0]}: {reason(error)}")
            # A port where nobody listens refuses; what is reset was a connection, though we had no time to see it.
            lost = lost or isinstance(error, ConnectionResetError)
        else:
            return opened
    if lost:
        raise errors.ConnectionLost(f"{whom}: the connection was lost at once ({'; '.join(failures)})")
    raise errors.Unreachable(f"{whom}: no connection ({'; '.join(failures)}); check {check}, and that it is up")


# --- proxies --------------------------------------------------------------------------------------------------------


class _Parley:
    """The socket while the library speaks with a proxy: what it reads is never more than the proxy's own reply.

    The server's greeting may be right behind that reply (POP3 and SMTP servers speak first). And each wait ends in time.
    """

    def __init__(self, connected: socket.socket, *, is_http: bool, until: float) -> None:
        self.socket = connected
        self._is_http = is_http
        self._until = until

    def sendall(self, octets: bytes) -> None:
        self._allow()
        self.socket.sendall(octets)

    def recv(self, most: int) -> bytes:
        """Return at most so many octets of a SOCKS reply, of which the library asks for no more; or an HTTP reply's whole head."""
        self._allow()
        if not self._is_http:
            return self.socket.recv(most)
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            self._allow()
            octet = self.socket.recv(1)
            if not octet or len(head) >= HEAD_OCTETS:
                raise ConnectionError("its reply has no end")
            head += octet
        return bytes(head)

    def close(self) -> None:
        self.socket.close()

    def _allow(self) -> None:
        wait_seconds = self._until - time.monotonic()
        if wait_seconds <= 0:
            raise TimeoutError
        self.socket.settimeout(wait_seconds)


class _Door:
    """What python-socks takes as the way to its proxy: a connection that we have made."""

    def __init__(self, parley: _Parley) -> None:
        self._parley = parley

    def connect(self, **_whereto: Any) -> _Parley:
        return self._parley


def _through(endpoint: Endpoint, url: str, deadline: float | None) -> socket.socket:
    """Ask a proxy for a connection with the server."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    whom = f"{endpoint} through the proxy {f'[{host}]' if ':' in host else host}:{port}"
    try:
        import python_socks  # noqa: PLC0415 -- an extra
        from python_socks.sync import Proxy  # noqa: PLC0415
    except ImportError as error:
        raise errors.Unreachable(f"{whom}: PROXY needs a library more; pip install 'postroom[proxy]'") from error
    opened = _direct(whom, (host, port), endpoint.timeout_seconds, deadline, check="PROXY")
    silence = time.monotonic() + endpoint.timeout_seconds
    is_ours = deadline is not None and deadline < silence
    kind = PROXY_TYPES[parts.scheme.lower()]
    parley = _Parley(opened, is_http=kind == "HTTP", until=deadline if deadline is not None and is_ours else silence)
    # The library's own from_url drops a user name that has no password, which SOCKS 4 has.
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    forward: Any = _Door(parley)
    proxy = Proxy(python_socks.ProxyType[kind], host, port, username, password, rdns=True, forward=forward)
    try:
        proxy.connect(endpoint.host, endpoint.port)
    except TimeoutError as error:  # the library's is one too
        opened.close()
        used = "the session used up its time" if is_ours else f"no reply for {endpoint.timeout_seconds:g} s"
        raise errors.TimedOut(f"{whom}: {used}; is the proxy overloaded, or TIMEOUT too short?") from error
    # AssertionError and IndexError: what the library makes of octets that are no reply.
    except (python_socks.ProxyError, OSError, ValueError, AssertionError, IndexError) as error:
        opened.close()
        says = "".join(one if one.isprintable() else "?" for one in reason(error))[:200]
        if isinstance(error, ValueError) or (password and password.lower() in says):
            says = "its login can't be said" if isinstance(error, ValueError) else "refused"
        # Without its cause: that one may quote the login.
        raise errors.Unreachable(f"{whom}: no connection ({says}); check PROXY, and what it allows") from None
    except BaseException:
        opened.close()
        raise
    return opened
