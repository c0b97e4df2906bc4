"""What the operator wants: POSTROOM_… variables and `.env` become one frozen Settings. The only reader of the environment.

The environment wins over `.env` in the working directory, or the file that POSTROOM_ENV_FILE names; an empty value is as good
as none. All mistakes are found in one go (SettingsInvalid, one line each: the variable, what it takes, what it has, and where
it stands); unknown POSTROOM_ names are mistakes too, since a misspelt setting that is silently ignored is the worst kind. No
value of a secret is ever shown.
Password files are not opened here: whoever only reads the archive may not be allowed to.

`variables` names every one of them; `reader` finds each.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from daemon import errors, variables
from daemon.mail.account import Account, Dkim, Pop3, Smtp
from daemon.reader import Reader
from daemon.retry import Backoff
from daemon.wire.secret import SecretSource
from daemon.wire.stream import Endpoint, Security

DEFAULT_RETRY: Final = Backoff(first=timedelta(minutes=1), longest=timedelta(hours=4))
DEFAULT_KEEP_POLLS: Final = timedelta(days=90)  # 50 accounts polled every five minutes: 1.3 million rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, checked; the only thing that `app` needs to build the house.

    notify_socket and watchdog_seconds come from systemd, not from the operator.
    """

    database_url: str = field(default="sqlite:///postroom.db", repr=False)  # may hold a password
    log_format: str = "json"
    log_level: str = "info"
    trace: str = "failures"
    retry: Backoff = DEFAULT_RETRY
    keep_polls: timedelta = DEFAULT_KEEP_POLLS
    listen: tuple[str, int] | Path | None = None
    ping_url: str | None = field(default=None, repr=False)  # holds a secret
    compression: str = "zstd"
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    notify_socket: str | None = None
    watchdog_seconds: float | None = None


