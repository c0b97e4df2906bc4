"""Letters made of pieces, read by us and by fast-mail-parser: where the two differ, a rule with a name says why.

The rules say what the other one does. A difference that no rule explains fails, and so does a rule that explains none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import fast_mail_parser
import pytest

from daemon.mail import mime, parse
from daemon.mail.defects import Notes
from tests import corpus
from tests.mail import composed
from tests.mail.composed import Letter
from tests.mail.test_parse_traps import ensure_storable

COUNT: Final = 1500
UNREADABLE: Final = "it raises"


@dataclass(frozen=True, slots=True)
class Difference:
    """What both make of one facet. piece: the name of what it was made of, "" where that is not one piece."""

    facet: str
    piece: str
    ours: Any
    theirs: Any


Explains = Callable[[Letter, Difference], bool]


def of(facet: str, *pieces: str) -> Explains:
    """Explain by the piece alone."""
    return lambda _letter, one: one.facet == facet and one.piece in pieces


def _recipients(letter: Letter) -> list[str]:
    return [piece for place, piece in letter.pieces.items() if place.startswith("to ")]


RULES: Final[dict[str, Explains]] = {
    # Header fields.
    "decodes each encoded-word alone": of("subject", "split character"),
    "leaves encoded-words of unknown charsets": of("subject", "unknown charset"),
    "leaves encoded-words that lack their padding": of("subject", "no padding"),
    "leaves encoded-words within words": of("subject", "word in a word"),
    "believes a charset that is wrong": of("subject", "wrong charset"),
    "reads a quoted local part as none": of("address", "quoted local part"),
    "reads no address without its closing bracket": of("address", "open"),
    "takes a route for a part of the address": of("address", "route"),
    "takes a name without brackets for a part of the address": of("address", "no brackets"),
    "gives up a whole field for one of these": lambda letter, one: (
        one.facet == "to"
        and bool({"quoted local part", "open", "route", "no brackets", "no domain"} & set(_recipients(letter)))
    ),
    "stumbles over the comma behind a group": lambda letter, one: (
        one.facet == "to" and bool({"group", "empty group"} & set(_recipients(letter)[:-1]))
    ),
    "reads no other forms of dates": of("date", "asctime", "ISO", "numbers"),
    "raises on years of five digits": lambda _letter, one: one.facet == "date" and one.theirs == UNREADABLE,
    "counts on from the last day of a month": lambda _letter, one: (
        one.piece == "no such day" and one.ours is None and one.theirs == datetime(2026, 3, 3, 12, tzinfo=UTC)
    ),
    # Parts.
    "looks for no other boundary than the one that is said": lambda letter, one: (
        one.facet == "parts" and letter.pieces.get("boundary") == "wrong"
    ),
    "takes a header that was cut off for the whole": lambda letter, one: (
        one.facet in {"parts", "content"} and letter.pieces["damage"] == "cut"
    ),
    "raises on a header that ends within a line end": lambda letter, one: (
        one.facet == "message" and letter.pieces["damage"] == "cut"
    ),
    "keeps paths in file names": lambda _letter, one: (
        one.facet == "name" and (one.ours, one.theirs) == ("minutes.pdf", "C:\\dir\\minutes.pdf")
    ),
    "decodes each piece of a file name alone": lambda _letter, one: (
        one.facet == "name" and one.ours.startswith("Grüße") and "\ufffd" in one.theirs
    ),
    "raises on base64 with anything wrong in it": lambda _letter, one: (
        one.facet == "content" and one.theirs == UNREADABLE
    ),
    "makes line ends CRLF in quoted-printable": lambda _letter, one: (
        one.facet == "content"
        and one.theirs != UNREADABLE
        and one.theirs.replace(b"\r\n", b"\n") == one.ours.replace(b"\r\n", b"\n")
    ),
}


def differences(letter: Letter) -> Iterator[Difference]:
    """Yield what the two read differently."""
    octets, pieces = letter.octets, letter.pieces
    ours = parse.parse(octets)
    try:
        theirs = fast_mail_parser.parse_email(octets, mode="metadata")
        their_parts = list(_their_leaves(fast_mail_parser.parse_email_tree(octets, mode="lazy")))
    except fast_mail_parser.ParseError:
        yield Difference("message", "", "", UNREADABLE)
        return
    yield Difference("subject", pieces["subject"], ours.subject, theirs.subject)
    yield Difference("date", pieces["date"], ours.sent_at, _date(theirs))
    yield Difference("address", pieces["from"], ours.from_address, theirs.from_ and theirs.from_.address)
    to = [row.address for row in ours.addresses if row.role == "to"]
    yield Difference("to", "", to, [one.address for one in theirs.to])
    our_parts = _leaves(octets)
    yield Difference("parts", "", [one[0] for one in our_parts], [one[0] for one in their_parts])
    if len(our_parts) == len(their_parts):
        for (_, name, content), (_, their_name, their_content) in zip(our_parts, their_parts, strict=True):
            yield Difference("name", "", name, their_name)
            yield Difference("content", "", content, their_content)


def _date(mail: fast_mail_parser.PyMailMetadata) -> datetime | str | None:
    try:
        return mail.date_parsed
    except ValueError:
        return UNREADABLE


def _leaves(octets: bytes) -> list[tuple[str, str, bytes]]:
    """Give (type, file name, content) of what has no parts."""
    notes = Notes()
    return [
        (part.content_type, part.filename, b"".join(mime.content(part, notes)))
        for part in mime.tree(octets, notes).walk()
        if not part.children and not part.content_type.startswith("multipart/")
    ]


def _their_leaves(part: fast_mail_parser.PyLazyMimePart) -> Iterator[tuple[str, str, bytes | str]]:
    for child in part.children:
        yield from _their_leaves(child)
    if not part.children and not part.content_type.startswith("multipart/"):
        try:
            yield part.content_type, part.filename, part.content or b""
        except fast_mail_parser.DecodeError:
            yield part.content_type, part.filename, UNREADABLE


def test_every_difference_has_a_rule_and_every_rule_a_difference() -> None:
    used: set[str] = set()
    for letter in composed.letters(COUNT):
        for one in differences(letter):
            if one.ours != one.theirs:
                rules = [name for name, explains in RULES.items() if explains(letter, one)]
                assert rules, (one, letter.pieces)
                used.update(rules)
    assert set(RULES) == used


def test_letters_of_pieces_are_storable() -> None:
    for letter in composed.letters(COUNT, seed=2):
        ensure_storable(parse.parse(letter.octets))


@pytest.mark.parametrize(
    ("place", "piece", "read"),
    [
        ("date", "no such day", None),
        ("date", "nonsense", None),
        ("from", "empty group", None),
        ("from", "no domain", None),
    ],
)
def test_what_both_can_not_read_is_nothing(place: str, piece: str, read: None) -> None:
    found = [parse.parse(letter.octets) for letter in composed.letters(300) if letter.pieces[place] == piece]
    assert {read} == {one.sent_at if place == "date" else one.from_address for one in found}


def test_everyday_letters_are_read_equally() -> None:
    for octets in corpus.small(200, seed=5):
        ours, theirs = parse.parse(octets), fast_mail_parser.parse_email(octets)
        assert (theirs.subject, theirs.date_parsed) == (ours.subject, ours.sent_at)
        assert [theirs.text_plain[0].replace("\r\n", "\n").strip()] == [ours.body_text]
        assert theirs.from_ is not None
        assert (theirs.from_.display_name, theirs.from_.address) == (ours.from_name, ours.from_address)
