"""Logging in: USER and PASS (RFC 1939), APOP (section 7 of it), or a SASL mechanism over AUTH (RFC 5034).

Raises AuthFailed, AuthUnavailable, MaildropLocked, LoginTooSoon and the server's own faults. No password goes over a line
that others can read, unless the operator wrote `plaintext`. A refused login is never tried again in another way: that is how
accounts get locked. Speaks through the client that is given.
"""

import hashlib
import re
from typing import Final, Protocol

from daemon import errors
from daemon.pop3 import replies
from daemon.pop3.commands import Apop, Auth, AuthLine, Command, Pass, User
from daemon.pop3.session import Challenge, Reply
from daemon.wire import sasl

AUTH_LINE_OCTETS: Final = 255  # RFC 5034 section 4: a longer initial response waits to be asked for
CHALLENGES: Final = 16  # more than any mechanism has: an endless exchange is a broken server
USER: Final = "USER"
APOP: Final = "APOP"
# An msg-id and nothing else: digests of what an attacker makes up at will give the password away (CVE-2007-1558).
_TIMESTAMP: Final = re.compile(r"<[!#-'*+\-./0-9=?A-Z^-~]+@[!#-'*+\-./0-9=?A-Z\[\]^-~]+>", re.ASCII)


class Line(Protocol):
    """What login needs of a client."""

    @property
    def capabilities(self) -> replies.Capabilities:
        """What CAPA said last."""

    @property
    def greeting(self) -> str:
        """What stood behind +OK in the server's first line."""

    @property
    def channel(self) -> sasl.Channel:
        """What an exchange may know of the connection."""

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
    """Log in or raise. auth: `auto`, `user`, `apop`, or the name of a mechanism, in lower case."""
    channel = line.channel
    way = _way(line, credentials, auth.lower(), channel)
    if way == USER:
        accept(line, line.ask(User(credentials.username)))
        accept(line, line.ask(Pass(credentials.secret)))
    elif way == APOP:
        accept(line, line.ask(Apop(credentials.username, _digest(line, credentials))), sasl.advice(APOP))
    else:
        _authenticate(line, way, credentials, channel)


def _way(line: Line, credentials: sasl.Credentials, auth: str, channel: sasl.Channel) -> str:
    """Return USER, APOP, or the SASL mechanism to use."""
    capabilities, is_auto = line.capabilities, auth == sasl.AUTO
    if auth == APOP.lower():
        return APOP
    offered = capabilities.sasl
    if not is_auto and not capabilities.answered:  # it can't tell what it offers: what the operator named is tried
        offered = frozenset({auth.upper()})
    is_sasl = auth != USER.lower()
    if is_auto:
        # Mechanisms that only a name asks for are no reason to leave USER out, where the server has it.
        automatic = [name for name in offered if name in sasl.AUTOMATIC]
        if not line.is_private and _timestamp(line) and all(sasl.MECHANISMS[name].is_plaintext for name in automatic):
            return APOP
        named_only = not capabilities.user and not offered.isdisjoint(sasl.MECHANISMS)
        is_sasl = bool(automatic) or named_only or (channel.has_certificate and not credentials.has_secret)
    if is_sasl:
        return sasl.choose(
            offered,
            auth,
            line.is_private,
            plaintext_wanted=line.is_plaintext_wanted,
            channel=channel,
            has_secret=credentials.has_secret,
            peer=line.peer,
        )
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
    return USER


def _timestamp(line: Line) -> str | None:
    found = _TIMESTAMP.search(line.greeting)
    return found[0] if found else None


def _digest(line: Line, credentials: sasl.Credentials) -> str:
    timestamp = _timestamp(line)
    if timestamp is None:
        raise errors.AuthUnavailable(f"{line.peer}: its greeting has no timestamp, so it has no APOP; set AUTH to auto")
    text = f"{timestamp}{credentials.secret.reveal()}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()  # RFC 1939 has no other; a FIPS build allows it only so


def _authenticate(line: Line, mechanism: str, credentials: sasl.Credentials, channel: sasl.Channel) -> None:
    exchange = sasl.start(mechanism, credentials, channel)
    initial = exchange.initial()
    command: Command = Auth(mechanism, initial)
    waiting = None  # an initial response that is sent when it is asked for
    if len(command.wire) > AUTH_LINE_OCTETS or sasl.MECHANISMS[mechanism].needs_prompt:
        command, waiting = Auth(mechanism), initial
    for _ in range(CHALLENGES):
        event = line.converse(command)
        if isinstance(event, Reply):
            objection = exchange.objection(accepted=event.ok)
            if event.ok and objection is not None:
                raise errors.AuthFailed(f"{line.peer}: AUTH {mechanism}: {objection}")
            try:
                accept(line, event, objection or sasl.advice(mechanism))
            except errors.AuthFailed as error:  # a token expires by itself, and the next one may be good
                error.is_certain = error.is_certain and not sasl.MECHANISMS[mechanism].is_token
                raise
            return
        if waiting is not None:
            command, waiting = AuthLine(waiting), None
            continue
        try:
            command = AuthLine(exchange.respond(event.challenge))
        except (errors.ProtocolViolation, errors.AuthFailed) as error:
            line.converse(AuthLine(None))
            hint = "" if isinstance(error, errors.AuthFailed) else "; try another AUTH"
            raise errors.AuthFailed(f"{line.peer}: AUTH {mechanism}: {error}{hint}") from error
    raise errors.ProtocolViolation(f"{line.peer}: AUTH {mechanism} does not end")


def accept(line: Line, reply: Reply, advice: str = "check USERNAME and PASSWORD") -> None:
    """Raise what an -ERR in a login means. advice: what to do if it means that the credentials are wrong."""
    if not reply.ok:
        delay = line.capabilities.login_delay
        raise replies.refusal(
            line.peer, f"to {reply.command.shown}", reply.text, login=True, login_delay=delay, advice=advice
        )
