"""What must hold whatever octets a server, or a sender, gives: functions of one bytes object, for atheris and for hypothesis.

A target returns nothing and raises AssertionError, or whatever a bug raises. Only the kinds of daemon.errors that a module's
docstring names may come out of it, and those are caught here. The first octets of the input choose the cuts; the rest is what
is fed.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from daemon import errors
from daemon.mail import delivery_status, parse, report
from daemon.mail.defects import Defect
from daemon.mail.maildrop import Entry
from daemon.mail.protection import Protection
from daemon.mail.source import Source
from daemon.pop3 import replies
from daemon.pop3.commands import (
    Auth,
    AuthLine,
    Capa,
    Command,
    Dele,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)
from daemon.pop3.session import Body, Event, Session
from daemon.wire.lines import BodyReader
from daemon.wire.secret import Secret

CHOICES: Final = 4  # octets in front that choose; the rest is input
CONTROLS: Final = frozenset(map(chr, (*range(9), *range(11, 32), *range(127, 160))))  # but tab and line feed
PART_OCTETS: Final = 50  # of a message that is read in parts
CAP_OCTETS: Final = 3000  # of a reply, so that a short input can outgrow it

LOGIN: Final[tuple[Command, ...]] = (User("anna"), Pass(Secret("x")))
# What was said and accepted before, and what is said at once then: its replies are the input.
TALKS: Final[tuple[tuple[tuple[Command, ...], tuple[Command, ...]], ...]] = (
    (LOGIN, (Capa(), Stat(), Uidl(), List())),
    (LOGIN, (Retr(1), Retr(2), Top(3, 0))),
    (LOGIN, (Dele(1), Noop(), Dele(2), Rset(), Quit())),
    ((), (Capa(),)),
    ((), LOGIN),
    ((), (Stls(),)),
    ((), (Auth("LOGIN", None),)),
    ((Auth("LOGIN", None),), (AuthLine(b"x"),)),
)


def pop3_session(data: bytes) -> None:
    """The same octets give the same events however they are cut, and ProtocolViolation is all that is raised."""
    talk = data[0] % (len(TALKS) + 1) if data else 0
    octets = data[CHOICES:]
    whole = _told(talk, [octets])
    assert whole == _told(talk, list(_cut(octets, data[1:CHOICES])))
    assert whole == _told(talk, [octets[n : n + 1] for n in range(len(octets))])


def _told(talk: int, pieces: list[bytes]) -> tuple[list[object], str | None]:
    """Hold a conversation; return events, pieces of one body joined, and what ended it. The last talk is the greeting alone."""
    session = Session(max_message_octets=CAP_OCTETS, max_listing_octets=CAP_OCTETS)
    if talk < len(TALKS):
        before, now = TALKS[talk]
        session.receive(b"+OK ready\r\n")
        for command in before:
            session.send(command)
            session.receive(b"+ eA==\r\n" if type(command) is Auth else b"+OK\r\n")
        for command in now:
            session.send(command)
    heard: list[object] = []
    body = b""
    try:
        for piece in pieces:
            for event in session.receive(piece):
                body = _keep(event, heard, body)
        session.ensure_sound()
    except errors.ProtocolViolation as error:
        return heard, type(error).__name__
    return heard, None


def _cut(octets: bytes, choices: bytes) -> Iterator[bytes]:
    sizes = [choice % 67 + 1 for choice in choices] or [1]
    start = turn = 0
    while start < len(octets):
        size = sizes[turn % len(sizes)]
        yield octets[start : start + size]
        start, turn = start + size, turn + 1


def _keep(event: Event, heard: list[object], body: bytes) -> bytes:
    if not isinstance(event, Body):
        heard.append(event)
        return b""
    body += event.octets
    if not event.last:
        return body
    heard.append((event.command, body))
    return b""


def pop3_replies(data: bytes) -> None:
    """What replies mean is read without a fault, and the fast way of reading a listing gives what the careful one gives."""
    text = data.decode("utf-8", "backslashreplace")
    replies.code(text)
    error = replies.refusal("host:110", "to RETR 1", text, login=bool(data) and data[0] % 2 == 1)
    assert "\n" not in str(error)
    try:
        found = replies.stat(text)
    except errors.ProtocolViolation:
        pass
    else:
        assert 0 <= found.count < 10**replies.NUMBER_DIGITS > found.octets >= 0
    front, _, back = data.partition(b"\n\n")
    lines, more = front.split(b"\n"), back.split(b"\n")
    said = replies.capabilities(lines)
    assert said.login_delay is None or said.login_delay >= 0
    assert None not in (
        said.answered,
        said.names,
        said.pipelining,
        said.stls,
        said.user,
        said.uidl,
        said.top,
        said.sasl,
    )
    assert (said.expire is None) == ("EXPIRE" not in said.names)
    assert (said.implementation is None) == ("IMPLEMENTATION" not in said.names)
    listed, named = replies.sizes(lines), replies.uidls(more)
    careful = [
        Entry(number=number, uidl=named.get(number), octets=listed.get(number))
        for number in sorted({**listed, **named})
    ]
    assert careful == list(replies.entries(lines, more))
    for entry in careful:
        assert 0 < entry.number < 10**replies.NUMBER_DIGITS
        assert entry.uidl is None or entry.uidl.isascii()


def wire_body(data: bytes) -> None:
    """A body is the same, and ends at the same octet, whether it comes whole or cut, behind a status line or without one."""
    octets = data[CHOICES:]
    for lenient in (False, True):
        whole = _body(BodyReader(lenient=lenient), [octets])
        assert whole == _body(BodyReader(lenient=lenient), list(_cut(octets, data[:CHOICES])))
        assert whole == _body(BodyReader(lenient=lenient), [octets[n : n + 1] for n in range(len(octets))])
        status = b"+OK\n" if lenient else b"+OK\r\n"
        reader = BodyReader(lenient=lenient)
        piece, used = reader.feed(status + octets, len(status))
        assert whole == (piece, used - len(status), reader.done)


def _body(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, int, bool]:
    """Return the un-stuffed octets, how many were used, and whether that was all."""
    given, used = bytearray(), 0
    for piece in pieces:
        octets, end = reader.feed(piece)
        given += octets
        used += end
        if reader.done:
            break
    return bytes(given), used, reader.done


def mail_parse(data: bytes) -> None:
    """Every message has columns, its attachments can be had, and it is the same in parts; the parser's own fault is a bug."""
    parsed = parse.parse(data)
    assert str(Defect.PARSER_FAULT) not in parsed.defects
    parse.html(data)
    for row in parsed.attachments:
        content = parse.attachment(data, row.part)
        assert content is not None
        assert row.octets == len(content)
    for text in (parsed.body_text, parsed.subject, parsed.attachment_names, parsed.to_addresses):
        assert CONTROLS.isdisjoint(text)
        text.encode()
    for ranges in (parsed.quoted_ranges, parsed.signature_ranges):
        places = [place for one in ranges for place in one]
        assert sorted(places) == places
        assert not places or places[-1] <= len(parsed.body_text)
    assert set(parsed.protection) <= set(Protection)
    parts = [data[at : at + PART_OCTETS] for at in range(0, len(data), PART_OCTETS)]
    assert parsed == parse.parse(Source([len(part) for part in parts], parts.__getitem__))


def mail_report(data: bytes) -> None:
    """Whatever comes back is read, and what it says can be written down; the indexer queues by its shape what is read as a report."""
    found = report.read(data)
    assert len(found.fates) <= delivery_status.MAX_RECIPIENTS
    assert not found.fates or parse.parse(data).may_report
    for fate in found.fates:
        assert fate.action in delivery_status.ACTIONS
        assert len(fate.diagnostic) <= delivery_status.MAX_DIAGNOSTIC_CHARACTERS
        assert fate.diagnostic.isprintable() or "\n" not in fate.diagnostic
        assert fate.code is None or 200 <= fate.code < 600


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "session": pop3_session,
    "replies": pop3_replies,
    "body": wire_body,
    "parse": mail_parse,
    "report": mail_report,
}
