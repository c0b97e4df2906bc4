"""What the operator wants: POSTROOM_… variables and `.env` become one frozen Settings. The only reader of the environment.

The environment wins over `.env` in the working directory; an empty value is as good as none. All mistakes are found in one
go (SettingsInvalid, one line each: the variable, what it takes, what it has, and where it stands); unknown POSTROOM_ names
are mistakes too, since a misspelt setting that is silently ignored is the worst kind. No value of a secret is ever shown.
Password files are not opened here: whoever only reads the archive may not be allowed to.

`variables` names every one of them.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from daemon import errors, notation, variables
from daemon.mail.account import Account, Pop3, Smtp
from daemon.retry import Backoff
from daemon.wire.secret import SecretSource
from daemon.wire.stream import Endpoint, Security

T = TypeVar("T")
DEFAULT_RETRY: Final = Backoff(first=timedelta(minutes=1), longest=timedelta(hours=4))
_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")  # two underscores divide the parts of a variable


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
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    notify_socket: str | None = None
    watchdog_seconds: float | None = None


# --- reading --------------------------------------------------------------------------------------------------------


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings; SettingsInvalid names every mistake.

    environ: the process's own when None.  dotenv: read if it is there; its values are taken literally (no `$` expansion).
    """
    environment = os.environ if environ is None else environ
    reader = _Reader(environment, dotenv)
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
        accounts=MappingProxyType({name: _account(reader, name, written) for name, written in sorted(names.items())}),
        notify_socket=environment.get("NOTIFY_SOCKET") or None,
        watchdog_seconds=int(usec) / 1e6 if usec.isdigit() and is_ours else None,
    )
    if reader.mistakes:
        raise errors.SettingsInvalid(tuple(reader.mistakes))
    return settings


class _Reader:
    """The variables, where each stands, and the mistakes found so far."""

    def __init__(self, environment: Mapping[str, str], dotenv: Path | None) -> None:
        """Merge the two sources; values that are empty are left out."""
        self.mistakes: list[str] = []
        self.credentials = environment.get("CREDENTIALS_DIRECTORY")
        self.places: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.names: dict[str, None] = {}  # also of empty values: a misspelt name is worth a word whatever it holds
        for name, value, place in _lines(dotenv, self.mistakes):
            self._set(name, value, place)
        for name, value in environment.items():
            self._set(name, value, "")

    def _set(self, name: str, value: str, place: str) -> None:
        if not name.upper().startswith(variables.PREFIX):
            return
        self.names[name] = None
        self.places[name] = place
        self.values[name] = value
        if not value.strip():
            del self.values[name]

    def take(self, prefix: str, variable: variables.Variable[T]) -> T | None:
        """Read one variable; None when it is not set, or set wrongly (then the mistake is noted)."""
        name = prefix + variable.name
        if name not in self.values:
            return None
        text = self.values[name] if variable is variables.PASSWORD else self.values[name].strip()
        try:
            return variable.read(text)
        except ValueError as error:
            has = "" if variable.is_secret else f", not {_shown(text)}"
            why = f" ({' '.join(str(error).split())})" if str(error) else ""
            self.mistakes.append(f"{name}{self.places[name]} takes {variable.takes}{has}{why}")
            return None

    def missing(self, name: str, takes: str) -> None:
        """Note a variable that must be set."""
        if name not in self.values:
            self.mistakes.append(f"{name} is missing; it takes {takes}")

    def account_names(self) -> dict[str, str]:
        """Return the accounts' names: in lower case, and as written."""
        written: dict[str, dict[str, None]] = {}
        for name in self.values:
            account, rest = _split(name)
            if rest in variables.ACCOUNT and _ACCOUNT_NAME.fullmatch(account):
                written.setdefault(account.lower(), {})[account] = None
        for account, spellings in written.items():
            if len(spellings) > 1:
                both = " and ".join(f"{variables.ACCOUNTS}{one}__…" for one in spellings)
                self.mistakes.append(f"{both} are the same account, {account}; spell it in one way")
        return {account: next(iter(spellings)) for account, spellings in written.items()}

    def note_unknown(self) -> None:
        """Note every POSTROOM_ name that is no setting, with the one that was probably meant."""
        house = [one.name for one in variables.HOUSE]
        for name in self.names:
            account, rest = _split(name)
            if name.removeprefix(variables.PREFIX) in house or name in variables.NOT_OURS:
                continue
            if rest not in variables.ACCOUNT:
                meant = _meant(name)
                hint = (
                    f"did you mean {meant}?"
                    if meant
                    else f"an account's begin with {variables.ACCOUNTS}<NAME>__; see .env.example"
                )
                self.mistakes.append(f"{name}{self.places[name]} is no setting of postroom; {hint}")
            elif not _ACCOUNT_NAME.fullmatch(account):
                self.mistakes.append(
                    f"{name}{self.places[name]}: an account's name is letters, digits and single underscores"
                )


def _split(name: str) -> tuple[str, str]:
    """Return the account's name and the rest of a variable's; both empty when it is not an account's."""
    account, _, rest = (
        name.removeprefix(variables.ACCOUNTS).partition("__") if name.startswith(variables.ACCOUNTS) else ("", "", "")
    )
    return account, rest


