"""Polling that stands still: what a server must say for it, and what ends it.

A server that refuses the login, or says that it needs a person ([AUTH], [SYS/PERM]; RFC 3206), is not asked again and again:
accounts get locked, and addresses banned. Polling stops until somebody changes something. How sure a refusal is:

    [AUTH] to the login          the credentials are wrong: at once
    [SYS/PERM] anywhere          the server says itself that a person is needed: at once
    -ERR to it without a code    mostly a wrong password, but servers without response codes also say so when their own user
                                 database is down: after `REFUSALS` of them without a success in between, the longest wait of
                                 RETRY apart. A server that lists AUTH-RESP-CODE would have said [AUTH] (RFC 3206 section 6),
                                 so that its bare -ERR is no surer.

`fingerprint` of the settings is kept with the stop, so that a change of them ends it, also one made while no daemon ran. It
covers all POP3 settings, the password as it is now and the client certificate. It is scrypt with a salt of its own (the cost
OWASP asks for), so that a reader of the database can't try passwords against it at any speed. A restart alone ends no stop.
"""

import hashlib
import hmac
import os
import threading
from contextlib import suppress
from datetime import datetime
from typing import Final

from daemon import errors
from daemon.jobs.context import Context
from daemon.mail.account import Account, Pop3
from daemon.store import accounts, outbox, relays
from daemon.store.database import Database

REFUSALS: Final = 3  # -ERR without a response code: so many are no passing fault
SALT_OCTETS: Final = 16
COST: Final = (2**14, 8, 5)  # N, r, p of scrypt: 16 MiB and about 0.1 s
_ONE_AT_A_TIME: Final = threading.Lock()  # thirty hands at once would want half a gigabyte


def is_called_for(error: errors.PostroomError, refusals: int) -> bool:
    """Tell whether polling stops after this error. refusals: of the login, without a success in between, this one counted."""
    if isinstance(error, errors.AuthFailed):
        return error.is_certain or refusals >= REFUSALS
    return isinstance(error, errors.ServerBroken)


def advice(name: str) -> str:
    """Say what ends it, for the end of an error's line."""
    return f"polling is stopped until its settings change or `postroom retry {name}`"


def fingerprint(pop3: Pop3, salt: bytes | None = None) -> str:
    """Return what the settings and the password are now, as `scrypt$N$r$p$salt$digest`; a new salt where none is given.

    A password that can't be read now (SecretUnavailable) counts as none, so that its return is a change.
    """
    password = ""
    if pop3.password is not None:
        with suppress(errors.SecretUnavailable):
            password = pop3.password.read().reveal()
    certificate = b""
    if pop3.endpoint.client_certificate is not None:
        with suppress(OSError):
            certificate = pop3.endpoint.client_certificate.read_bytes()
    # repr of what is set shows no secret: a password that stands in the settings is read above.
    parts = (repr(pop3), pop3.endpoint.proxy or "", password, hashlib.sha256(certificate).hexdigest())
    material = repr(parts).encode("utf-8", "surrogatepass")
    used = os.urandom(SALT_OCTETS) if salt is None else salt
    n, r, p = COST
    with _ONE_AT_A_TIME:
        digest = hashlib.scrypt(material, salt=used, n=n, r=r, p=p, dklen=32)
    return f"scrypt${n}${r}${p}${used.hex()}${digest.hex()}"


def is_unchanged(pop3: Pop3, kept: str | None) -> bool:
    """Tell whether the settings and the password are still those of a fingerprint; False for one that can't be read."""
    try:
        salt = bytes.fromhex((kept or "").split("$")[4])
    except (IndexError, ValueError):
        return False
    return hmac.compare_digest(fingerprint(pop3, salt), kept or "")


def left_alone(account: Account, context: Context) -> errors.PollingStopped | None:
    """Return why a stopped account is not visited; None where it is not stopped, or its settings changed meanwhile."""
    with context.database.reading() as conn:
        standing = accounts.standing(conn, account.name)
    if account.pop3 is None or standing.stopped_since is None:
        return None
    if not is_unchanged(account.pop3, standing.stopped_settings):
        return None
    return errors.PollingStopped(f"{account.name}: {advice(account.name)}; by hand: `postroom fetch {account.name}`")


def retry(database: Database, name: str, now: datetime) -> None:
    """End the account's stop, its back-off and its relay's pause: all is due now. What failed stays counted."""
    end_pause(database, name, now)
    with database.transaction() as tx:
        accounts.resume(tx, name, now)


def end_pause(database: Database, name: str, now: datetime) -> None:
    """Let a paused relay and a backed-off account be tried at once; a stop stays."""
    with database.transaction() as tx:
        until = relays.paused_until(tx, name)
        if until is not None:
            outbox.unpause(tx, name, until, now)
        accounts.end_pauses(tx, name)
        relays.end_pauses(tx, name)
