"""What the house under test lives among: maildrops that fill, a relay, programs that drop rows, and what goes wrong with all of them.

Everything is drawn from one seeded Random but the instants, which are the machine's. `calm` ends all misbehaviour.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from daemon.demo.connection import Seen, Then
from daemon.demo.listener import Answer
from daemon.demo.pop3_server import Pop3Server
from daemon.demo.smtp_server import SmtpServer
from tests.secrets_used import PASSWORD

POLICIES: Final = ("never", "after_fetch", "2d")
KEPT_TRYING: Final = timedelta(days=5)  # what the house itself would grant a row
SENDERS: Final = 10  # of the accounts have a relay
SILENCE_SECONDS: Final = 1  # TIMEOUT of every account
UNKNOWN: Final = "nobody"  # local part that the relay refuses for good

# verb -> how often it goes wrong, and how: one of these is drawn.
_POP3_FAULTS: Final[Mapping[str, tuple[float, tuple[Answer, ...]]]] = {
    "CONNECT": (
        0.01,
        (
            Answer(octets=b"", then=Then.CLOSE),
            Answer(octets=b"-ERR [SYS/TEMP] come back later\r\n", then=Then.CLOSE),
            Answer(octets=b"", then=Then.STALL),
            Answer(octets=b"220 this is no POP3 server\r\n", then=Then.CLOSE),
        ),
    ),
    "AUTH": (
        0.02,
        (
            Answer(octets=b"-ERR [IN-USE] somebody is reading this mail\r\n"),
            Answer(octets=b"-ERR [LOGIN-DELAY] not so often\r\n"),
            Answer(octets=b"-ERR [SYS/TEMP] no disk\r\n"),
        ),
    ),
    "UIDL": (
        0.005,
        (Answer(keep=20, then=Then.CLOSE), Answer(octets=b"-ERR not now\r\n"), Answer(octets=b"", then=Then.RESET)),
    ),
    "LIST": (0.005, (Answer(keep=9, then=Then.RESET), Answer(octets=b"+OK\r\n1 1\r\n1 2\r\n.\r\n"))),
    "RETR": (
        0.01,
        (
            Answer(keep=0, then=Then.RESET),
            Answer(keep=150, then=Then.CLOSE),
            Answer(octets=b"-ERR this one I can't read\r\n"),
            Answer(delay_seconds=0.2),
            Answer(octets=b"+OK\r\nFrom: half", then=Then.STALL),
        ),
    ),
    "DELE": (
        0.01,
        (Answer(octets=b"-ERR no\r\n"), Answer(keep=0, then=Then.CLOSE), Answer(octets=b"", then=Then.RESET)),
    ),
    "QUIT": (
        0.01,
        (
            Answer(keep=0, then=Then.CLOSE),  # what was marked is gone, and we are not told
            Answer(octets=b"", then=Then.RESET),  # what was marked stays
            Answer(octets=b"-ERR [SYS/TEMP] could not delete all\r\n", then=Then.CLOSE),
            Answer(keep=2, then=Then.CLOSE),
        ),
    ),
}
_SMTP_FAULTS: Final[Mapping[str, tuple[float, tuple[Answer, ...]]]] = {
    "CONNECT": (0.02, (Answer(octets=b"421 4.3.2 busy\r\n", then=Then.CLOSE), Answer(octets=b"", then=Then.STALL))),
    "EHLO": (0.01, (Answer(octets=b"", then=Then.CLOSE), Answer(octets=b"451 4.3.0 not now\r\n"))),
    "MAIL": (0.01, (Answer(octets=b"451 4.3.0 not now\r\n"), Answer(octets=b"421 4.3.2 I stop\r\n", then=Then.CLOSE))),
    "RCPT": (0.02, (Answer(octets=b"450 4.2.0 greylisted\r\n"), Answer(octets=b"", then=Then.RESET))),
    "DATA": (0.01, (Answer(octets=b"451 4.3.0 not now\r\n"), Answer(octets=b"", then=Then.CLOSE))),
    "CONTENT": (0.01, (Answer(octets=b"", then=Then.RESET),)),
    ".": (
        0.02,
        (
            Answer(keep=0, then=Then.CLOSE),  # taken, and we are not told
            Answer(octets=b"", then=Then.CLOSE),  # not taken, and we are not told
            Answer(octets=b"451 4.3.0 not now\r\n"),
        ),
    ),
}  # fmt: skip


class World:
    """Two servers with their faults, and what they know."""

    def __init__(self, folder: Path, random: Random, *, accounts: int) -> None:
        self.random = random
        self.folder = folder
        self.accounts = [f"a{number:02}" for number in range(accounts)]
        self.sent: dict[str, list[str]] = {}  # key of a row -> its recipients
        self.calm = False
        self.faults: Counter[str] = Counter()
        self._letters = 0
        self.pop3 = Pop3Server(dict.fromkeys(self.accounts, ()), PASSWORD)
        self.smtp = SmtpServer()
        self.pop3.mechanisms = ("PLAIN",)
        self.pop3.answers = {verb: self._hook(verb, *how) for verb, how in _POP3_FAULTS.items()}
        self.smtp.answers = {verb: self._hook(f"SMTP {verb}", *how) for verb, how in _SMTP_FAULTS.items()}
        self.smtp.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith(UNKNOWN) else None

    # --- what goes wrong on the line -----------------------------------------------------------------------------------

    def _hook(self, name: str, share: float, answers: tuple[Answer, ...]) -> Callable[[Seen], Answer | None]:
        def hook(_seen: Seen) -> Answer | None:
            if self.calm or self.random.random() >= share:
                return None
            self.faults[name] += 1
            return self.random.choice(answers)

        return hook

    # --- what goes on ---------------------------------------------------------------------------------------------------

    def settings(self, database_url: str, *, left_out: str | None = None, poll: str = "3s") -> str:
        """Give the text of `.env`; one account may be left out."""
        lines = [
            f"POSTROOM_DATABASE_URL={database_url}",
            "POSTROOM_TRACE=failures",
            "POSTROOM_LOG_LEVEL=warning",
            "POSTROOM_LOG_FORMAT=json",
        ]
        for position, name in enumerate(self.accounts):
            if name == left_out:
                continue
            prefix = f"POSTROOM_ACCOUNTS__{name.upper()}__"
            lines += [f"{prefix}ADDRESS={name}@example.org"]
            lines += [f"{prefix}POP3__{line}" for line in (
                "HOST=pop3.house.test", f"PORT={self.pop3.port}", "SECURITY=plaintext", f"USERNAME={name}", f"PASSWORD={PASSWORD}",
                f"POLL={poll}", f"DELETE={POLICIES[position % len(POLICIES)]}", f"TIMEOUT={SILENCE_SECONDS}",
            )]  # fmt: skip
            if position < SENDERS:
                lines += [f"{prefix}SMTP__{line}" for line in (
                    "HOST=smtp.house.test", f"PORT={self.smtp.port}", "SECURITY=plaintext", f"TIMEOUT={SILENCE_SECONDS}",
                    f"MAX_CONNECTIONS={1 + position % 2}",
                )]  # fmt: skip
        return "\n".join(lines) + "\n"

    def deliver(self, letters: int) -> None:
        """Bring letters into maildrops; now and then one to several people."""
        for _ in range(letters):
            self._letters += 1
            text = "Some text, and more. " * self.random.randint(0, 200)
            letter = f"From: bob@example.net\r\nSubject: {self._letters}\r\nMessage-ID: <{self._letters}@soak.example>\r\n\r\n{text}\r\n"
            for name in self.random.sample(self.accounts, min(len(self.accounts), self.random.choice((1, 1, 1, 1, 3)))):
                self.pop3.maildrop(name).add(letter.encode())

    def drop_rows(self, database: Path, rows: int, now: datetime) -> bool:
        """Insert rows as any program would; False if the database can't take them now.

        SQLite stamps them with the machine's time, which is another: when they expire is said.
        """
        made: list[tuple[str, list[str], str, str]] = []
        for _ in range(rows):
            key = f"soak-{len(self.sent) + len(made)}"
            people = [f"{key}-{n}@example.net" for n in range(self.random.choice((1, 1, 1, 2, 5)))]
            if self.random.random() < 0.05:
                people.append(f"{UNKNOWN}-{key}@example.net")
            sender = self.random.choice(self.accounts[:SENDERS])
            made.append((key, people, sender, self.random.choice(("retry", "retry", "hold"))))
        connection = sqlite3.connect(database, timeout=0.5)
        try:
            with connection:
                connection.executemany(
                    "INSERT INTO outbox (recipients, subject, body, account, on_doubt, idempotency_key, expires_at)"
                    " VALUES (?, ?, 'Text.', ?, ?, ?, ?)",
                    [
                        (", ".join(people), key, sender, doubt, key, (now + KEPT_TRYING).isoformat())
                        for key, people, sender, doubt in made
                    ],
                )
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        self.sent |= {key: people for key, people, _sender, _doubt in made}
        return True