def _lines(dotenv: Path | None, mistakes: list[str]) -> Iterable[tuple[str, str, str]]:
    """Give (name, value, where) of a .env file; what can't be read is a mistake with its line number."""
    if dotenv is None or not dotenv.is_file():
        return
    from dotenv.parser import parse_stream  # noqa: PLC0415 -- only where there is a file; dotenv_values() hides the line numbers

    try:
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        mistakes.append(f"{dotenv} can't be read: {reason}")
        return
    for binding in bindings:
        # A binding begins with the blank lines before it.
        before = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (before[0].count("\n") if before else 0)
        if binding.error or (binding.key is not None and binding.value is None):
            if binding.error or (binding.key or "").upper().startswith(variables.PREFIX):
                mistakes.append(
                    f"{dotenv} line {line} can't be read; a line is NAME=value, with 'quotes' around a value with spaces or #"
                )
        elif binding.key is not None and binding.value is not None:
            yield binding.key, binding.value, f" ({dotenv} line {line})"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _meant(name: str) -> str | None:
    """Return the setting that a wrong name stands for: with single underscores or in lower case, or nearly so."""
    account, rest = _split(name)
    if account:
        near = notation.closest(rest.upper(), variables.ACCOUNT)
        return f"{variables.ACCOUNTS}{account}__{near}" if near else None
    flat = re.sub(r"_+", "_", name.upper())
    found = re.fullmatch(r"POSTROOM_ACCOUNTS?_(.+)", flat)
    for rest in sorted(variables.ACCOUNT, key=len, reverse=True) if found else ():
        of_account, _, end = found[1].rpartition("_" + rest.replace("__", "_")) if found else ("", "", "")
        if of_account and not end:
            return f"{variables.ACCOUNTS}{of_account}__{rest}"
    near = notation.closest(flat.removeprefix(variables.PREFIX), [one.name for one in variables.HOUSE])
    return variables.PREFIX + near if near else None


# --- accounts -------------------------------------------------------------------------------------------------------


def _account(reader: _Reader, name: str, written: str) -> Account:
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
    return Account(name=name, address=address or "", pop3=pop3, smtp=smtp)


def _pop3(reader: _Reader, prefix: str, address: str) -> Pop3 | None:
    endpoint, password = _endpoint(reader, prefix, "POP3"), _password(reader, prefix, needed="the password")
    given = _given(
        auth=reader.take(prefix, variables.AUTH["POP3"]),
        poll=reader.take(prefix, variables.POLL),
        delete=reader.take(prefix, variables.DELETE),
        max_message_octets=reader.take(prefix, variables.MAX_MESSAGE_OCTETS),
        max_messages_per_poll=reader.take(prefix, variables.MAX_MESSAGES_PER_POLL),
    )
    username = reader.take(prefix, variables.USERNAME) or address
    return Pop3(endpoint=endpoint, username=username, password=password, **given) if endpoint and password else None


def _smtp(reader: _Reader, prefix: str, address: str) -> Smtp | None:
    endpoint, username = _endpoint(reader, prefix, "SMTP"), reader.take(prefix, variables.USERNAME)
    password = _password(reader, prefix, needed="the password of USERNAME" if username else "")
    given = _given(
        auth=reader.take(prefix, variables.AUTH["SMTP"]),
        max_connections=reader.take(prefix, variables.MAX_CONNECTIONS),
        budget=reader.take(prefix, variables.BUDGET),
    )
    if password is not None:
        given |= {"username": username or address, "password": password}
    return Smtp(endpoint=endpoint, **given) if endpoint else None


def _endpoint(reader: _Reader, prefix: str, kind: str) -> Endpoint | None:
    host, port = reader.take(prefix, variables.HOST), reader.take(prefix, variables.PORT)
    reader.missing(prefix + variables.HOST.name, variables.HOST.takes)
    written = reader.take(prefix, variables.SECURITY)
    security = (
        Security(written) if written else variables.SECURITY_OF_PORT.get(port or 0, variables.SECURITY_DEFAULT[kind])
    )
    ca_file, fingerprint = reader.take(prefix, variables.CA_FILE), reader.take(prefix, variables.FINGERPRINT)
    timeout_seconds = reader.take(prefix, variables.TIMEOUT)
    if host is None:
        return None
    return Endpoint(
        host=host,
        port=port or variables.PORTS[kind][security],
        security=security,
        ca_file=ca_file,
        fingerprint=fingerprint,
        timeout_seconds=timeout_seconds or 60.0,
    )


def _password(reader: _Reader, prefix: str, *, needed: str) -> SecretSource | None:
    """Return where the password is; more than one place is a mistake, none is one where it is `needed`.

    A relative file is a credential where systemd gives some (systemd.exec(5), LoadCredential=).
    """
    places = [
        prefix + one.name
        for one in (variables.PASSWORD, variables.PASSWORD_FILE, variables.PASSWORD_COMMAND)
        if prefix + one.name in reader.values
    ]
    value, file, command = (
        reader.take(prefix, variables.PASSWORD),
        reader.take(prefix, variables.PASSWORD_FILE),
        reader.take(prefix, variables.PASSWORD_COMMAND),
    )
    if len(places) > 1:
        reader.mistakes.append(f"{' and '.join(places)} are set; set one of them")
    if not places and needed:
        reader.missing(prefix + variables.PASSWORD.name, f"{needed} (or set PASSWORD_FILE or PASSWORD_COMMAND instead)")
    if file is not None and reader.credentials:
        file = Path(reader.credentials) / file  # an absolute path stays as it is
    given = _given(value=value, file=file, command=command)
    return SecretSource(**given) if len(given) == 1 else None


def _given(**values: Any) -> dict[str, Any]:
    """Leave out what is not set, so that the dataclass's own defaults hold."""
    return {name: value for name, value in values.items() if value is not None}
