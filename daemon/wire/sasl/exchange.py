"""What every mechanism is: our side of one authentication, over raw octets (RFC 4422). Pure."""

import json
from dataclasses import dataclass
from typing import Final

from daemon.errors import ProtocolViolation
from daemon.wire.secret import Secret

SAID_CHARACTERS: Final = 80  # of what the server says, in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in. secret: a password, or an OAuth 2 access token; empty for EXTERNAL, which is the certificate's business."""

    username: str
    secret: Secret

    @property
    def has_secret(self) -> bool:
        """Whether there is a password or a token."""
        return bool(self.secret.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What an exchange may know of the connection under it.

    nonce: printable ASCII without a comma, new for each login; SCRAM's.  binding: kind and octets that tie a login to this
    TLS connection (RFC 5056), None where there are none.  has_certificate: whether ours can be shown.
    """

    nonce: str = ""
    binding: tuple[str, bytes] | None = None
    has_certificate: bool = False
    host: str = ""
    port: int = 0


class Exchange:
    """Our side of one authentication; as it stands here: of a mechanism that says nothing."""

    name: str = ""

    def initial(self) -> bytes | None:
        """Return the initial response, or None for a mechanism in which the server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:  # noqa: ARG002 -- most mechanisms do not read it
        """Return the answer to a challenge (decoded).

        ProtocolViolation when there is nothing to answer, AuthFailed when the server proved to be the wrong one, or says why
        it refuses. What it says may be anything.
        """
        raise ProtocolViolation(f"the server sent a challenge too many during AUTH {self.name}")

    def objection(self, *, accepted: bool) -> str | None:  # noqa: ARG002 -- most mechanisms have nothing to add
        """Return why the login failed, as far as the exchange knows; None where the server's word stands.

        accepted: that word. A reason in spite of it: the server let us in without the proof that it owes.
        """
        return None


def said(octets: bytes) -> str:
    """Return the server's words fit for a message: one line, printable, not long."""
    text = octets.decode("utf-8", "backslashreplace")[:SAID_CHARACTERS]
    return "".join(one if one.isprintable() else "?" for one in text)


def status_of(challenge: bytes) -> str:
    """Return `status` of an OAuth error challenge, JSON (RFC 7628 section 3.2.2); else the challenge itself."""
    try:
        told = json.loads(challenge)
    except (ValueError, RecursionError):
        return said(challenge)
    status = told.get("status") if isinstance(told, dict) else None
    return said(str(status).encode("utf-8", "backslashreplace")) if isinstance(status, str | int) else said(challenge)
