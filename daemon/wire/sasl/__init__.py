"""SASL mechanisms (RFC 4422), the same for POP3 and SMTP: which one to use, and its side of the exchange.

A mechanism is one class and one row of MECHANISMS. Exchanges speak raw octets; base64 is the sessions' business. Pure: no
socket, no clock. Raises AuthUnavailable (nothing usable is offered), ProtocolViolation (a challenge that makes no sense) and
AuthFailed (the server is the wrong one, or says why it refuses).

`auto` takes the strongest that is offered, and only that: behind a refusal no weaker one is tried. A second try with the same
wrong password is what locks accounts, and a server in between could refuse until the password comes in the open. A server that
offers SCRAM or CRAM-MD5 without a secret for this user refuses; then AUTH is to name what it does know, like `plain`.
"""

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from daemon.errors import AuthUnavailable
from daemon.wire.sasl.exchange import Channel, Credentials, Exchange
from daemon.wire.sasl.external import External
from daemon.wire.sasl.password import CramMd5, Login, Plain
from daemon.wire.sasl.scram import ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus
from daemon.wire.sasl.token import OAuthBearer, XOAuth2

__all__ = ["AUTO", "MECHANISMS", "Channel", "Credentials", "Exchange", "Mechanism", "advice", "choose", "start"]

AUTO: Final = "auto"


class Mechanism(NamedTuple):
    """A row of the table. is_plaintext: whoever reads the line learns the password, or a token as good as one.

    is_token: the secret is an OAuth 2 access token; nothing tells it from a password, so it is used only by name.
    needs_binding: a channel binding.  needs_certificate: a client certificate; takes no password.
    needs_prompt: the initial response is never sent unasked.  needs_own_secret: the server can check it only with a secret
    stored for this very mechanism, so that a refusal need not mean a wrong password.
    """

    start: Callable[[Credentials, Channel], Exchange]
    is_plaintext: bool = False
    is_token: bool = False
    needs_binding: bool = False
    needs_certificate: bool = False
    needs_prompt: bool = False
    needs_own_secret: bool = False


# Best first, on a line that nobody can read: `auto` takes the first one that is offered and can be used.
# CRAM-MD5 stands behind PLAIN there: TLS hides PLAIN's password, and CRAM-MD5 makes the server keep it readable. On an open
# line whatever hides the password comes first (see `choose`).
MECHANISMS: Final[dict[str, Mechanism]] = {
    "SCRAM-SHA-256-PLUS": Mechanism(ScramSha256Plus, needs_binding=True, needs_own_secret=True),
    "SCRAM-SHA-1-PLUS": Mechanism(ScramSha1Plus, needs_binding=True, needs_own_secret=True),
    "SCRAM-SHA-256": Mechanism(ScramSha256, needs_own_secret=True),
    "SCRAM-SHA-1": Mechanism(ScramSha1, needs_own_secret=True),
    "PLAIN": Mechanism(Plain, is_plaintext=True),
    "LOGIN": Mechanism(Login, is_plaintext=True),
    "CRAM-MD5": Mechanism(CramMd5, needs_own_secret=True),
    "OAUTHBEARER": Mechanism(OAuthBearer, is_plaintext=True, is_token=True),
    # Exchange Online takes the token only when it has asked for it; every server of this mechanism may ask.
    "XOAUTH2": Mechanism(XOAuth2, is_plaintext=True, is_token=True, needs_prompt=True),
    "EXTERNAL": Mechanism(External, needs_certificate=True),
}
AUTOMATIC: Final = tuple(name for name, row in MECHANISMS.items() if not (row.is_token or row.needs_certificate))


def choose(
    offered: Collection[str],
    auth: str,
    encrypted_or_loopback: bool,  # noqa: FBT001 -- the interface of the house; always named at the call
    *,
    plaintext_wanted: bool = False,
    channel: Channel = Channel(),  # noqa: B008 -- frozen
    has_secret: bool = True,
    peer: str = "the server",
) -> str:
    """Return the name of the mechanism to use, upper case; AuthUnavailable says why there is none.

    offered: names as the server lists them.  auth: `auto` or one name.  plaintext_wanted: the operator wrote
    SECURITY=plaintext, so a password may go over an open line.  has_secret: whether there is a password; without one `auto`
    means EXTERNAL where there is a client certificate.  peer: host:port, for the message.
    """
    theirs = {name.upper() for name in offered}
    wanted = _wanted(auth, has_secret=has_secret, has_certificate=channel.has_certificate)
    if not encrypted_or_loopback:
        wanted.sort(key=lambda name: MECHANISMS[name].is_plaintext)
    lacks = {name: _lack(MECHANISMS[name], channel) for name in wanted if name in theirs}
    usable = [name for name, lack in lacks.items() if lack is None]
    for name in usable:
        if encrypted_or_loopback or plaintext_wanted or not MECHANISMS[name].is_plaintext:
            return name
    if usable:
        raise AuthUnavailable(
            f"{peer}: AUTH {usable[0]} would show the password on an open line; set SECURITY to tls or starttls"
        )
    if lacks:
        raise AuthUnavailable(f"{peer}: {'; '.join(f'AUTH {name} needs {lack}' for name, lack in lacks.items())}")
    says = " ".join(sorted(theirs)) or "none"
    by_name = [name.lower() for name in MECHANISMS if name in theirs and name not in wanted]
    hint = (
        f"; with a token or a client certificate, set AUTH to {' or '.join(by_name)}" if by_name and _is(auth) else ""
    )
    raise AuthUnavailable(f"{peer}: it offers {says}, and {' or '.join(wanted)} is needed to log in{hint}")


def start(name: str, credentials: Credentials, channel: Channel = Channel()) -> Exchange:  # noqa: B008 -- frozen
    """Begin an exchange; InputInvalid for a name or password that the mechanism can't carry. name: of a row of MECHANISMS."""
    return MECHANISMS[name.upper()].start(credentials, channel)


def advice(name: str) -> str:
    """Return what to do about a refusal. name: of a mechanism, or of a POP3 login."""
    row = MECHANISMS.get(name.upper())
    if name.upper() == "APOP" or (row is not None and row.needs_own_secret):
        return (
            f"check USERNAME and PASSWORD; if they are right, the server has no secret for {name.upper()}: "
            "set AUTH to another (nothing weaker was tried)"
        )
    if row is not None and row.is_token:
        return "check USERNAME, and that PASSWORD is an access token that is not expired"
    return "check USERNAME and PASSWORD"


def _is(auth: str) -> bool:
    return auth.lower() == AUTO


def _wanted(auth: str, *, has_secret: bool, has_certificate: bool) -> list[str]:
    if _is(auth):
        return list(AUTOMATIC) if has_secret or not has_certificate else ["EXTERNAL"]
    if auth.upper() not in MECHANISMS:
        raise AuthUnavailable(f"AUTH={auth}: no such mechanism here; there are {', '.join(MECHANISMS)}")
    return [auth.upper()]


def _lack(row: Mechanism, channel: Channel) -> str | None:
    if row.needs_binding and channel.binding is None:
        return "TLS 1.2: Python gives no channel binding for TLS 1.3; set AUTH without -plus"
    if row.needs_certificate and not channel.has_certificate:
        return "TLS and CLIENT_CERTIFICATE"
    return None
