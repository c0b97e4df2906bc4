"""Addresses as people and programs write them: a list of mailboxes (RFC 5322 section 3.4), and one addr-spec (RFC 5321 section 4.1.2).

More is accepted than the RFC says, where the meaning is plain: `;` and line ends separate too, empty places are skipped,
a group stands for its members, a comment behind an address is its name, encoded-words in a name are read (RFC 2047), an
international domain becomes its A-labels. Everything else is InputInvalid with the piece that is wrong. Linear in its input; pure.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from email import header
from email.errors import HeaderParseError
from encodings import idna
from functools import lru_cache
from typing import Final, NamedTuple

from daemon.errors import InputInvalid

MAX_LOCAL_OCTETS: Final = 64  # RFC 5321 section 4.5.3.1.1
MAX_DOMAIN_OCTETS: Final = 255  # RFC 5321 section 4.5.3.1.2
MAX_ADDRESS_OCTETS: Final = 254  # RFC 5321 section 4.5.3.1.3: a path has 256, its angle brackets are two of them
MAX_NAME_CHARACTERS: Final = 1000  # a display name longer than that is no name
MAX_LIST_CHARACTERS: Final = 1_000_000  # one column; about 30,000 addresses
MAX_LABEL_OCTETS: Final = 63  # RFC 1035 section 2.3.4
MAX_COMMENT_DEPTH: Final = 20  # comments nest; nobody writes more than two
KNOWN_SENDERS: Final = 256  # read and remembered: an account has few
KNOWN_DOMAINS: Final = 256  # checked and remembered: most letters go to a few
SHOWN_CHARACTERS: Final = 60  # of a bad piece, in the message about it

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff"  # RFC 5322 section 3.2.3 and RFC 6532 section 3.2
_DOT_ATOM: Final = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
_LDH: Final = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
)  # underscores are not for hosts, yet they are in use
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490 section 3.1: what people type for a dot
_DEVIATIONS: Final = re.compile("([\u00df\u03c2])")  # IDNA 2003 maps them away, IDNA 2008 keeps them: other domains
_JOINERS: Final = re.compile("[\u200c\u200d]")
# All labels are short enough if the whole is; nothing in it needs quotes, A-labels, or another look.
_COMMON: Final = re.compile(
    r"[A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*@[A-Za-z0-9]+(?:-[A-Za-z0-9]+|\.[A-Za-z0-9]+)*", re.ASCII
)
_BARE: Final = re.compile(r"[A-Za-z0-9._+=-]+@[A-Za-z0-9.-]+")
_PLAIN_FORM: Final = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_HEADER_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ENCODED_WORD: Final = re.compile(r"=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ANGLE: Final = re.compile(r'<((?:[^<>"]|"(?:[^"\\]|\\.)*")*)>', re.DOTALL)
_PLAIN: Final = re.compile(r'[^,;\r\n"(<:\[]+|\[[^\]\r\n]*\]?')  # an address literal has colons in it
_SEPARATORS: Final = ",;\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One address. name: as a person reads it, "" for none.  address: an addr-spec, its domain in ASCII."""

    name: str
    address: str

    @property
    def local(self) -> str:
        """The part before the @, with its quotes if it has any."""
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """The part behind the @."""
        return self.address.rpartition("@")[2]

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a relay with SMTPUTF8 can carry it (RFC 6531): its local part is not ASCII."""
        return not self.address.isascii()

    @property
    def identity(self) -> str:
        """Equal for two spellings of one address: only the domain's case means nothing (RFC 5321 section 2.4)."""
        return f"{self.local}@{self.domain.lower()}"


def parse_list(text: str) -> list[Mailbox]:
    """Read a list of addresses; it may be empty. InputInvalid names the piece that is wrong."""
    if _BARE.fullmatch(text):  # what most programs write; no more than the long way would make of it
        return [Mailbox(name="", address=check(text))]
    if len(text) > MAX_LIST_CHARACTERS:
        raise InputInvalid(f"a list of {len(text)} characters; at most {MAX_LIST_CHARACTERS} are read")
    if (control := _CONTROL.search(text)) is not None:
        raise InputInvalid(f"a control character ({control[0]!a}) at place {control.start() + 1}")
    return [_mailbox(piece) for piece in _pieces(text) if any(token.kind != "space" for token in piece)]


@lru_cache(KNOWN_SENDERS)
def parse_one(text: str) -> Mailbox:
    """Read exactly one address, with or without a name."""
    found = parse_list(text)
    if len(found) != 1:
        raise InputInvalid(f"one address is needed, and {_shown(text)} has {len(found) or 'none'}")
    return found[0]


