"""A far-away server on loopback: a proxy that holds every octet back for half a round trip, in each direction.

    python -m tests.benchmarks.delay PORT HOST:PORT --rtt-ms 50      serve until the end of stdin
    python -m tests.benchmarks.delay --verify --rtt-ms 50            measure what it adds to a ping, and its throughput

The cost of TCP's handshake is imitated: the proxy connects one and a half round trips after it was connected to, so that a
greeting arrives two round trips after connect(), as it would. Bandwidth is not limited; slow start and loss are not imitated.
"""

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Final, Self

from tests.servers import child

COARSE_SECONDS: Final = (
    0.0005  # a timer of the event loop comes up to a millisecond late: what is due by then goes along
)
PINGS: Final = 40
BULK_OCTETS: Final = 64 << 20


class DelayLine(asyncio.Protocol):
    """What one end sends is written to the other end later; an empty piece stands for the end of the stream."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how much later."""
        self._seconds = seconds
        self._held: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._far: asyncio.Transport | None = None
        self.near: asyncio.Transport | None = None
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the near end; small pieces are not to wait for each other."""
        assert isinstance(transport, asyncio.Transport)
        self.near = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=1 << 30)

    def lead_to(self, far: asyncio.Transport | None) -> None:
        """Name the other end; what was held back meanwhile goes there when it is due."""
        self._far = far
        self._wind()

    def data_received(self, data: bytes) -> None:
        """Hold a piece back."""
        self._held.append((self.loop.time() + self._seconds, data))
        self._wind()

    def eof_received(self) -> bool:
        """Hold the end back; the other direction stays open."""
        self.data_received(b"")
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """Pass on that nothing more comes."""
        self.data_received(b"")

    def _wind(self) -> None:
        if self._timer is None and self._held and self._far is not None:
            self._timer = self.loop.call_at(self._held[0][0], self._release)

    def _release(self) -> None:
        self._timer = None
        due, pieces = self.loop.time() + COARSE_SECONDS, []
        while self._held and self._held[0][0] <= due:
            pieces.append(self._held.popleft()[1])
        assert self._far is not None
        if not self._far.is_closing():
            self._far.write(b"".join(pieces))
            if b"" in pieces:
                self._far.close()
        self._wind()


async def serve(port: int, host: str, target: int, rtt: float) -> None:
    """Serve until cancelled. rtt: seconds."""

    class Front(DelayLine):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.connecting = self.loop.create_task(self._connect())

        async def _connect(self) -> None:
            await asyncio.sleep(rtt * 1.5)
            _, back = await self.loop.create_connection(lambda: DelayLine(rtt / 2), host, target)
            back.lead_to(self.near)
            self.lead_to(back.near)

    server = await asyncio.get_running_loop().create_server(lambda: Front(rtt / 2), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


class Proxy:
    """The proxy as a process of its own, so that it takes no time from what is measured. Use as a context manager."""

    def __init__(self, target: int, rtt_ms: float) -> None:
        """`target`: a port of 127.0.0.1."""
        (self.port,) = child.free_ports(1)
        words = [str(self.port), f"127.0.0.1:{target}", "--rtt-ms", str(rtt_ms)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.delay", *words], stdin=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + child.START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert time.monotonic() < deadline, "the proxy does not answer"
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


# --- its error ------------------------------------------------------------------------------------------------------


def verify(rtt_ms: float) -> tuple[float, float, float]:
    """Measure through a proxy: milliseconds that it adds to a ping, to the first answer, and megabytes a second of an echo."""
    (port,) = child.free_ports(1)
    echo = subprocess.Popen([sys.executable, "-c", _ECHO, str(port)], stdin=subprocess.PIPE)
    assert echo.stdin is not None
    try:
        with Proxy(port, rtt_ms) as proxy:
            time.sleep(0.2)
            direct, through = _pings(port), _pings(proxy.port)
            rate = _bulk(proxy.port)
    finally:
        echo.stdin.close()
        echo.wait(30)
    return statistics.median(through[1:]) - statistics.median(direct[1:]), through[0] - direct[0], rate


_ECHO: Final = """
import socket, sys, threading
def echo(one):
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := one.recv(1 << 18): one.sendall(data)
def serve():
    server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True: threading.Thread(target=echo, args=[server.accept()[0]], daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""


def _pings(port: int) -> list[float]:
    """Return milliseconds, the first with the connection's."""
    took = []
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            took.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
    return took


def _bulk(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.perf_counter()
        sender = threading.Thread(target=connection.sendall, args=[bytes(BULK_OCTETS)])
        sender.start()
        left = BULK_OCTETS
        while left:
            left -= len(connection.recv(1 << 18))
        sender.join()
        return BULK_OCTETS / (time.perf_counter() - began) / 1e6


async def _until_stdin_ends(work: asyncio.Task[None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    work.cancel()


async def _main(port: int, target: str, rtt_ms: float) -> None:
    host, _, target_port = target.rpartition(":")
    work = asyncio.create_task(serve(port, host, int(target_port), rtt_ms / 1000))
    await _until_stdin_ends(work)


def main() -> None:
    """Serve, or verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--rtt-ms", type=float, default=50)
    parser.add_argument("--verify", action="store_true")
    chosen = parser.parse_args()
    if chosen.verify:
        ping, first, rate = verify(chosen.rtt_ms)
        print(f"adds {ping:.2f} ms to a ping, {first:.2f} ms to connection and first answer; echoes {rate:.0f} MB/s")
    else:
        asyncio.run(_main(chosen.port, chosen.target, chosen.rtt_ms))


if __name__ == "__main__":
    main()
