"""What POP3 replies mean: response codes, CAPA, STAT, LIST and UIDL (RFC 1939, 2449, 3206).

Lenient in what is harmless (spaces, text behind the numbers), strict in what decides a message's identity. Raises only
ProtocolViolation; everything else comes back as a value, faults of the server as errors to be raised. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from daemon import errors
from daemon.mail.maildrop import Entry, Listing

NUMBER_DIGITS: Final = 18  # so that any number fits a database's 64-bit integer
MOST_LOGIN_DELAY: Final = 86_400  # seconds; a server that wants longer pauses than a day is asked once a day
SAID_CHARACTERS: Final = 200  # of a reply quoted in an error's message

_CODE: Final = re.compile(r"\[([^\[\]\s]{1,64})\]")
# RFC 1939 itself shows "maildrop already locked" and "unable to lock maildrop"; servers without RESP-CODES say no more.
_LOCKED: Final = re.compile(r"(?i)mail ?(drop|box|lock).*(lock|busy|in use)|lock.*mail ?(drop|box)|maillock")
_ODD: Final = re.compile(rb"[^ -\[\]-~]")  # anything but printable ASCII, and the backslash


def code(text: str) -> str | None:
    """Return the response code at the beginning of a reply's text, upper case, or None (RFC 2449 section 8)."""
    if not text.startswith("["):
        return None
    found = _CODE.match(text)
    return found[1].upper() if found else None


