"""How people write values: `14d`, `50M`, `1m..4h`, `10/s,500/h`, cron fields, hosts, addresses, a choice of words.

Pure: text in, value out. Anything else is ValueError, whose message says what is wrong with this text (it may be empty when
there is nothing to add to "that is not one"). What the value should look like is said by the caller, who knows its name.
"""

import ipaddress
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from daemon.mail.account import Cron, DeletePolicy, Every, First, Quota
from daemon.retry import Backoff

UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST_DAYS: Final = 36_500  # a century: anything longer is a slip, and timedelta must not overflow
MULTIPLES: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# name, smallest, largest, names that may stand for numbers counted from the smallest
CRON_FIELDS: Final[tuple[tuple[str, int, int, Sequence[str]], ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 7, WEEKDAYS),
)

NOTICES: Final = ("success", "failure", "delay")

_WAIT: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_WAIT_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_OCTETS: Final = re.compile(r"(\d+) ?([KMG]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_QUOTA: Final = re.compile(r"(\d+)/([smhdw])", re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8})*", re.IGNORECASE | re.ASCII)
PROXY_SCHEMES: Final = ("socks5", "socks5h", "socks4", "http")
_CRON_PART: Final = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/(\d+))?", re.ASCII)


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that was probably meant, or None."""
    found = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return found[0] if found else None


def choice(text: str, words: Sequence[str]) -> str:
    """Return the word, whatever its case."""
    word = text.lower()
    if word not in words:
        meant = closest(word, words)
        raise ValueError(f"did you mean {meant}?" if meant else "")
    return word


def whole(text: str, smallest: int, largest: int) -> int:
    """Return a whole number within the two bounds."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ValueError("")
    if not smallest <= int(text) <= largest:
        raise ValueError(f"it must be from {smallest} to {largest}")
    return int(text)


def wait(text: str) -> timedelta:
    """Return a span of time above zero: `30s`, `5m`, `1h30m`, `14d`."""
    word = text.replace(" ", "").lower()
    if word.isascii() and word.isdigit():
        raise ValueError(f"a unit is missing: {word}s, {word}m, {word}h or {word}d?")
    if not _WAIT.fullmatch(word):
        raise ValueError("")
    seconds = sum(float(count[:20]) * UNIT_SECONDS[unit] for count, unit in _WAIT_PART.findall(word))
    if not 0 < seconds <= LONGEST_DAYS * UNIT_SECONDS["d"]:
        raise ValueError("it must be longer than nothing" if not seconds else "that is more than a century")
    return timedelta(seconds=seconds)