def check(address: str) -> str:
    """Return the addr-spec in its canonical form: domain in ASCII, local part quoted only where it must be."""
    if len(address) <= MAX_LABEL_OCTETS and _COMMON.fullmatch(
        address
    ):  # as nearly all are; no more than the long way would say
        return address
    local, separator, domain = address.rpartition("@")
    if not separator or not local or not domain:
        raise InputInvalid(f"{_shown(address)} is no address: name@domain is needed")
    try:
        whole = f"{_local(local)}@{ascii_domain(domain)}"
    except InputInvalid as error:
        raise InputInvalid(f"{_shown(address)}: {error}") from None
    if len(whole.encode()) > MAX_ADDRESS_OCTETS:
        raise InputInvalid(f"{_shown(address)}: longer than {MAX_ADDRESS_OCTETS} octets")
    return whole


def folded(address: str) -> str:
    """Give what the spellings of one address have in common, for comparing with what others wrote: lower case, ASCII domain.

    Also of what is no address. That two mailboxes differ in the case of their local parts alone is not believed here.
    """
    if _PLAIN_FORM.fullmatch(address):  # what nearly all are: `check` would give it back
        return address.lower()
    try:
        return check(address.strip()).lower()
    except InputInvalid:
        return address.strip().lower()


@lru_cache(KNOWN_DOMAINS)
def ascii_domain(domain: str) -> str:
    """Return a domain with its international labels as A-labels; an address literal stays as it is."""
    if domain.startswith("["):
        return _literal(domain)
    if len(domain) > MAX_DOMAIN_OCTETS:  # before the idna codec, which is quadratic
        raise InputInvalid(f"the domain is longer than {MAX_DOMAIN_OCTETS} octets")
    labels = _DOTS.split(domain)
    if not all(labels):
        raise InputInvalid(f"the domain {_shown(domain)} has an empty part between its dots")
    whole = ".".join(_label(label) for label in labels)
    if len(whole) > MAX_DOMAIN_OCTETS:
        raise InputInvalid(f"the domain is longer than {MAX_DOMAIN_OCTETS} octets")
    return whole


# --- the list -------------------------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    """kind: `text` (with its spaces), `quoted`, `comment`, `angle` (without brackets), or the special `:` itself."""

    kind: str
    text: str


def _pieces(text: str) -> Iterator[list[_Token]]:
    """Split at separators outside quotes, comments and angle brackets; `name:` of a group is dropped."""
    piece: list[_Token] = []
    for token in _tokens(text):
        if token.kind == "separator":
            yield piece
            piece = []
        elif token.kind == ":" and not any("@" in one.text for one in piece if one.kind != "quoted"):
            piece = []  # the name of a group: its members follow
        else:
            piece.append(token)
    yield piece


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        one = text[place]
        if one in _SEPARATORS:
            yield _Token("separator", one)
            place += 1
        elif one == '"':
            content, place = _quoted(text, place)
            yield _Token("quoted", content)
        elif one == "(":
            content, place = _comment(text, place)
            yield _Token("comment", content)
        elif one == "<":
            content, place = _angle(text, place)
            yield _Token("angle", content)
        elif one == ":":
            yield _Token(":", one)
            place += 1
        else:
            plain = _PLAIN.match(text, place)
            assert plain is not None  # noqa: S101 -- every other first character has its branch above
            if not plain[0].isspace():
                yield _Token("text", plain[0])
            else:
                yield _Token("space", " ")
            place = plain.end()


def _quoted(text: str, place: int) -> tuple[str, int]:
    """Return the content of a quoted string with its backslashes undone, and where it ends."""
    content = _QUOTED.match(text, place)
    if content is None:
        raise InputInvalid(f"a quote is not closed: {_shown(text[place:])}")
    return re.sub(r"\\(.)", r"\1", content[1], flags=re.DOTALL), content.end()


def _comment(text: str, place: int) -> tuple[str, int]:
    start, depth = place, 0
    while place < len(text):
        one = text[place]
        if one == "\\":
            place += 1
        elif one == "(":
            depth += 1
            if depth > MAX_COMMENT_DEPTH:
                break
        elif one == ")":
            depth -= 1
            if not depth:
                content = re.sub(r"\\(.)", r"\1", text[start + 1 : place], flags=re.DOTALL)
                return content, place + 1
        place += 1
    raise InputInvalid(f"a parenthesis is not closed: {_shown(text[start:])}")


def _angle(text: str, place: int) -> tuple[str, int]:
    content = _ANGLE.match(text, place)
    if content is None:
        raise InputInvalid(f"an angle bracket is not closed: {_shown(text[place:])}")
    return content[1], content.end()


def _mailbox(piece: list[_Token]) -> Mailbox:
    angles = [number for number, token in enumerate(piece) if token.kind == "angle"]
    if not angles:
        return _bare(piece)
    where = angles[0]
    rest = [token for token in piece[where + 1 :] if token.kind not in ("comment", "space")]
    if rest:
        raise InputInvalid(f"{_shown(_source(piece))}: a comma is missing behind {_shown(piece[where].text)}")
    return Mailbox(name=_name(piece[:where]) or _comments(piece), address=check(_unroute(piece[where].text.strip())))


