"""What the fuzzers begin with: what the servers of all POP3 dialogues say, and the letters of tests/corpus.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests import corpus
from tests.doubles.dialogue import DIALOGUES, Dialogue, escaped
from tests.mail import composed

REPORTS: Final = Path(__file__).parents[1] / "mail" / "reports"
MOST_OCTETS: Final = 4000  # of one seed; long ones make a fuzzer slow, and teach it nothing
HEAD: Final = b"From: a@b.example\r\nDate: 23.11.2026 12.00\r\nContent-Type: text/plain; format=flowed; delsp=yes\r\n"
POSTED: Final = (
    b"\r\nx\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n-- \r\nme\r\n",
    b"\r\n=ybegin line=128 size=3 name=a.txt\r\n\x8b\x8c\x8d\r\n=yend size=3 crc32=352441c2\r\n",
    b"\r\nOn 1.1.2026 Bob wrote:\r\n> one \r\n> two\r\n-----Original Message-----\r\nFrom: a\r\nSent: b\r\nTo: c\r\n",
    b'Content-Type: application/ms-tnef\r\n\r\nx\x9f>"\1\0\2\2\x90\6\0\1\0\0\0\0\0\0\2\x0f\x80\6\0\1\0\0\0x\0\0',
    b'Content-Type: text/calendar\r\n\r\nBEGIN:VEVENT\r\nDTSTART;TZID="a":20261123T120000Z\r\nATTENDEE;CN=A:mailto:a@b\r\nEND:VEVENT\r\n',
    b'Content-Type: text/html\r\n\r\n<div class="gmail_quote" style="font-size:0"><a href="http://a.example/">b</a>&#1;</div>',
)
CHOICES: Final = (
    b"\0\1\2\3",
    b"\1\x07\x30\x02",
    b"\2\x42\x00\x05",
    b"\3\1\1\1",
    b"\4\2\3\4",
    b"\x08\5\1\2",
)  # what `targets` takes off in front


def said(dialogue: Dialogue) -> bytes:
    """Return all that the server of a dialogue says."""
    octets = b""
    for step in dialogue.steps:
        verb, _, rest = step.partition(" ")
        if verb == "S:":
            octets += rest.encode() + b"\r\n"
        elif verb == "S-raw:":
            octets += escaped(rest)
        elif verb in {"S-dribble:", "S-times:"}:
            octets += escaped(rest.partition(" ")[2]) * 3
        elif verb == "S-mail:":
            octets += dialogue.mail[rest][:MOST_OCTETS].replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"
    return octets[:MOST_OCTETS]


def seeds(target: str) -> Iterator[bytes]:
    """Give the seeds of a target."""
    if target == "parse":
        yield from (
            letter.octets for letter in corpus.letters(2 * len(corpus.SHAPES)) if len(letter.octets) < MOST_OCTETS
        )
        yield from (letter.octets for letter in composed.letters(100))
        yield from (HEAD + encoded for encoded in POSTED)
        return
    if target == "report":
        yield from (path.read_bytes()[:MOST_OCTETS] for path in sorted(REPORTS.glob("*.eml")))
        return
    for number, path in enumerate(sorted(DIALOGUES.glob("pop3_*.txt"))):
        octets = said(Dialogue.read(path.name))
        yield octets.replace(b"\r", b"") if target == "replies" else CHOICES[number % len(CHOICES)] + octets
    if target == "body":
        yield from (
            CHOICES[0] + letter.octets
            for letter in corpus.letters(len(corpus.SHAPES))
            if len(letter.octets) < MOST_OCTETS // 4
        )