def seconds(text: str) -> float:
    """Return seconds above zero, written plainly (`60`, `2.5`) or with a unit (`2m`)."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and float(text) > 0:
        return float(text)
    return wait(text).total_seconds()


def octets(text: str) -> int:
    """Return a size above zero: `1048576`, `50M`, `2 GiB`; K, M and G are powers of 1024."""
    found = _OCTETS.fullmatch(text)
    if not found or len(found[1]) > 18 or not int(found[1]):
        raise ValueError("")
    return int(found[1]) * MULTIPLES[found[2].upper()]


def backoff(text: str) -> Backoff:
    """Return the first and the longest wait: `1m..4h`; one wait alone stands for both."""
    first, dots, longest = text.partition("..")
    parsed = Backoff(first=wait(first.strip()), longest=wait((longest if dots else first).strip()))
    if parsed.first > parsed.longest:
        raise ValueError("the first wait is longer than the longest one")
    return parsed


def quotas(text: str) -> tuple[Quota, ...]:
    """Return the quotas of `10/s,500/h,2000/d`; each period once."""
    found = [_QUOTA.fullmatch(part.strip().lower()) for part in text.split(",")]
    parsed = tuple(
        Quota(count=int(one[1][:18]), period=timedelta(seconds=UNIT_SECONDS[one[2]])) for one in found if one
    )
    if len(parsed) != len(found):
        raise ValueError("")
    if not all(one.count for one in parsed):
        raise ValueError("a budget of 0 would never send anything")
    if len({one.period for one in parsed}) != len(parsed):
        raise ValueError("a period stands twice")
    return parsed


def delete_policy(text: str) -> DeletePolicy:
    """Return the policy of `never`, `after_fetch`, an age such as `14d`, or a size such as `above:500M`."""
    word = text.lower()
    kind, colon, size = word.partition(":")
    if kind.strip() == "above":
        try:
            return DeletePolicy(kind="above", octets=octets(size.strip()))
        except ValueError as error:
            raise ValueError("" if colon and size.strip() else "a size is missing: above:500M?") from error
    if word == "never":
        return DeletePolicy(kind="never")
    if word == "after_fetch":
        return DeletePolicy(kind="after_fetch")
    try:
        return DeletePolicy(kind="age", age=wait(word))
    except ValueError as error:
        meant = closest(kind, ("never", "after_fetch", "above:500M"))
        raise ValueError(f"did you mean {meant}?" if meant else str(error)) from error


def first(text: str) -> First:
    """Return what is fetched at the first contact: `all`, `new`, or `since:` an ISO date or time, in UTC unless it says another."""
    kind, colon, moment = text.partition(":")
    word, moment = kind.strip().lower(), moment.strip()
    if word == "since":
        if not moment:
            raise ValueError("a date is missing: since:2026-01-01?")
        try:
            is_day = re.fullmatch(r"[0-9-]{8,10}", moment)
            since = datetime.combine(date.fromisoformat(moment), time()) if is_day else datetime.fromisoformat(moment)
            return First(
                kind="since", since=since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
            )
        except (ValueError, OverflowError) as error:
            raise ValueError("after since: comes an ISO date or UTC time, 2026-01-01 or 2026-01-01T12:00Z") from error
    if not colon and word in ("all", "new"):
        return First(kind="new" if word == "new" else "all")
    meant = closest(word, ("all", "new", "since"))
    raise ValueError(f"did you mean {meant}?" if meant and not colon else "")


def poll(text: str) -> Every | Cron:
    """Return when to visit: an interval of a second or more, or five cron fields in UTC."""
    if len(text.split()) == len(CRON_FIELDS):
        return cron(text)
    interval = wait(text)
    if interval < timedelta(seconds=1):
        raise ValueError("a second is the shortest interval")
    return Every(interval=interval)


def cron(text: str) -> Cron:
    """Return five cron fields, checked, with weekdays as a list of names.

    Weekday numbers are cron's (0 and 7 are Sunday); they leave here as names because schedulers disagree on them. A day of
    month together with a weekday is refused: in cron either one may match, in the scheduler both must.
    """
    fields = text.lower().split()
    if len(fields) != len(CRON_FIELDS):
        raise ValueError(f"cron has five fields, these are {len(fields)}")
    numbers = [_cron_numbers(field, *bounds) for field, bounds in zip(fields, CRON_FIELDS, strict=True)]
    if fields[2] != "*" and fields[4] != "*":
        raise ValueError("say the day of month or the weekday, not both")
    for place, names in ((3, MONTHS), (4, WEEKDAYS)):
        first = CRON_FIELDS[place][1]
        if fields[place] != "*":
            fields[place] = ",".join(dict.fromkeys(names[(number - first) % len(names)] for number in numbers[place]))
    return Cron(expression=" ".join(fields))


def _cron_numbers(field: str, label: str, smallest: int, largest: int, names: Sequence[str]) -> list[int]:
    """Return the numbers that a cron field stands for, in order."""

    def number(word: str) -> int:
        if word in names:
            return names.index(word) + smallest
        if not word.isdecimal() or len(word) > 4 or not smallest <= int(word) <= largest:
            raise ValueError(f"{label} {word!r} is not from {smallest} to {largest}")
        return int(word)

    numbers: list[int] = []
    for part in field.split(","):
        found = _CRON_PART.fullmatch(part)
        if not found or (found[3] and found[1] != "*" and not found[2]) or (found[1] == "*" and found[2]):
            raise ValueError(
                f"{label} {part!r} is not *, a number, a range like 1-5, or one of these with a step like */5"
            )
        step = int(found[3][:4]) if found[3] else 1
        if found[1] == "*":
            # 7 is Sunday again: a step over the weekdays counts 0 to 6.
            first, last = smallest, largest - 1 if names is WEEKDAYS else largest
        else:
            first = number(found[1])
            last = first if not found[2] else largest if found[2] == "sun" else number(found[2])
        if last < first or not step:
            raise ValueError(f"{label} {part!r} is empty")
        numbers += range(first, last + 1, step)
    return numbers


def database_url(text: str) -> str:
    """Return an SQLAlchemy URL of an SQLite file or a PostgreSQL database (always with the driver psycopg)."""
    scheme, colon, rest = text.partition("://")
    if not colon:
        raise ValueError(
            f"did you mean sqlite:///{text}?" if text.endswith((".db", ".sqlite", ".sqlite3")) else "it has no ://"
        )
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if scheme != "sqlite":
        meant = closest(scheme, ("sqlite", "postgresql+psycopg", "postgresql"))
        said = scheme if re.fullmatch(r"[A-Za-z0-9+.-]{1,40}", scheme) else "what stands before ://"
        raise ValueError(f"{said} is not one of them" + (f"; did you mean {meant}?" if meant else ""))
    if not rest.startswith("/"):
        raise ValueError("a path follows three slashes, an absolute one four")
    if rest in ("/", "/:memory:"):
        raise ValueError("an archive needs a file")
    return text


def listen(text: str) -> tuple[str, int] | Path:
    """Return where to listen: a loopback address and a port, or an absolute path for a unix socket."""
    if text.startswith("/"):
        return Path(text)
    name, colon, port = text.rpartition(":")
    bare = name.removeprefix("[").removesuffix("]")
    if not colon or not bare:
        raise ValueError("a path begins with /, and an address ends with :PORT")
    try:
        is_loopback = ipaddress.ip_address(bare).is_loopback
    except ValueError as error:
        raise ValueError("an address in numbers is needed") from error
    if not is_loopback:
        raise ValueError("nobody logs in there: let a proxy on this machine ask")
    return bare, whole(port, 1, 65535)


def ping_url(text: str) -> str:
    """Return an address to ask for."""
    scheme, _, rest = text.partition("://")
    if scheme not in {"http", "https"} or not rest.strip("/") or re.search(r"\s", text):
        raise ValueError("")
    return text


def address(text: str) -> str:
    """Return an addr-spec as it stands, if it looks like one."""
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or re.search(r"[\s<>,;]", text):
        raise ValueError("the address alone, without a name" if "<" in text else "")
    return text


def host(text: str) -> str:
    """Return a host name or an IP address, without brackets."""
    bare = text.removeprefix("[").removesuffix("]")
    if "://" in text:
        raise ValueError(f"leave {text.partition('://')[0]}:// away; SECURITY says how to connect")
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise ValueError("the port stands in PORT")
    if re.search(r"[\s/@,;\[\]]", bare):
        raise ValueError("")
    return bare


def hosts(text: str) -> tuple[tuple[str, int | None], ...]:
    """Return hosts in their order, each with its port if one is written: `smtp2.example.org, [::1]:2525`."""
    found = []
    for one in text.split(","):
        name, colon, port = one.strip().rpartition(":")
        if not colon or (":" in name and not name.endswith("]")):
            name, port = one.strip(), ""
        if not name:
            raise ValueError("a host is missing")
        found.append((host(name), whole(port, 1, 65535) if port else None))
    return tuple(found)


def label(text: str) -> str:
    """Return labels of a domain name, as a DKIM selector is (RFC 6376 section 3.1)."""
    if not re.fullmatch(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", text, re.IGNORECASE
    ):
        raise ValueError("")
    return text


def notices(text: str) -> frozenset[str]:
    """Return what is to be reported of a letter (RFC 3461 section 4.1): `success,failure,delay`, or nothing for `never`."""
    words = {choice(word.strip(), ("never", *NOTICES)) for word in text.split(",")}
    if "never" in words and len(words) > 1:
        raise ValueError("never stands alone")
    return frozenset(words - {"never"})


def fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hexadecimal digits."""
    digits = re.sub(r"^sha256[:=]|[\s:]", "", text.lower())
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"{len(digits)} hexadecimal digits are not 64" if re.fullmatch(r"[0-9a-f]+", digits) else "")
    return digits


