"""What is remembered of a server from one visit to the next, so that round trips are saved. Pure.

With it, CAPA and the login leave in one flight, and CAPA, STAT, UIDL and LIST in the next. Nothing is taken on trust: the
replies to both CAPAs are read, and what they say holds from then on. A password still leaves only on a line that `login`
would send it over, for the memory is used behind the same rule. A visit that fails forgets.
"""

from dataclasses import dataclass
from typing import Final, Self

from daemon import errors
from daemon.pop3 import replies
from daemon.pop3.commands import Auth, Command, Pass, User
from daemon.wire import sasl

MOST_OCTETS: Final = 8192  # of what is kept; a server that announces more is asked anew each time
USER: Final = "USER"
ONE_STEP: Final = frozenset({USER, "PLAIN"})  # logins whose last line does not depend on a reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How the last login went. login: `USER`, or a SASL mechanism.  lines: of the CAPA reply behind the login."""

    login: str
    lines: tuple[str, ...]

    @property
    def capabilities(self) -> replies.Capabilities:
        """What the server said that it can do, once logged in."""
        return replies.capabilities(line.encode() for line in self.lines)

    def flight(self, credentials: sasl.Credentials, auth: str, *, most_octets: int) -> list[Command]:
        """Return the commands of a login that need no reply in between; none where that can't be.

        auth: as set; a setting that was changed counts, not the memory.  most_octets: of an AUTH line.
        """
        wanted = auth.lower()
        if not credentials.has_secret:
            return []
        if self.login not in ONE_STEP or wanted not in (sasl.AUTO, self.login.lower()):
            return []
        if not self.capabilities.pipelining:
            return []
        if self.login == USER:
            return [User(credentials.username), Pass(credentials.secret)]
        try:
            command = Auth(self.login, sasl.start(self.login, credentials).initial())
        except errors.InputInvalid:  # `login` says it better
            return []
        return [command] if len(command.wire) <= most_octets else []

    def __str__(self) -> str:
        """As `parse` reads it."""
        return "\n".join((self.login, *self.lines))

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read what was kept; None for nothing."""
        if not text:
            return None
        login, *lines = text.split("\n")
        return cls(login=login, lines=tuple(lines))

    @classmethod
    def of(cls, login: str, capabilities: replies.Capabilities) -> Self | None:
        """Keep what is worth it; None where the server tells nothing, or too much."""
        made = cls(login=login, lines=tuple(" ".join((name, *more)) for name, more in capabilities.parameters.items()))
        return made if capabilities.answered and len(str(made).encode()) <= MOST_OCTETS else None