def refusal(
    peer: str,
    doing: str,
    text: str,
    *,
    login: bool = False,
    login_delay: int | None = None,
    advice: str = "check USERNAME and PASSWORD",
) -> errors.PostroomError:
    """Return the error for an -ERR.

    peer: host:port.  doing: `to RETR 3`, `at the greeting`.  login: the -ERR answers USER, PASS or AUTH, where it means
    that the credentials are wrong unless it says otherwise.  login_delay: what CAPA said of it.  advice: what to do about
    wrong credentials.
    """
    said = text if len(text) <= SAID_CHARACTERS else f"{text[: SAID_CHARACTERS - 1]}…"
    said = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in said) or "no reason"
    reply = f"-ERR {said}"
    said_code = code(text) or ""
    if said_code.startswith("IN-USE") or (login and not said_code and _LOCKED.search(text)):
        return errors.MaildropLocked(
            f"{peer}: another client holds the maildrop: {said}; next visit, next try", reply=reply
        )
    if said_code.startswith("LOGIN-DELAY"):
        return errors.LoginTooSoon(
            f"{peer}: the server wants longer pauses between logins: {said}; set POLL higher",
            reply=reply,
            seconds=login_delay,
        )
    if said_code.startswith("SYS/"):
        if said_code.startswith("SYS/PERM"):
            return errors.ServerBroken(
                f"{peer}: the server is broken {doing}: {said}; tell whoever runs it", reply=reply
            )
        return errors.ServerTrouble(f"{peer}: the server has a passing fault {doing}: {said}", reply=reply)
    if login or said_code.startswith("AUTH"):
        return errors.AuthFailed(
            f"{peer}: the login was refused: {said}; {advice}", is_certain=said_code.startswith("AUTH")
        )
    return errors.CommandRefused(f"{peer}: -ERR {doing}: {said}", reply=reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What CAPA said (RFC 2449); empty, with `answered` False, where the server knows no CAPA."""

    answered: bool = False
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """All capability names, upper case."""
        return frozenset(self.parameters)

    @property
    def pipelining(self) -> bool:
        """Whether commands may be sent without waiting (section 6.6)."""
        return "PIPELINING" in self.parameters

    @property
    def stls(self) -> bool:
        """Whether STLS is offered (RFC 2595)."""
        return "STLS" in self.parameters

    @property
    def user(self) -> bool:
        """Whether USER and PASS are offered."""
        return "USER" in self.parameters

    @property
    def uidl(self) -> bool:
        """Whether UIDL is worth asking for: yes also where no CAPA tells."""
        return "UIDL" in self.parameters or not self.answered

    @property
    def top(self) -> bool:
        """Whether TOP is worth asking for: yes also where no CAPA tells."""
        return "TOP" in self.parameters or not self.answered

    @property
    def sasl(self) -> frozenset[str]:
        """SASL mechanisms, upper case."""
        return frozenset(name.upper() for name in self.parameters.get("SASL", ()))

    @property
    def login_delay(self) -> int | None:
        """Seconds that the server wants between logins (section 6.5); with `USER` behind it, known only after the login."""
        seconds = _number((self.parameters.get("LOGIN-DELAY") or ("",))[0].encode("ascii", "replace"))
        return None if seconds is None else min(seconds, MOST_LOGIN_DELAY)

    @property
    def expire(self) -> str | None:
        """For how many days the server keeps mail, or NEVER, as it says it."""
        return " ".join(self.parameters["EXPIRE"]) if "EXPIRE" in self.parameters else None

    @property
    def implementation(self) -> str | None:
        """What the server says it is."""
        return " ".join(self.parameters["IMPLEMENTATION"]) if "IMPLEMENTATION" in self.parameters else None


def capabilities(lines: Iterable[bytes]) -> Capabilities:
    """Read the lines of a CAPA reply; empty ones are nothing."""
    parameters: dict[str, tuple[str, ...]] = {}
    for line in lines:
        words = line.decode("utf-8", "backslashreplace").split()
        if words:
            # "SASL PLAIN" twice, as some servers list it, is one list.
            name = words[0].upper()
            parameters[name] = (*parameters.get(name, ()), *words[1:])
    return Capabilities(answered=True, parameters=parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What STAT says."""

    count: int
    octets: int


def stat(text: str) -> Stat:
    """Read `2 320`; what follows is nothing (RFC 1939 section 5)."""
    words = text.encode("utf-8", "surrogateescape").split(None, 2)
    numbers = [_number(word) for word in words[:2]]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        raise errors.ProtocolViolation(f"the reply to STAT has no two numbers: {text[:SAID_CHARACTERS]!r}")
    return Stat(count=numbers[0], octets=numbers[1])


def _number(word: bytes) -> int | None:
    # int() alone takes signs, underscores and any length.
    return int(word) if word.isdigit() and len(word) <= NUMBER_DIGITS else None


def uidl_text(octets: bytes) -> str:
    r"""Return a unique-id as text, injectively: printable ASCII as it is, a backslash doubled, any other octet as \xNN."""
    return _ODD.sub(lambda odd: b"\\\\" if odd[0] == b"\\" else b"\\x%02x" % odd[0][0], octets).decode("ascii")


def sizes(lines: Iterable[bytes]) -> dict[int, int | None]:
    """Read LIST lines, `1 120`: octets by number; None where a line has no size or two lines disagree."""
    found: dict[int, int | None] = {}
    for line in lines:
        words = line.split(None, 2)
        number = _number(words[0]) if words else None
        if number:
            octets = _number(words[1]) if len(words) > 1 else None
            found[number] = octets if found.get(number, octets) == octets else None
    return found


def uidls(lines: Iterable[bytes]) -> dict[int, str | None]:
    """Read UIDL lines, `1 whqtswO00WBw418f9t5JxYwZ`: unique-ids by number; None where two lines disagree.

    The id is all that stands behind the number: cutting it at a space could make two messages one (RFC 1939 allows none,
    servers have them).
    """
    found: dict[int, str | None] = {}
    for line in lines:
        words = line.split(None, 1)
        number = _number(words[0]) if words else None
        if number and len(words) == 2:
            uidl = uidl_text(words[1].rstrip())
            found[number] = uidl if found.get(number, uidl) == uidl else None
    return found


def entries(list_lines: Sequence[bytes], uidl_lines: Sequence[bytes]) -> tuple[Entry, ...]:
    """Match the lines of LIST and UIDL by number; a message that only one of them has is there too."""
    listed, named = sizes(list_lines), uidls(uidl_lines)
    numbers = sorted({**listed, **named})
    return tuple(map(Entry._make, zip(numbers, map(named.get, numbers), map(listed.get, numbers), strict=True)))


def plain_entries(list_lines: Sequence[bytes], uidl_lines: Sequence[bytes], first: int = 1) -> tuple[Entry, ...] | None:
    """Match the lines of a listing that is as the RFC shows it: numbers from `first` without gaps, a name and a size for each.

    None for any other, to be read with care. Most are plain, and one of 20,000 messages is then read in a fifth of the time.
    """
    octets, names = _plain(list_lines, first), _plain(uidl_lines, first)
    if octets == names == []:
        return ()
    if not octets or not names or len(octets) != len(names) or not _are_numbers(octets) or _ODD.search(b"".join(names)):
        return None
    uids = b" ".join(names).decode("ascii").split(" ")
    return tuple(map(Entry._make, zip(range(first, first + len(uids)), uids, map(int, octets), strict=True)))


def _plain(lines: Sequence[bytes], first: int) -> list[bytes] | None:
    """Give what stands behind the numbers, one word behind each; None if it is otherwise."""
    if not lines:
        return []
    words = b" ".join(lines).split(b" ")
    if len(words) != 2 * len(lines) or b"" in words:
        return None
    return words[1::2] if words[::2] == [b"%d" % number for number in range(first, first + len(lines))] else None


def _are_numbers(words: list[bytes]) -> bool:
    return all(map(bytes.isdigit, words)) and len(max(words, key=len)) <= NUMBER_DIGITS


def split(whole: bytes) -> list[bytes]:
    """Cut a multi-line reply into its lines, whatever they end in."""
    return whole.replace(b"\r\n", b"\n").split(b"\n")[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a server said to STAT, UIDL and LIST, unread. octets: as STAT says.  uidls, sizes: empty where refused."""

    octets: int
    has_uidl: bool
    uidls: bytes
    sizes: bytes

    def listing(self) -> Listing:
        """Read them."""
        list_lines, uidl_lines = split(self.sizes), split(self.uidls)
        found = plain_entries(list_lines, uidl_lines)
        is_plain = found is not None
        if found is None:
            found = entries(list_lines, uidl_lines)
        return Listing(count=len(found), octets=self.octets, entries=found, has_uidl=self.has_uidl, is_plain=is_plain)
