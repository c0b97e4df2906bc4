"""The ground of the measurements: one Dovecot, and maildrops that cost nothing to make anew.

Each kind of letter is written to the disk once; a maildrop is a Maildir of hard links to them. So a round that deletes
gets a fresh maildrop of 5,000 letters in no time, and its deletions free no inodes: on some file systems a Maildir that is
written in the minutes after thousands of files were removed is several times slower.
"""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.servers import certificates, child, dovecot

PASSWORD: Final = "only-for-the-benchmark"

# Sizes are in the files' names, so that LIST reads no letter; nobody watches flags; one large letter may be mapped whole.
MORE: Final = """\
maildir_very_dirty_syncs = yes
pop3_fast_size_lookups = yes
service pop3 {
  process_min_avail = 2
  vsz_limit = 2G
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maildrop:
    """What a client is told of a user's maildrop, and what must have arrived afterwards."""

    user: str
    port: int
    ca_file: Path | None  # implicit TLS if there is one
    messages: int
    octets: int


@dataclass(frozen=True, slots=True)
class Letters:
    """A kind of letter on the disk: its files in their order, and their sizes."""

    files: tuple[Path, ...]
    octets: tuple[int, ...]


class Ground:
    """A running server and a directory for the clients; both are removed at the end. Use as a context manager."""

    def __init__(self) -> None:
        """Nothing runs before `with`."""
        self.directory = child.directory("bench")
        self._certificates = certificates.make(self.directory)
        self.server = dovecot.Dovecot(self._certificates, PASSWORD, more=MORE)
        self._kinds: dict[str, Letters] = {}

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        shutil.rmtree(self.directory)

    def fresh(self, name: str) -> Path:
        """Make a directory for one run; it stays until the end."""
        made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))
        made.chmod(0o755)
        return made

    def write(self, kind: str, letters: Iterator[bytes]) -> Letters:
        """Write a kind of letter to the disk, once."""
        if kind not in self._kinds:
            directory = self.server.mail / f".{kind}"
            directory.mkdir()
            files, octets = [], []
            for number, letter in enumerate(letters):
                file = directory / str(number)
                file.write_bytes(letter)
                self.server.own(file)
                files.append(file)
                octets.append(len(letter))
            self._kinds[kind] = Letters(tuple(files), tuple(octets))
        return self._kinds[kind]

    def maildrop(
        self, user: str, letters: Letters, part: slice = slice(None), *, tls: bool = False, port: int | None = None
    ) -> Maildrop:
        """Put letters into a user's maildrop, after those that are there, and have the server take note of them.

        port: of a proxy before the server.  Returns only what was put in now.
        """
        maildir = self.server.mail / user
        for name in ("", "tmp", "cur", "new"):
            if not (maildir / name).exists():
                (maildir / name).mkdir()
                self.server.own(maildir / name)
        # Dovecot numbers new files in the order of their time stamps; S is the size, W the size with CRLF line ends.
        start = 1_700_000_000 + sum(1 for _ in (maildir / "cur").iterdir())
        octets = letters.octets[part]
        for number, (file, size) in enumerate(zip(letters.files[part], octets, strict=True), start=start):
            (maildir / "cur" / f"{number}.M{number}.bench,S={size},W={size}:2,").hardlink_to(file)
        self.uidls(user)
        if port is None:
            port = self.server.pop3s_port if tls else self.server.pop3_port
        ca_file = self._certificates.ca_file if tls else None
        return Maildrop(user=user, port=port, ca_file=ca_file, messages=len(octets), octets=sum(octets))

    def uidls(self, user: str) -> list[str]:
        """Ask the server for a maildrop's UIDLs and sizes, which also has it build its index before anybody is timed."""
        with socket.create_connection(("127.0.0.1", self.server.pop3_port)) as connection:
            said = connection.makefile("rb")
            assert said.readline().startswith(b"+OK")
            for line in (f"USER {user}", f"PASS {PASSWORD}"):
                connection.sendall(f"{line}\r\n".encode())
                assert said.readline().startswith(b"+OK"), line
            lines: list[bytes] = []
            for word in (b"LIST", b"UIDL"):
                connection.sendall(word + b"\r\n")
                assert said.readline().startswith(b"+OK"), word
                lines = list(iter(said.readline, b".\r\n"))
            connection.sendall(b"QUIT\r\n")
            said.readline()
        return [line.split()[1].decode() for line in lines]