def _bare(piece: list[_Token]) -> Mailbox:
    """Read an address without angle brackets: `anna@example.org (Anna)`."""
    spec = "".join(
        _requote(token.text) if token.kind == "quoted" else token.text for token in piece if token.kind != "comment"
    )
    spec = spec.strip()
    if "@" not in spec:
        shown = _shown(_source(piece).strip())
        raise InputInvalid(f'{shown} is no address: name@domain is needed (a name with a comma in it goes in "quotes")')
    if re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", spec)):
        raise InputInvalid(f"{_shown(spec)}: addresses are separated by commas, and a name needs <> around its address")
    return Mailbox(name=_comments(piece), address=check(spec))


def _unroute(spec: str) -> str:
    """Drop a source route, `@a,@b:anna@example.org`: to be accepted and ignored (RFC 5321 appendix C)."""
    return spec.partition(":")[2] if spec.startswith("@") and ":" in spec else spec


def _name(tokens: list[_Token]) -> str:
    words: list[str] = []
    for token in tokens:
        if token.kind == "quoted":
            words.append(token.text)
        elif token.kind in ("text", ":"):
            words.append(_decoded(token.text))
    return _clean_name(" ".join(" ".join(words).split()))


def _comments(piece: list[_Token]) -> str:
    return _clean_name(" ".join(_decoded(token.text.strip()) for token in piece if token.kind == "comment"))


def _decoded(text: str) -> str:
    """Undo encoded-words (RFC 2047); one that can't be read stays as it is."""
    if _ENCODED_WORD.search(text) is None:
        return text
    try:
        return str(header.make_header(header.decode_header(text)))
    except (ValueError, LookupError, HeaderParseError):
        return text


def _clean_name(name: str) -> str:
    if _HEADER_CONTROL.search(name):
        raise InputInvalid(f"the name {_shown(name)} has a control character or half a character in it")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InputInvalid(f"the name {_shown(name)} is longer than {MAX_NAME_CHARACTERS} characters")
    return name


def _source(piece: list[_Token]) -> str:
    around = {"quoted": '"{}"', "comment": "({})", "angle": "<{}>"}
    return "".join(around.get(token.kind, "{}").format(token.text) for token in piece)


def _shown(text: str) -> str:
    """Return a piece of the input, fit for one line of a message."""
    short = text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
    return f"“{''.join(one if one.isprintable() else ascii(one)[1:-1] for one in short)}”"


# --- one address ----------------------------------------------------------------------------------------------------------


def _local(local: str) -> str:
    if local.startswith('"'):
        content = _QUOTED.fullmatch(local)
        if content is None:
            raise InputInvalid("the quotes before the @ do not match")
        local = _requote(re.sub(r"\\(.)", r"\1", content[1], flags=re.DOTALL))
    elif _DOT_ATOM.fullmatch(local) is None:
        raise InputInvalid(f"{_shown(local)} before the @ has a dot or a sign in a place where it needs quotes")
    if not all(one.isprintable() for one in local):
        raise InputInvalid("an invisible or unknown character before the @")
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise InputInvalid(f"more than {MAX_LOCAL_OCTETS} octets before the @")
    return local


def _requote(content: str) -> str:
    """Quote only what needs it, in one way: two spellings of one address become equal."""
    if _DOT_ATOM.fullmatch(content):
        return content
    return '"' + re.sub(r'([\\"])', r"\\\1", content) + '"'


def _literal(domain: str) -> str:
    """Check an address literal (RFC 5321 section 4.1.3)."""
    content = domain[1:-1] if domain.endswith("]") else ""
    try:
        if content.lower().startswith("ipv6:"):
            return f"[IPv6:{ipaddress.IPv6Address(content[5:])}]"
        return f"[{ipaddress.IPv4Address(content)}]"
    except ValueError:
        raise InputInvalid(f"{_shown(domain)} is no address literal, like [192.0.2.1] or [IPv6:2001:db8::1]") from None


def _label(label: str) -> str:
    if label.isascii():
        encoded = label
    elif _JOINERS.search(label):
        raise InputInvalid(f"the domain part {_shown(label)} has an invisible character; write it as xn--…")
    else:
        encoded = _a_label(label)
    if len(encoded) > MAX_LABEL_OCTETS or _LDH.fullmatch(encoded) is None:
        raise InputInvalid(f"the domain part {_shown(label)} is too long or has a character that is not for domains")
    return encoded


def _a_label(label: str) -> str:
    """Return the A-label as IDNA 2008 has it; the stdlib's IDNA 2003 alone would send mail for straße.de to strasse.de."""
    try:
        if _DEVIATIONS.search(label) is None:
            return idna.ToASCII(label).decode("ascii")
        lowered = unicodedata.normalize("NFC", label.lower())
        kept = [part if _DEVIATIONS.fullmatch(part) else idna.nameprep(part) for part in _DEVIATIONS.split(lowered)]
        return "xn--" + "".join(kept).encode("punycode").decode("ascii")
    except UnicodeError:
        raise InputInvalid(f"the domain part {_shown(label)} can't be an international domain") from None
