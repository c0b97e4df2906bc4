"""What the two demo servers share: a loopback listener, a thread for each connection, and ways to misbehave.

Owns the listening socket and the threads; `stop` ends and joins all of them. Peers for the demo and for tests, independent of the house's
own protocol code (daemon.wire, daemon.pop3, daemon.smtp), so that a misreading of an RFC does not agree with itself.
Listens on 127.0.0.1 only.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from daemon.demo.connection import Connection, Ended, Seen, Then

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A misbehaviour.

    octets: said in place of the proper reply, and the command is NOT carried out; None: the command is carried out and its
    proper reply said.  keep: only so many octets of the proper reply are said (0: carried out, never told; then should
    not be GO_ON).  delay_seconds: a wait before it, cut short by `stop`.
    """

    octets: bytes | None = None
    keep: int | None = None
    then: Then = Then.GO_ON
    delay_seconds: float = 0.0


Hook = Answer | Callable[[Seen], Answer | None]


class Listener:
    """A server on a loopback port; a subclass says what to do with a connection in `serve`.

    commands: every command seen, as text.  answers: verb -> misbehaviour, consulted for each command; `CONNECT` stands for
    the greeting.  cut_after_octets: each connection is closed once it was written that many octets.
    violations: what a client did against the protocol that servers usually let pass.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, implicit_tls: bool = False, port: int = 0) -> None:
        """Prepare; nothing listens before `start`. implicit_tls: encrypted from the first octet, else offered by command."""
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.answers: dict[str, Hook] = {}
        self.cut_after_octets: int | None = None
        self.seen: list[Seen] = []
        self.violations: list[str] = []
        self.faults: list[BaseException] = []
        self._port = port
        self._listening: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        self._connections = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen; returns when connections are accepted."""
        self._stopping.clear()
        self._listening = socket.create_server((LOOPBACK, self._port), backlog=128)
        self._port = self._listening.getsockname()[1]
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listening,), name=f"{type(self).__name__} accept", daemon=True
        )
        self._accepting.start()
        return self

    def stop(self) -> None:
        """End all connections, join all threads, close all sockets; a second call does nothing.

        The port stays, so `start` comes back at the same address. A fault in a connection's thread is raised here.
        """
        self._stopping.set()
        if self._listening is not None and self._accepting is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept() on Linux
            self._accepting.join()
            self._listening.close()
            self._listening = self._accepting = None
        self.drop_all()
        if self.faults:
            raise self.faults.pop()

    def drop_all(self) -> None:
        """End every open connection and wait until its thread is gone; new ones are still accepted."""
        with self._lock:
            threads = dict(self._open)
        for connection, thread in threads.items():
            connection.abort()
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """Where it listens."""
        return LOOPBACK

    @property
    def port(self) -> int:
        """The port; known once started."""
        return self._port

    @property
    def connections(self) -> int:
        """How many clients came so far."""
        return self._connections

    @property
    def open_connections(self) -> int:
        """How many clients are here now."""
        return len(self._open)

    @property
    def commands(self) -> list[str]:
        """Every command seen so far, secrets as `***`."""
        return [one.line for one in list(self.seen)]

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections += 1
                connection = Connection(self._connections, sock, self._stopping)
                name = f"{type(self).__name__} {self._connections}"
                thread = threading.Thread(target=self._run, args=(connection,), name=name, daemon=True)
                self._open[connection] = thread
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            connection.octets_left = self.cut_after_octets
            if self.tls is not None and self.implicit_tls:
                connection.start_tls(self.tls)
            self.serve(connection)
        except (Ended, OSError, ValueError) as reason:
            # ValueError: the TLS object is gone. UnicodeError is one too, but that would be ours.
            if isinstance(reason, UnicodeError):
                self.faults.append(reason)
        except BaseException as fault:  # noqa: BLE001 -- a bug of the server must fail the test that uses it
            self.faults.append(fault)
        finally:
            try:
                self.left(connection)
            finally:
                connection.close()
                with self._lock:
                    del self._open[connection]

    # --- for subclasses -----------------------------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Talk with one client until Ended or return."""

    def left(self, connection: Connection) -> None:
        """Forget a client, before its socket is closed."""

    def note(self, connection: Connection, verb: str, argument: str = "") -> Seen:
        """Record a command."""
        seen = connection.seen(verb, argument)
        self.seen.append(seen)
        return seen

    def obey(self, connection: Connection, seen: Seen, proper: Callable[[], None]) -> None:
        """Carry out a command, or what the hook for it says."""
        hook = self.answers.get(seen.verb)
        answer = hook(seen) if callable(hook) else hook
        if answer is None:
            proper()
            return
        if answer.delay_seconds:
            connection.flush()
            self._stopping.wait(answer.delay_seconds)
        if answer.octets is not None:
            connection.write(answer.octets)
        else:
            connection.allowed_octets = answer.keep
            try:
                proper()
            except Ended:  # QUIT ends the connection itself; what we were told decides how
                if answer.then is Then.GO_ON:
                    raise
            finally:
                connection.allowed_octets = None
        connection.end(answer.then)
