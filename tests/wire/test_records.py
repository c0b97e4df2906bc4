"""TLS records are read many at once, and may be cut anywhere; what came whole before a broken one is given out first."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from daemon import errors
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript
from tests.doubles.scripted import ca_file, server_context


class Peer:
    """The server's side of TLS: its records are in our hands, and go over the line when and as we want."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = server_context().wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.line.sendall(self._outgoing.read())
                self._incoming.write(self.line.recv(65536))
            else:
                self.line.sendall(self._outgoing.read())
                return

    def record(self, octets: bytes) -> bytes:
        """Encrypt octets, 16 KiB at most."""
        self._tls.write(octets)
        return self._outgoing.read()

    def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._incoming.write(self.line.recv(65536))


@contextmanager
def connected(folder: Path, seconds: float = 5.0) -> Iterator[tuple[Stream, Peer]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[Peer] = []

        def serve() -> None:
            peers.append(Peer(listener.accept()[0]))
            peers[0].shake_hands()

        server = threading.Thread(target=serve)
        server.start()
        port = listener.getsockname()[1]
        where = Endpoint(
            host="127.0.0.1", port=port, security=Security.TLS, ca_file=ca_file(folder), timeout_seconds=seconds
        )
        stream = Stream.connect(where, transcript=Transcript("s", "a"))
        server.join()
    with closing(stream), closing(peers[0].line):
        yield stream, peers[0]


def test_many_records_come_in_one_read(tmp_path: Path) -> None:
    letters = [b"+OK\r\n%b\r\n.\r\n" % (b"x" * 1000)] * 50
    with connected(tmp_path) as (stream, peer):
        peer.line.sendall(b"".join([peer.record(letter) for letter in letters]))  # less than a socket holds
        received: list[bytes] = []
        while sum(map(len, received)) < sum(map(len, letters)):
            received.append(stream.receive())
    assert b"".join(letters) == b"".join(received)
    assert len(received) < len(letters) // 2


def test_records_that_are_cut_anywhere_come_whole(tmp_path: Path) -> None:
    with connected(tmp_path) as (stream, peer):
        peer.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = peer.record(b"one\r\n") + peer.record(b"two\r\n")

        def dribble() -> None:
            for at in range(len(wire)):
                peer.line.sendall(wire[at : at + 1])

        sender = threading.Thread(target=dribble)
        sender.start()
        received = b""
        while len(received) < 10:
            received += stream.receive()
        sender.join()
    assert b"one\r\ntwo\r\n" == received


@pytest.mark.parametrize(("ending", "says"), [("cut", "closed"), ("forged", "lost"), ("closed", "closed")])
def test_what_is_whole_is_given_out_before_the_line_is_lost(tmp_path: Path, ending: str, says: str) -> None:
    with connected(tmp_path) as (stream, peer):
        good, bad = peer.record(b"whole\r\n"), peer.record(b"broken\r\n")
        bad = {"cut": bad[:-1], "forged": bad[:-1] + bytes([bad[-1] ^ 1]), "closed": b""}[ending]
        peer.line.sendall(good + bad)
        peer.line.shutdown(socket.SHUT_WR)
        assert b"whole\r\n" == stream.receive()
        for _ in range(2):
            with pytest.raises(errors.ConnectionLost, match=says):
                stream.receive()


def test_a_record_that_dribbles_is_no_progress(tmp_path: Path) -> None:
    """Each of its octets comes within the time, the whole does not."""
    with connected(tmp_path, seconds=0.3) as (stream, peer):
        wire, is_over = peer.record(b"x" * 16_000), threading.Event()

        def dribble() -> None:
            for at in range(len(wire)):
                peer.line.sendall(wire[at : at + 1])
                if is_over.wait(0.02):
                    return

        sender = threading.Thread(target=dribble)
        sender.start()
        with pytest.raises(errors.TimedOut, match=r"no reply for 0\.3 s"):
            stream.receive()
        is_over.set()
        sender.join()


def test_much_is_sent_in_its_order_while_the_peer_reads(tmp_path: Path) -> None:
    octets = bytes(range(256)) * 3000
    with connected(tmp_path) as (stream, peer):
        sender = threading.Thread(target=stream.send, args=(octets, ["(768000 octets)"]))
        sender.start()
        received = b""
        while len(received) < len(octets):
            received += peer.receive()
        sender.join()
    assert octets == received
