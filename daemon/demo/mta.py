"""The SMTP server with what newer relays can do as well: CHUNKING (RFC 3030), DSN (3461), LIMITS (9422); and LMTP (2033).

A chunk is read before its BDAT is answered, whatever the answer, as it has to be; `knows_bdat = False` makes it a relay that
offers CHUNKING and takes the chunk for commands. In `answers`, `BDAT` is each chunk.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Final

from daemon.demo.connection import Connection, Seen
from daemon.demo.smtp_server import Received, Refused, Session, SmtpServer

MAX_CHUNK_OCTETS: Final = 64 * 1024 * 1024


class Mta(SmtpServer):
    """The server.

    limits: announced, like `{"MAILMAX": 5}`.  lmtp: it speaks LMTP.  on_final: recipient -> the reply to say for it instead of
    accepting, once the letter is there, or None; LMTP only.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        limits: Mapping[str, int] | None = None,
        lmtp: bool = False,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        """`users`, `tls`, `implicit_tls`: see SmtpServer."""
        super().__init__(users, tls=tls, implicit_tls=implicit_tls)
        self.extensions |= {"CHUNKING", "DSN"}
        self.knows_bdat = True
        self.knows_ehlo = not lmtp
        self.lmtp = lmtp
        self.on_final: Callable[[str], str | None] = lambda _address: None
        self._chunks: dict[Connection, bytes] = {}
        self._verbs["BDAT"] = self._bdat
        if lmtp:
            self._verbs["LHLO"] = self._ehlo
        if limits:
            self.extra_extensions.append("LIMITS " + " ".join(f"{name}={most}" for name, most in limits.items()))

    def obey(self, connection: Connection, seen: Seen, proper: Callable[[], None]) -> None:
        """Carry out a command; a chunk is read first."""
        if seen.verb == "BDAT" and self.knows_bdat:
            octets = seen.argument.partition(" ")[0]
            count = min(int(octets), MAX_CHUNK_OCTETS) if octets.isascii() and octets.isdigit() else 0
            while connection.size < count:
                connection.receive()
            self._chunks[connection] = connection.take(count)
        super().obey(connection, seen, proper)

    def _bdat(self, session: Session, argument: str) -> None:
        _, _, last = argument.partition(" ")
        if not self.knows_bdat:
            raise Refused("502 5.5.1 I do not know that")
        if last.upper() not in {"", "LAST"}:
            raise Refused("501 5.5.4 BDAT octets LAST")
        if session.sender is None:
            raise Refused("503 5.5.1 MAIL first")
        if not session.recipients:
            raise Refused("503 5.5.1 no valid recipients")  # and the letter is still begun: who goes on must say RSET
        session.chunks += self._chunks.pop(session.connection)
        if not last:
            self._say(session, f"250 2.0.0 {len(session.chunks)} octets so far")
            return
        self._file(session, session.chunks)
        session.forget()

    def _confirm(self, session: Session, letter: Received) -> None:
        if not self.lmtp:
            super()._confirm(session, letter)
            return
        for recipient in letter.recipients:
            self._say(session, self.on_final(recipient) or f"250 2.0.0 taken for {recipient}")
