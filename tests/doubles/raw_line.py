"""A client that says exactly what a test says, and no more."""

import socket
import ssl


class RawLine:
    """A raw connection to a server: what is said goes out as it is, what is heard comes line by line."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.file = self.socket.makefile("rb")

    def say(self, *lines: str | bytes) -> None:
        """Send lines in one write."""
        self.socket.sendall(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\r\n" for one in lines))

    def hear(self) -> str:
        """Give the next line, "" at the end."""
        return self.file.readline().decode().rstrip("\r\n")

    def ask(self, line: str | bytes) -> str:
        """Say a line and give the first line of the answer."""
        self.say(line)
        return self.hear()

    def rest(self) -> list[str]:
        """Give the lines of a POP3 multi-line answer."""
        lines = []
        while (line := self.hear()) != ".":
            lines.append(line)
        return lines

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS."""
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        """Leave without a word."""
        self.file.close()
        self.socket.close()