# --- reading --------------------------------------------------------------------------------------------------------


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings; SettingsInvalid names every mistake.

    environ: the process's own when None.  dotenv: read if it is there; its values are taken literally (no `$` expansion).
    """
    environment = os.environ if environ is None else environ
    reader = Reader(environment, dotenv)
    names = reader.account_names()
    reader.note_unknown()
    default = Settings()
    usec = environment.get("WATCHDOG_USEC", "")
    is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    settings = Settings(
        database_url=reader.take(variables.PREFIX, variables.DATABASE_URL) or default.database_url,
        log_format=reader.take(variables.PREFIX, variables.LOG_FORMAT)
        or ("console" if sys.stderr.isatty() else "json"),
        log_level=reader.take(variables.PREFIX, variables.LOG_LEVEL) or default.log_level,
        trace=reader.take(variables.PREFIX, variables.TRACE) or default.trace,
        retry=reader.take(variables.PREFIX, variables.RETRY) or default.retry,
        keep_polls=reader.take(variables.PREFIX, variables.KEEP_POLLS) or default.keep_polls,
        listen=reader.take(variables.PREFIX, variables.LISTEN),
        ping_url=reader.take(variables.PREFIX, variables.PING_URL),
        compression=reader.take(variables.PREFIX, variables.COMPRESSION) or default.compression,
        accounts=MappingProxyType({name: _account(reader, name, written) for name, written in sorted(names.items())}),
        notify_socket=environment.get("NOTIFY_SOCKET") or None,
        watchdog_seconds=int(usec) / 1e6 if usec.isdigit() and is_ours else None,
    )
    if reader.mistakes:
        raise errors.SettingsInvalid(tuple(reader.mistakes))
    return settings


# --- accounts -------------------------------------------------------------------------------------------------------


def _account(reader: Reader, name: str, written: str) -> Account:
    """Read one account; where there are mistakes the result is incomplete, and not used."""
    prefix = f"{variables.ACCOUNTS}{written}__"
    address = reader.take(prefix, variables.ADDRESS)
    reader.missing(prefix + variables.ADDRESS.name, variables.ADDRESS.takes)
    has = {kind: any(one.startswith(f"{prefix}{kind}__") for one in reader.values) for kind in variables.SERVERS}
    if not any(has.values()):
        reader.mistakes.append(
            f"{prefix}POP3__HOST or {prefix}SMTP__HOST is missing; an account receives, or sends, or both"
        )
    pop3 = _pop3(reader, f"{prefix}POP3__", address or "") if has["POP3"] else None
    smtp = _smtp(reader, f"{prefix}SMTP__", address or "") if has["SMTP"] else None
    forward = reader.take(prefix, variables.FORWARD)
    if forward is not None and (pop3 is None or smtp is None):
        reader.mistakes.append(f"{prefix}FORWARD needs POP3 and SMTP in this account: what comes in is sent on")
    if forward is not None and address is not None and forward.lower() == address.lower():
        reader.mistakes.append(f"{prefix}FORWARD is the account's own address; it takes another one")
    return Account(name=name, address=address or "", pop3=pop3, smtp=smtp, forward=forward)


def _pop3(reader: Reader, prefix: str, address: str) -> Pop3 | None:
    endpoint, username = _endpoint(reader, prefix, "POP3"), reader.take(prefix, variables.USERNAME) or address
    auth = _auth(reader, prefix, "POP3")
    password = _password(reader, prefix, username, needed="" if auth == variables.EXTERNAL else "the password")
    given = _given(
        auth=auth,
        poll=reader.take(prefix, variables.POLL),
        first=reader.take(prefix, variables.FIRST),
        delete=reader.take(prefix, variables.DELETE),
        deletes_per_session=reader.take(prefix, variables.DELETES_PER_SESSION),
        max_message_octets=reader.take(prefix, variables.MAX_MESSAGE_OCTETS),
        oversize=reader.take(prefix, variables.OVERSIZE),
        max_messages_per_poll=reader.take(prefix, variables.MAX_MESSAGES_PER_POLL),
        max_octets_per_poll=reader.take(prefix, variables.MAX_OCTETS_PER_POLL),
        language=reader.take(prefix, variables.LANGUAGE),
    )
    if given.get("oversize") == "headers":
        reader.missing(
            prefix + variables.MAX_MESSAGE_OCTETS.name, f"{variables.MAX_MESSAGE_OCTETS.takes}, for OVERSIZE=headers"
        )
    return Pop3(endpoint=endpoint, username=username, password=password, **given) if endpoint else None


def _smtp(reader: Reader, prefix: str, address: str) -> Smtp | None:
    endpoint, username = _endpoint(reader, prefix, "SMTP"), reader.take(prefix, variables.USERNAME)
    auth = _auth(reader, prefix, "SMTP")
    needed = "the password of USERNAME" if username and auth != variables.EXTERNAL else ""
    password = _password(reader, prefix, username or address, needed=needed)
    given = _given(
        auth=auth,
        max_connections=reader.take(prefix, variables.MAX_CONNECTIONS),
        budget=reader.take(prefix, variables.BUDGET),
        password=password,
        protocol=reader.take(prefix, variables.PROTOCOL),
        notify=reader.take(prefix, variables.NOTIFY),
        verp=_switch(reader, prefix, variables.VERP),
        suppress_bounces=_switch(reader, prefix, variables.SUPPRESS_BOUNCES),
        dkim=_dkim(reader, prefix, address.rpartition("@")[2]),
    )
    if password is not None or auth == variables.EXTERNAL:
        given |= {"username": username or address}
    if endpoint is not None and given.get("protocol") == "lmtp" and prefix + variables.PORT.name not in reader.values:
        endpoint = replace(endpoint, port=variables.LMTP_PORT)
    fallbacks = reader.take(prefix, variables.FALLBACK) or ()
    if endpoint is not None and fallbacks:
        given["fallbacks"] = tuple(replace(endpoint, host=host, port=port or endpoint.port) for host, port in fallbacks)
    return Smtp(endpoint=endpoint, **given) if endpoint else None


def _dkim(reader: Reader, prefix: str, domain: str) -> Dkim | None:
    """Return how to sign; a key without its selector, or a selector without a key, is a mistake."""
    key_file, selector = reader.take(prefix, variables.DKIM_KEY_FILE), reader.take(prefix, variables.DKIM_SELECTOR)
    domain = reader.take(prefix, variables.DKIM_DOMAIN) or domain
    if key_file is None and selector is None:
        return None
    for one, other in (
        (variables.DKIM_KEY_FILE, variables.DKIM_SELECTOR),
        (variables.DKIM_SELECTOR, variables.DKIM_KEY_FILE),
    ):
        reader.missing(prefix + one.name, f"{one.takes}, for {other.name}")
    file = _credential(reader, key_file)
    if file is None or selector is None:
        return None
    return Dkim(key_file=file, selector=selector, domain=domain, is_credential=_is_credential(reader, file))


def _switch(reader: Reader, prefix: str, variable: variables.Variable[str]) -> bool | None:
    """Return what is set, None where nothing is."""
    written = reader.take(prefix, variable)
    return None if written is None else written == "on"


def _auth(reader: Reader, prefix: str, kind: str) -> str | None:
    """Return how to log in; the client certificate, where it is the login, must be there."""
    auth = reader.take(prefix, variables.AUTH[kind])
    if auth == variables.EXTERNAL:
        reader.missing(
            prefix + variables.CLIENT_CERTIFICATE.name, f"{variables.CLIENT_CERTIFICATE.takes}, for AUTH=external"
        )
    return auth


def _endpoint(reader: Reader, prefix: str, kind: str) -> Endpoint | None:
    host, port = reader.take(prefix, variables.HOST), reader.take(prefix, variables.PORT)
    reader.missing(prefix + variables.HOST.name, variables.HOST.takes)
    written = reader.take(prefix, variables.SECURITY)
    security = (
        Security(written) if written else variables.SECURITY_OF_PORT.get(port or 0, variables.SECURITY_DEFAULT[kind])
    )
    ca_file, fingerprint = reader.take(prefix, variables.CA_FILE), reader.take(prefix, variables.FINGERPRINT)
    certificate, key = reader.take(prefix, variables.CLIENT_CERTIFICATE), reader.take(prefix, variables.CLIENT_KEY)
    if key is not None:
        takes = f"{variables.CLIENT_CERTIFICATE.takes}, for CLIENT_KEY"
        reader.missing(prefix + variables.CLIENT_CERTIFICATE.name, takes)
    proxy, timeout_seconds = reader.take(prefix, variables.PROXY), reader.take(prefix, variables.TIMEOUT)
    if host is None:
        return None
    return Endpoint(
        host=host,
        port=port or variables.PORTS[kind][security],
        security=security,
        ca_file=ca_file,
        fingerprint=fingerprint,
        client_certificate=_credential(reader, certificate),
        client_key=_credential(reader, key),
        proxy=proxy,
        timeout_seconds=timeout_seconds or 60.0,
    )


def _password(reader: Reader, prefix: str, username: str, *, needed: str) -> SecretSource | None:
    """Return where the password is; more than one place is a mistake, none is one where it is `needed`."""
    places = [prefix + one.name for one in variables.PASSWORDS if prefix + one.name in reader.values]
    given = _given(
        value=reader.take(prefix, variables.PASSWORD),
        file=_credential(reader, reader.take(prefix, variables.PASSWORD_FILE)),
        command=reader.take(prefix, variables.PASSWORD_COMMAND),
        keyring=reader.take(prefix, variables.PASSWORD_KEYRING),
    )
    if len(places) > 1:
        reader.mistakes.append(f"{' and '.join(places)} are set; set one of them")
    if not places and needed:
        others = "PASSWORD_FILE, PASSWORD_COMMAND or PASSWORD_KEYRING"
        reader.missing(prefix + variables.PASSWORD.name, f"{needed} (or set {others} instead)")
    if len(given) != 1:
        return None
    return SecretSource(
        **given,
        username=username if "keyring" in given else None,
        is_credential="file" in given and _is_credential(reader, given["file"]),
    )


def _credential(reader: Reader, file: Path | None) -> Path | None:
    """Return the file; a relative one is a credential where systemd gives some (systemd.exec(5), LoadCredential=)."""
    return Path(reader.credentials) / file if file is not None and reader.credentials else file


def _is_credential(reader: Reader, file: Path) -> bool:
    """Tell whether systemd keeps the file for us."""
    return reader.credentials is not None and Path(reader.credentials) in file.parents


def _given(**values: Any) -> dict[str, Any]:
    """Leave out what is not set, so that the dataclass's own defaults hold."""
    return {name: value for name, value in values.items() if value is not None}
