"""SASL mechanisms (RFC 4422), the same for POP3 and SMTP: which one to use, and its side of the exchange.

A mechanism is one class and one row of MECHANISMS. Exchanges speak raw octets; base64 is the sessions' business. Pure: no
socket, no clock. Raises AuthUnavailable (nothing usable is offered) and ProtocolViolation (a challenge that makes no sense).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from daemon.errors import AuthUnavailable, InputInvalid, ProtocolViolation
from daemon.wire.secret import Secret

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in. secret: a password, or an OAuth 2 access token; empty for EXTERNAL, which is the certificate's business."""

    username: str
    secret: Secret


class Exchange(Protocol):
    """Our side of one authentication."""

    def initial(self) -> bytes | None:
        """Return the initial response, or None for a mechanism in which the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge (decoded); ProtocolViolation when there is nothing to answer."""


class Plain:
    """PLAIN (RFC 4616): one message, NUL username NUL password in UTF-8."""

    def __init__(self, credentials: Credentials) -> None:
        """Refuse a NUL: it would move the border between name and password (RFC 4616 section 2)."""
        if "\0" in credentials.username or "\0" in credentials.secret.reveal():
            raise InputInvalid("a username or password with a NUL can't be used with SASL PLAIN")
        self._credentials = credentials

    def initial(self) -> bytes | None:
        """Return the whole message."""
        return f"\0{self._credentials.username}\0{self._credentials.secret.reveal()}".encode()

    def respond(self, challenge: bytes) -> bytes:  # noqa: ARG002 -- the Exchange protocol
        """PLAIN knows no challenge; the empty one that asks for the initial response is the session's business."""
        raise ProtocolViolation("the server sent a second challenge during AUTH PLAIN")


class Login:
    """LOGIN (draft-murchison-sasl-login): the server asks twice; whatever it asks, first the name, then the password."""

    def __init__(self, credentials: Credentials) -> None:
        """`credentials`: sent in UTF-8."""
        self._answers = [credentials.secret.reveal().encode(), credentials.username.encode()]

    def initial(self) -> bytes | None:
        """LOGIN has no initial response: some servers take one, others take it for the password."""
        return None

    def respond(self, challenge: bytes) -> bytes:  # noqa: ARG002 -- the prompts' wording differs from server to server
        """Return the name, then the password."""
        if not self._answers:
            raise ProtocolViolation("the server sent a third challenge during AUTH LOGIN")
        return self._answers.pop()


class Mechanism(NamedTuple):
    """A row of the table. is_plaintext: whoever reads the line learns the password, or a token as good as one."""

    start: Callable[[Credentials], Exchange]
    is_plaintext: bool


# Best first: `auto` takes the first one that is offered and allowed.
MECHANISMS: Final[dict[str, Mechanism]] = {
    "PLAIN": Mechanism(Plain, is_plaintext=True),
    "LOGIN": Mechanism(Login, is_plaintext=True),
}


def choose(
    offered: Collection[str],
    auth: str,
    encrypted_or_loopback: bool,  # noqa: FBT001 -- the interface of the house; always named at the call
    *,
    plaintext_wanted: bool = False,
    peer: str = "the server",
) -> str:
    """Return the name of the mechanism to use, upper case; AuthUnavailable says why there is none.

    offered: names as the server lists them.  auth: `auto` or one name.  plaintext_wanted: the operator wrote
    SECURITY=plaintext, so a password may go over an open line.  peer: host:port, for the message.
    """
    theirs = {name.upper() for name in offered}
    if auth.lower() != AUTO and auth.upper() not in MECHANISMS:
        raise AuthUnavailable(f"AUTH={auth}: no such mechanism here; there are {', '.join(MECHANISMS)}")
    wanted = [name for name in MECHANISMS if auth.lower() in (AUTO, name.lower())]
    usable = [name for name in wanted if name in theirs]
    if not usable:
        says = " ".join(sorted(theirs)) or "none"
        raise AuthUnavailable(f"{peer}: it offers {says}, and {' or '.join(wanted)} is needed to log in")
    for name in usable:
        if encrypted_or_loopback or plaintext_wanted or not MECHANISMS[name].is_plaintext:
            return name
    raise AuthUnavailable(
        f"{peer}: AUTH {usable[0]} would show the password on an open line; set SECURITY to tls or starttls"
    )


def start(name: str, credentials: Credentials) -> Exchange:
    """Begin an exchange. name: of a row of MECHANISMS."""
    return MECHANISMS[name.upper()].start(credentials)
