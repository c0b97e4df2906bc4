"""The least that a client can do: sockets, commands, and octets that are counted and let go. What is left is the server's time.

It logs in and asks as we do at a first visit (CAPA, AUTH, CAPA, the listing, RETR in one window, QUIT), stores nothing and checks nothing.
"""

import base64
import socket
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Final

from tests.benchmarks.ground import PASSWORD, Maildrop

WINDOW: Final = 512  # RETRs under way
CHUNK_OCTETS: Final = 256 * 1024
END: Final = b"\r\n.\r\n"


def visit_all(maildrops: Collection[Maildrop], at_once: int) -> dict[str, Any]:
    """Visit them, so many at a time; give wall and cpu (seconds), and messages."""
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(at_once) as threads:
        messages = sum(threads.map(visit, maildrops))
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "messages": messages}


def visit(maildrop: Maildrop) -> int:
    """Fetch every letter of a maildrop; give how many ended."""
    with socket.create_connection(("localhost", maildrop.port)) as line, line.makefile("rb") as said:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said.readline()
        login = base64.b64encode(f"\0{maildrop.user}\0{PASSWORD}".encode())
        for command in (b"CAPA", b"AUTH PLAIN " + login, b"CAPA"):
            line.sendall(command + b"\r\n")
            _expect_ok(said)
            if command == b"CAPA":
                _skip_lines(said)
        line.sendall(b"STAT\r\nUIDL\r\nLIST\r\n")
        _expect_ok(said)
        for _listing in range(2):
            _expect_ok(said)
            _skip_lines(said)
        done = _letters(line, maildrop.messages)
        line.sendall(b"QUIT\r\n")
        _expect_ok(said)
    return done


def _letters(line: socket.socket, messages: int) -> int:
    asked = done = 0
    held = b""
    while done < messages:
        if asked - done <= WINDOW // 2 and asked < messages:
            until = min(messages, done + WINDOW)
            line.sendall(b"".join(b"RETR %d\r\n" % number for number in range(asked + 1, until + 1)))
            asked = until
        octets = held + line.recv(CHUNK_OCTETS)
        if octets == held:
            raise EOFError("the server closed the connection")
        done += octets.count(END)
        held = octets[octets.rfind(END) + len(END) :][-len(END) + 1 :] if END in octets else octets[-len(END) + 1 :]
    return done


def _expect_ok(said: BinaryIO) -> None:
    reply = said.readline()
    if not reply.startswith(b"+OK"):
        raise ValueError(f"the server said {reply!r}")


def _skip_lines(said: BinaryIO) -> None:
    while said.readline() != b".\r\n":
        pass
