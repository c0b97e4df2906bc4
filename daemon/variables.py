"""What can be set: every variable once, with its name, what it takes in words, and how its text is read.

HOUSE holds what is set once (POSTROOM_<NAME>), ACCOUNT the names of what is set for each account
(POSTROOM_ACCOUNTS__<ACCOUNT>__<NAME>). `settings` reads them; `.env.example` shows each, which a test holds. Never reads the
environment itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from daemon import notation
from daemon.wire import sasl
from daemon.wire.secret import Secret
from daemon.wire.stream import Security

PREFIX: Final = "POSTROOM_"
ACCOUNTS: Final = "POSTROOM_ACCOUNTS__"
ENV_FILE: Final = "POSTROOM_ENV_FILE"  # in the environment alone: the file to read in place of `.env`
# Read by the test suite, and left alone when it runs the command.
NOT_OURS: Final = frozenset({"POSTROOM_REQUIRE_SERVERS"})
LARGEST_INT: Final = 2**62  # fits the databases' integers
PORTS: Final = {
    "POP3": {Security.TLS: 995, Security.STARTTLS: 110, Security.PLAINTEXT: 110},
    "SMTP": {Security.TLS: 465, Security.STARTTLS: 587, Security.PLAINTEXT: 25},
}
LMTP_PORT: Final = 24  # as IANA has it for any private mail system; LMTP has no port of its own (RFC 2033 section 5)
# A port that says how it is secured, so that PORT=465 alone is enough. Never plaintext: that must be written.
SECURITY_OF_PORT: Final = {
    995: Security.TLS,
    465: Security.TLS,
    110: Security.STARTTLS,
    587: Security.STARTTLS,
    25: Security.STARTTLS,
}
SECURITY_DEFAULT: Final = {"POP3": Security.TLS, "SMTP": Security.STARTTLS}
EXTERNAL: Final = (
    "external"  # the login by the client certificate, the only one without a password (RFC 4422, appendix A)
)
SASL_NAMES: Final = tuple(name.lower() for name in sasl.MECHANISMS)
AUTH_NAMES: Final = {  # user: USER and PASS
    "POP3": (sasl.AUTO, "user", "apop", *SASL_NAMES),
    "SMTP": (sasl.AUTO, *SASL_NAMES),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """One setting: the part of its name that is fixed, what it takes in words, and how its text is read.

    read: raises ValueError, whose message (if any) says what is wrong with this very text.
    """

    name: str
    takes: str
    read: Callable[[str], T]
    is_secret: bool = False


def _words(name: str, *words: str) -> Variable[str]:
    return Variable(name, f"{', '.join(words[:-1])} or {words[-1]}", lambda text: notation.choice(text, words))


def _number(name: str, takes: str, smallest: int, largest: int) -> Variable[int]:
    return Variable(name, takes, lambda text: notation.whole(text, smallest, largest))


def _readable(text: str) -> Path:
    path = Path(text).expanduser()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


DATABASE_URL: Final = Variable(
    "DATABASE_URL",
    "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME",
    notation.database_url,
    is_secret=True,
)
LOG_FORMAT: Final = _words("LOG_FORMAT", "console", "json")
LOG_LEVEL: Final = _words("LOG_LEVEL", "debug", "info", "warning", "error")
TRACE: Final = _words("TRACE", "off", "failures", "all")
RETRY: Final = Variable("RETRY", "the first and the longest wait, like 1m..4h", notation.backoff)
LISTEN: Final = Variable("LISTEN", "a loopback address with a port, like 127.0.0.1:9465, or a path", notation.listen)
PING_URL: Final = Variable("PING_URL", "an http:// or https:// address", notation.ping_url, is_secret=True)
KEEP_POLLS: Final = Variable("KEEP_POLLS", "how long, like 90d", notation.wait)
COMPRESSION: Final = _words("COMPRESSION", "zstd", "none")
HOUSE: Final[tuple[Variable[Any], ...]] = (
    DATABASE_URL,
    LOG_FORMAT,
    LOG_LEVEL,
    TRACE,
    RETRY,
    KEEP_POLLS,
    LISTEN,
    PING_URL,
    COMPRESSION,
)

ADDRESS: Final = Variable("ADDRESS", "a mail address, like anna@example.org", notation.address)
HOST: Final = Variable("HOST", "a host name or an IP address, like pop.example.org", notation.host)
PORT: Final = _number("PORT", "a port number", 1, 65535)
SECURITY: Final = _words("SECURITY", *Security)
USERNAME: Final = Variable("USERNAME", "the name to log in with", str)
PASSWORD: Final = Variable("PASSWORD", "the password", Secret, is_secret=True)
PASSWORD_FILE: Final = Variable("PASSWORD_FILE", "a file whose first line is the password", notation.path)
PASSWORD_COMMAND: Final = Variable(
    "PASSWORD_COMMAND", "a command that prints the password", notation.command, is_secret=True
)
PASSWORD_KEYRING: Final = Variable(
    "PASSWORD_KEYRING", "a service name in the keyring, where USERNAME's password is", str
)
CA_FILE: Final = Variable("CA_FILE", "a readable PEM file of CA certificates", _readable)
FINGERPRINT: Final = Variable("FINGERPRINT", "the certificate's SHA-256 in 64 hexadecimal digits", notation.fingerprint)
CLIENT_CERTIFICATE: Final = Variable("CLIENT_CERTIFICATE", "a PEM file of our own certificate", notation.path)
CLIENT_KEY: Final = Variable("CLIENT_KEY", "a PEM file of CLIENT_CERTIFICATE's key", notation.path)
PROXY: Final = Variable(
    "PROXY",
    "socks5://HOST:PORT, socks4:// or http://, with USER:PASSWORD@ if need be",
    notation.proxy_url,
    is_secret=True,
)
TIMEOUT: Final = Variable("TIMEOUT", "seconds of silence, like 60", notation.seconds)
POLL: Final = Variable("POLL", "an interval like 5m, or five cron fields in UTC like */5 * * * *", notation.poll)
DELETE: Final = Variable(
    "DELETE", "never, after_fetch, an age like 14d, or a size like above:500M", notation.delete_policy
)
FIRST: Final = Variable("FIRST", "all, new, or a day like since:2026-01-01", notation.first)
MAX_MESSAGE_OCTETS: Final = Variable("MAX_MESSAGE_OCTETS", "a size like 26214400 or 25M", notation.octets)
OVERSIZE: Final = _words("OVERSIZE", "skip", "headers")
MAX_MESSAGES_PER_POLL: Final = _number("MAX_MESSAGES_PER_POLL", "a number of messages", 1, LARGEST_INT)
MAX_OCTETS_PER_POLL: Final = Variable("MAX_OCTETS_PER_POLL", "a size like 104857600 or 100M", notation.octets)
DELETES_PER_SESSION: Final = _number("DELETES_PER_SESSION", "a number of messages", 1, LARGEST_INT)
LANGUAGE: Final = Variable("LANGUAGE", "a language tag, like de or pt-BR", notation.language)
MAX_CONNECTIONS: Final = _number("MAX_CONNECTIONS", "a number of connections", 1, 100)
BUDGET: Final = Variable("BUDGET", "letters a period, like 10/s,500/h,2000/d", notation.quotas)
PROTOCOL: Final = _words("PROTOCOL", "smtp", "lmtp")
FALLBACK: Final = Variable("FALLBACK", "hosts, like smtp2.example.org or smtp2.example.org:2525", notation.hosts)
NOTIFY: Final = Variable("NOTIFY", "success, failure and delay with commas between them, or never", notation.notices)
VERP: Final = _words("VERP", "off", "on")
SUPPRESS_BOUNCES: Final = _words("SUPPRESS_BOUNCES", "off", "on")
DKIM_KEY_FILE: Final = Variable("DKIM_KEY_FILE", "a PEM file of a private key", notation.path)
DKIM_SELECTOR: Final = Variable("DKIM_SELECTOR", "the name under which the public key is in the DNS", notation.label)
DKIM_DOMAIN: Final = Variable("DKIM_DOMAIN", "a domain, like example.org", notation.host)
FORWARD: Final = Variable("FORWARD", "a mail address, like anna@example.net", notation.address)
AUTH: Final = {kind: _words("AUTH", *words) for kind, words in AUTH_NAMES.items()}
PASSWORDS: Final[tuple[Variable[Any], ...]] = (PASSWORD, PASSWORD_FILE, PASSWORD_COMMAND, PASSWORD_KEYRING)
_SERVER: Final[tuple[Variable[Any], ...]] = (HOST, PORT, SECURITY, USERNAME, *PASSWORDS)
_SESSION: Final[tuple[Variable[Any], ...]] = (CA_FILE, FINGERPRINT, CLIENT_CERTIFICATE, CLIENT_KEY, PROXY, TIMEOUT)
_FETCHING: Final[tuple[Variable[Any], ...]] = (
    POLL, FIRST, DELETE, DELETES_PER_SESSION, MAX_MESSAGE_OCTETS, OVERSIZE, MAX_MESSAGES_PER_POLL, MAX_OCTETS_PER_POLL, LANGUAGE
)  # fmt: skip
_SENDING: Final[tuple[Variable[Any], ...]] = (
    PROTOCOL, FALLBACK, MAX_CONNECTIONS, BUDGET, NOTIFY, VERP, SUPPRESS_BOUNCES, DKIM_KEY_FILE, DKIM_SELECTOR, DKIM_DOMAIN
)  # fmt: skip
SERVERS: Final[Mapping[str, tuple[Variable[Any], ...]]] = {
    "POP3": (*_SERVER, AUTH["POP3"], *_SESSION, *_FETCHING),
    "SMTP": (*_SERVER, AUTH["SMTP"], *_SESSION, *_SENDING),
}
ACCOUNT: Final = (
    ADDRESS.name,
    FORWARD.name,
    *(f"{kind}__{one.name}" for kind, variables in SERVERS.items() for one in variables),
)
