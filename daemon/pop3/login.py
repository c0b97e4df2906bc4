"""Logging in: USER and PASS (RFC 1939), or a SASL mechanism over AUTH (RFC 5034).

Raises AuthFailed, AuthUnavailable, MaildropLocked, LoginTooSoon and the server's own faults. No password goes over a line
that others can read, unless the operator wrote `plaintext`. Speaks through the client that is given.
"""

from typing import Final, Protocol

from daemon import errors
from daemon.pop3 import replies
from daemon.pop3.commands import Auth, AuthLine, Command, Pass, User
from daemon.pop3.session import Challenge, Reply
from daemon.wire import sasl

AUTH_LINE_OCTETS: Final = 255  # RFC 5034 section 4: a longer initial response waits to be asked for
CHALLENGES: Final = 16  # more than any mechanism has: an endless exchange is a broken server


class Line(Protocol):
    """What login needs of a client."""

    @property
    def capabilities(self) -> replies.Capabilities:
        """What CAPA said last."""

    @property
    def peer(self) -> str:
        """`host:port`."""

    @property
    def is_private(self) -> bool:
        """Whether nobody can read the line."""

    @property
    def is_plaintext_wanted(self) -> bool:
        """Whether the operator asked for an open line."""

    def ask(self, command: Command) -> Reply:
        """Say a command, return its reply."""

    def converse(self, command: Command) -> Reply | Challenge:
        """Say a line of an authentication, return what comes."""


def login(line: Line, credentials: sasl.Credentials, auth: str) -> None:
    """Log in or raise. auth: `auto`, `user`, or the name of a mechanism, in lower case."""
    mechanism = _mechanism(line, auth)
    if mechanism is None:
        accept(line, line.ask(User(credentials.username)))
        accept(line, line.ask(Pass(credentials.secret)))
    else:
        accept(line, _authenticate(line, mechanism, credentials))


def _mechanism(line: Line, auth: str) -> str | None:
    """Return the SASL mechanism to use, or None for USER and PASS."""
    capabilities, is_auto = line.capabilities, auth.lower() == sasl.AUTO
    offered = capabilities.sasl
    if is_auto and any(name in sasl.MECHANISMS for name in offered):
        return sasl.choose(offered, auth, line.is_private, plaintext_wanted=line.is_plaintext_wanted, peer=line.peer)
    if not is_auto and auth.lower() != "user":
        if not capabilities.answered:  # it can't tell what it offers: what the operator named is tried
            offered = frozenset({auth.upper()})
        return sasl.choose(offered, auth, line.is_private, plaintext_wanted=line.is_plaintext_wanted, peer=line.peer)
    if not (line.is_private or line.is_plaintext_wanted):
        raise errors.AuthUnavailable(
            f"{line.peer}: USER and PASS would show the password on an open line; set SECURITY to tls"
        )
    # Servers that take no password on an open line leave USER out of CAPA; on a private line some just forget it.
    if is_auto and capabilities.answered and not capabilities.user and not line.is_private:
        says = " ".join(sorted(offered)) or "none"
        raise errors.AuthUnavailable(
            f"{line.peer}: it offers no login without TLS that we know (SASL: {says}); set SECURITY to tls or starttls"
        )
    return None


def _authenticate(line: Line, mechanism: str, credentials: sasl.Credentials) -> Reply:
    exchange = sasl.start(mechanism, credentials)
    initial = exchange.initial()
    command: Command = Auth(mechanism, initial)
    waiting = None  # an initial response that was too long for the AUTH line
    if len(command.wire) > AUTH_LINE_OCTETS:
        command, waiting = Auth(mechanism), initial
    for _ in range(CHALLENGES):
        event = line.converse(command)
        if isinstance(event, Reply):
            return event
        if waiting is not None:
            command, waiting = AuthLine(waiting), None
            continue
        try:
            command = AuthLine(exchange.respond(event.challenge))
        except errors.ProtocolViolation as error:
            line.converse(AuthLine(None))
            raise errors.AuthFailed(f"{line.peer}: AUTH {mechanism}: {error}; try another AUTH") from error
    raise errors.ProtocolViolation(f"{line.peer}: AUTH {mechanism} does not end")


def accept(line: Line, reply: Reply) -> None:
    """Raise what an -ERR in a login means."""
    if not reply.ok:
        delay = line.capabilities.login_delay
        raise replies.refusal(line.peer, f"to {reply.command.shown}", reply.text, login=True, login_delay=delay)