def command(text: str) -> tuple[str, ...]:
    """Return the words of a command, split as a shell would."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError("a quotation mark is not closed") from error


def path(text: str) -> Path:
    """Return a path, with a leading `~` opened out."""
    return Path(text).expanduser()


def language(text: str) -> str:
    """Return a language tag of RFC 5646 (its letters, not its registry), or `*`, the server's choice (RFC 6856)."""
    if text != "*" and not _LANGUAGE.fullmatch(text):
        raise ValueError("a minus divides its parts" if "_" in text else "")
    return text


def proxy_url(text: str) -> str:
    """Return a proxy's URL: a known scheme, a host and a port, perhaps a login. Messages show no part of it."""
    scheme, colon, rest = text.partition("://")
    if not colon:
        raise ValueError("it has no ://")
    if scheme.lower() not in PROXY_SCHEMES:
        raise ValueError("what stands before :// is none of socks5, socks5h, socks4, http")
    if re.search(r"[/?#\s]", rest.removesuffix("/")):
        raise ValueError("nothing follows the port; / ? # and blanks in a password are written as %2F %3F %23 %20")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # its words may quote a password
        raise ValueError("after the host comes a port from 1 to 65535") from None
    if not host or not port:
        raise ValueError("the host is missing" if not host else "the port is missing")
    if scheme.lower() == "socks4" and parts.password:
        raise ValueError("SOCKS 4 knows a user, but no password")
    return text
