"""What monitors may ask of a running house, and the word to a dead man's switch while all goes on. Off by default.

    /livez    200 while the daemon gets on; 503 names what is stuck: restart it
    /readyz   200 while it can do its work; 503 says why not
    /metrics  for Prometheus (daemon/metrics.py)

Nobody logs in here: it listens on loopback or on a unix socket, and says no secrets and no mail.
"""

import contextlib
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from daemon import errors, metrics, trace
from daemon.store.database import Database

PING_SECONDS: Final = 60.0
TIMEOUT_SECONDS: Final = 10.0  # of a request, ours and others'
MODE: Final = 0o660  # of a unix socket: the group may ask


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What is asked. stuck: what does not get on.  troubles: what keeps it from its work."""

    database: Database
    version: str
    now: Callable[[], datetime]
    stuck: Callable[[], list[str]]
    troubles: Callable[[], list[str]]

    def readiness(self) -> list[str]:
        """Return why the house is not ready, the database asked anew; [] when it is."""
        found = [*self.stuck(), *self.troubles()]
        try:
            with self.database.reading() as conn:
                conn.exec_driver_sql("SELECT 1 FROM accounts")
        except errors.StoreError as error:
            found.append(str(error))
        return found


@contextlib.contextmanager
def monitored(house: House, listen: tuple[str, int] | Path | None, ping_url: str | None) -> Iterator[None]:
    """Answer, and ping, for the length of the block. SettingsInvalid if it can't listen there."""
    stop = threading.Event()
    threads = []
    server = None if listen is None else _server(house, listen)
    if server is not None:
        threads.append(threading.Thread(target=server.serve_forever, name="monitor", daemon=True))
    if ping_url is not None:
        threads.append(threading.Thread(target=_ping, args=(house, ping_url, stop), name="ping", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if server is not None:
            server.shutdown()
            server.server_close()
            if isinstance(listen, Path):
                listen.unlink(missing_ok=True)
        for thread in threads:
            thread.join(TIMEOUT_SECONDS)


# --- asked ----------------------------------------------------------------------------------------------------------


class _Unix(socketserver.UnixStreamServer):
    """HTTP on a unix socket."""


def _server(house: House, listen: tuple[str, int] | Path) -> socketserver.BaseServer:
    handler = type("Handler", (_Handler,), {"house": house})
    try:
        if not isinstance(listen, Path):
            return (_Http6 if ":" in listen[0] else HTTPServer)(listen, handler)
        listen.unlink(missing_ok=True)  # of a daemon that was killed; a living one holds the run lock
        server = _Unix(str(listen), handler)
        listen.chmod(MODE)
    except OSError as error:
        place = listen if isinstance(listen, Path) else f"{listen[0]}:{listen[1]}"
        raise errors.SettingsInvalid((f"POSTROOM_LISTEN: can't listen at {place}: {error.strerror}",)) from error
    return server


class _Http6(HTTPServer):
    """HTTP on ::1."""

    address_family = 10  # AF_INET6 on Linux


class _Handler(BaseHTTPRequestHandler):
    """One request. One thread answers all, in turn: a page costs milliseconds, and nobody far away can ask."""

    house: House
    server_version = "postroom"
    sys_version = ""
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Answer a question."""
        house, path = self.house, self.path.partition("?")[0]
        if path == "/livez":
            self._told(house.stuck())
        elif path == "/readyz":
            self._told(house.readiness())
        elif path == "/metrics":
            self._metrics()
        else:
            self._say(404, b"/livez, /readyz, /metrics\n")

    do_HEAD = do_GET  # noqa: N815 -- http.server's name for it

    def _metrics(self) -> None:
        house = self.house
        try:
            page = metrics.page(house.database, house.version, house.now(), [*house.stuck(), *house.troubles()])
        except errors.NotFound as error:
            self._say(501, f"{error}\n".encode())
        else:
            self._say(200, page, metrics.CONTENT_TYPE)

    def _told(self, wrong: list[str]) -> None:
        self._say(503 if wrong else 200, ("\n".join(wrong) or "ok").encode() + b"\n")

    def _say(self, code: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a scrape every few seconds is no event."""


# --- unasked --------------------------------------------------------------------------------------------------------


def _ping(house: House, url: str, stop: threading.Event) -> None:
    """Ask for the URL every minute while the house is ready; its silence is what raises the alarm, at whoever waits for it."""
    is_known_bad = False
    while not stop.is_set():
        if not house.readiness():
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 -- http and https only: notation.ping_url
                    answer.read(1)
                is_known_bad = False
            except (OSError, ValueError) as error:
                if not is_known_bad:  # said once, with neither path nor query: they hold the secret
                    trace.ping_failed(reason=getattr(error, "reason", None) or type(error).__name__)
                is_known_bad = True
        stop.wait(PING_SECONDS)
