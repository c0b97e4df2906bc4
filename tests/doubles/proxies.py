"""Loopback proxies that carry to a port of this machine: SOCKS 5 (RFC 1928, 1929) and HTTP CONNECT (RFC 9110)."""

import base64
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self


class Proxy:
    """Carries whatever name is asked for to `target`, a port on 127.0.0.1; `asked` holds what was asked.

    login: user and password that it wants.  mood: proper, refusing, silent, cut (closes in the middle of its reply), or
    garbage.  together: the first octets of the server leave in one write with the reply.
    """

    def __init__(
        self, target: int, *, login: tuple[str, str] | None = None, mood: str = "proper", together: bool = False
    ) -> None:
        self.target, self.login, self.mood, self.together = target, login, mood, together
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, IndexError):  # IndexError: the client left in the middle of its request
            if self.mood == "silent":
                while client.recv(1):
                    pass
            elif reply := self._heard(client):
                if self.mood in ("cut", "garbage", "refusing"):
                    client.sendall(reply)
                else:
                    self._carry(client, reply)
            client.shutdown(socket.SHUT_RDWR)

    def _heard(self, client: socket.socket) -> bytes | None:
        with client.makefile("rb") as file:
            return self.parley(client, file)

    def _carry(self, client: socket.socket, reply: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.target), timeout=5) as server:
            client.sendall(reply + (server.recv(4096) if self.together else b""))
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join(5)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while octets := source.recv(65536):
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)

    def parley(self, client: socket.socket, file: BinaryIO) -> bytes | None:
        """Hear the request; return the reply, None to close without one."""
        raise NotImplementedError


class Socks5(Proxy):
    """SOCKS 5."""

    def parley(self, client: socket.socket, file: BinaryIO) -> bytes | None:
        methods = file.read(file.read(2)[1])
        wanted = 2 if self.login else 0
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return None
        client.sendall(bytes([5, wanted]))
        if self.login:
            file.read(1)
            given = tuple(file.read(file.read(1)[0]).decode() for _ in range(2))
            client.sendall(b"\x01" + (b"\x00" if given == self.login else b"\x01"))
            if given != self.login:
                return None
        kind = file.read(4)[3]
        host = {1: lambda: socket.inet_ntoa(file.read(4)), 3: lambda: file.read(file.read(1)[0]).decode()}[kind]()
        self.asked.append(f"{host}:{int.from_bytes(file.read(2))}")
        reply = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"
        return {"cut": reply[:5], "garbage": b"\xffgarbage!!", "refusing": b"\x05\x02" + reply[2:]}.get(
            self.mood, reply
        )


class Connect(Proxy):
    """HTTP CONNECT."""

    def parley(self, client: socket.socket, file: BinaryIO) -> bytes | None:
        lines = [file.readline().decode().strip()]
        while lines[-1]:
            lines.append(file.readline().decode().strip())
        self.asked.append(lines[0].split()[1])
        wanted = base64.b64encode(":".join(self.login).encode()).decode() if self.login else None
        if wanted and f"Proxy-Authorization: Basic {wanted}" not in lines:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return None
        reply = b"HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n"
        refusing = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        return {"cut": reply[:20], "garbage": b"garbage\r\n\r\n", "refusing": refusing}.get(self.mood, reply)
