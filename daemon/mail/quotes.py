"""What in a text is no news: earlier letters that it quotes, and signatures.

Found are lines that begin with `>`, with the "On … wrote:" before them, what follows such a line or Outlook's "-----Original
Message-----" or From/Sent/To block, `-- ` and what stands below it, list footers, "Sent from my …". What HTML says of it is marked by
text.py. While a text is put together the places are marks in it, controls that no text holds (charset.py); they are taken out last.
A letter that is forwarded is news: it is not counted as quoted. Linear: each line is looked at a bounded number of times. Pure.

The ranges stand in messages.quoted_ranges and signature_ranges, NULL for none. A search that is to leave them out indexes body_text
without them, or drops hits that lie within: they are in order and apart from others of their kind, in characters as SQL's substr counts
them (from 1 there, from 0 here); a quote may lie within what was a signature in HTML.
"""

# ruff: noqa: RUF001 -- words and colons of other scripts
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from daemon.mail.defects import Defect, Notes

QUOTE_BEGIN, QUOTE_END, SIGNATURE_BEGIN, SIGNATURE_END = "\x01", "\x02", "\x03", "\x04"
MAX_RANGES: Final = 500  # of one kind in one text: more is a log, or was made to fill the column
MAX_LINE_CHARACTERS: Final = 400  # of an attribution, its folds joined
MAX_SIGNATURE_LINES: Final = 30  # below `--` without its blank, which may be a rule: longer ones are text

Range = tuple[int, int]

_MARK: Final = re.compile(f"[{QUOTE_BEGIN}-{SIGNATURE_END}]")
_FROM: Final = "From|Von|De|Da|Van|Från|Fra|Frá|Lähettäjä|Od|Feladó|Kimden|От|Від|Από|发件人|寄件者|差出人|보낸 사람|Expéditeur|Remitente"
_COLONS: Final = (":", "：")
_WROTE: Final = re.compile(
    r"\b(?:wrote|writes|said|schrieb\b.*|schreibt|a écrit|écrivait|escribió|ha escrit|escreveu|ha scritto|scrive|schreef\b.*"
    r"|pisze|napisał\w?(?:\(a\))?|skrev\b.*|kirjoitti\b.*|napsala?(?:\(a\))?|пишет|пише|писала?|написала?(?:\(а\))?|yazdı"
    r"|ezt írta\b.*|a scris|έγραψε)[ \xa0]{0,3}[:：]$|(?:写道|寫道|のメール|のメッセージ|작성)[ \xa0]?[:：]$",
    re.IGNORECASE,
)
_OPENER: Final = re.compile(r"(?:On|Am|Le|El|Em|Il|Op|W dniu|Den|På|Dne|Στις)\b|\d")
_MOMENT: Final = re.compile(r"\d:\d\d|\d{4}|\d[./-]\d")
_RULE: Final = re.compile(r"-{3,} ?[^-\s][^-]{1,60}-{3,}$|_{20,}$")
_FORWARDED: Final = re.compile(
    r"[- ]{0,20}(?:begin )?(?:forwarded|weitergeleitete|message (?:transféré|réexpédié)|messaggio inoltrato|inizio messaggio inoltrato"
    r"|mensaje reenviado|mensagem encaminhada|doorgestuurd|vidarebefordrat|videresendt|wiadomość przekazana|пересылаемое|пересланное)",
    re.IGNORECASE,
)
_BLOCK_BEGIN: Final = re.compile(rf"[*_]?(?:{_FROM})[*_]?[ \xa0]?[:：]")
_BLOCK_LINE: Final = re.compile(r"[*_]?[^\W\d_][\w -]{0,30}[*_]?(?:：|[ \xa0]?:[*_]?(?:[ \xa0]|$))")
_DEVICE: Final = re.compile(
    r"(?:Sent from (?:my|Mail for|Yahoo|Outlook)|Get Outlook for|Von meinem .{1,40} gesendet|Gesendet (?:mit|von) |Envoyé (?:de|depuis) mon"
    r"|Enviado (?:desde mi|do meu)|Inviato da |Verzonden vanaf|Skickat från|Отправлено (?:с|из) ).{0,80}"
)
_FOOTER: Final = re.compile(r"mailing list|unsubscribe|listinfo|abmelden|désabonner|darse de baja", re.IGNORECASE)
_FORWARDING: Final = re.compile(r"\s*(?:fwd?|wg|tr|rv|enc|vs|vb|pd|转发|轉寄|転送)\s?[:：]", re.IGNORECASE)
# How the lines begin that are worth a look, beside those that end with a colon. A line feed in front is found ten times as fast
# as a line's beginning, and most lines are done with at their first letter.
_BEGIN: Final = (
    rf"(?:___|[\x01-\x04 *_]*+(?=[->{''.join(sorted({one[0] for one in _FROM.split('|')} | set('SGVEIО')))}])"
    rf"(?:>|--|(?:{_FROM})[*_]?[ \xa0]?[:：]|{_DEVICE.pattern}))"
)
_WORTH_FIRST: Final = re.compile(_BEGIN)
_WORTH: Final = re.compile(rf"\n{_BEGIN}")


def is_forwarding(subject: str) -> bool:
    """Tell whether a subject says that the letter is sent on: what it holds is news then, however it looks."""
    return _FORWARDING.match(subject) is not None


def is_forwarded(text: str) -> bool:
    """Tell whether the first line of what looks like a quote says that it is a letter sent on."""
    return _FORWARDED.match(text) is not None


def marked(text: str, *, forwards: bool) -> str:
    """Return the text with marks about what is quoted and about signatures. forwards: whole letters in it are news."""
    places = [found.start() + 1 for found in _WORTH.finditer(text)]
    if _WORTH_FIRST.match(text) is not None:
        places.append(0)
    for colon in _COLONS[:1] if text.isascii() else _COLONS:
        end = text.find(colon + "\n")
        while end >= 0:
            places.append(text.rfind("\n", 0, end) + 1)
            end = text.find(colon + "\n", end + 1)
    if not places:
        return text
    pieces: list[str] = []
    at = 0
    for begin, end, opening, closing in _Scan(text, places, forwards=forwards).found():
        pieces += (text[at:begin], opening, text[begin:end], closing)
        at = end
    return "".join((*pieces, text[at:])) if pieces else text


def taken_out(text: str, notes: Notes) -> tuple[str, list[Range], list[Range]]:
    """Return the text without marks, and the ranges (first character, the one behind the last) of quotes and of signatures."""
    if QUOTE_END not in text and SIGNATURE_END not in text and QUOTE_BEGIN not in text and SIGNATURE_BEGIN not in text:
        return text, [], []
    pieces: list[str] = []
    length = at = 0
    found: tuple[list[Range], list[Range]] = ([], [])
    depth, began = [0, 0], [0, 0]
    for mark in _MARK.finditer(text):
        pieces.append(text[at : mark.start()])
        length += mark.start() - at
        at = mark.end()
        kind, is_end = divmod(ord(mark[0]) - 1, 2)
        if not is_end:
            began[kind] = began[kind] if depth[kind] else length
            depth[kind] += 1
        elif depth[kind]:
            depth[kind] -= 1
            if not depth[kind]:
                found[kind].append((began[kind], length))
    clean = "".join((*pieces, text[at:]))
    for kind in (0, 1):
        if depth[kind]:  # its end was cut off
            found[kind].append((began[kind], len(clean)))
    quotes, signatures = (_trimmed(clean, ranges, notes) for ranges in found)
    return clean, quotes, signatures


def _trimmed(text: str, ranges: list[Range], notes: Notes) -> list[Range]:
    """Leave out the blanks at the ends, and what is nothing else."""
    trimmed = []
    for begin, end in ranges:
        inside = text[begin:end]
        stripped = inside.strip()
        if stripped:
            start = begin + len(inside) - len(inside.lstrip())
            trimmed.append((start, start + len(stripped)))
    if len(trimmed) > MAX_RANGES:
        notes.add(Defect.RANGES_TRUNCATED)
    return trimmed[:MAX_RANGES]


class _Scan:
    """Looks at the lines of a text that begin at `places`."""

    def __init__(self, text: str, places: list[int], *, forwards: bool) -> None:
        raw = text.split("\n")
        self._begins = [0, *accumulate(len(line) + 1 for line in raw)]
        self._worth = sorted({bisect_right(self._begins, place) - 1 for place in places})
        self._has_marks = QUOTE_BEGIN in text
        self._lines = [_MARK.sub("", line) for line in raw] if _MARK.search(text) else raw
        self._raw = raw
        self._forwards = forwards

    def found(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield (begin, end, mark before, mark behind) in order."""
        following = depth = counted = 0
        for number in self._worth:
            if number < following:
                continue
            if self._has_marks:
                before = "".join(self._raw[counted:number])
                depth += before.count(QUOTE_BEGIN) - before.count(QUOTE_END)
                counted = number
            line = self._lines[number]
            if _is_quoted(line):
                begin = max(self._attribution(number), following)
                following = self._quote_end(number)
                yield self._place(begin, following, QUOTE_BEGIN, QUOTE_END)
            elif depth == 0 and (earlier := self._letter(number)) is not None:
                yield self._place(max(earlier, following), len(self._lines), QUOTE_BEGIN, QUOTE_END)
                return
            elif self._begins_signature(number):
                following = self._signature_end(number)
                yield self._place(number, following, SIGNATURE_BEGIN, SIGNATURE_END)
            elif _DEVICE.match(line) and (number + 1 == len(self._lines) or not self._lines[number + 1].strip()):
                following = number + 1
                yield self._place(number, following, SIGNATURE_BEGIN, SIGNATURE_END)

    def _place(self, first: int, behind: int, opening: str, closing: str) -> tuple[int, int, str, str]:
        return self._begins[first], self._begins[behind] - 1, opening, closing

    def _quote_end(self, number: int) -> int:
        """Give the line behind a quote; blank lines between quoted ones belong to it."""
        last = number
        while number < len(self._lines) and (_is_quoted(self._lines[number]) or not self._lines[number].strip()):
            last = number if self._lines[number].strip() else last
            number += 1
        return last + 1

    def _attribution(self, quoted: int) -> int:
        """Give the line where the "On … wrote:" begins that stands before a quote; the quote's own if there is none."""
        last = quoted - 1
        if last > 0 and not self._lines[last].strip():
            last -= 1
        if last < 0 or not self._lines[last].rstrip().endswith(_COLONS):
            return quoted
        begin = self._sentence(last)
        sentence = " ".join(self._lines[begin : last + 1]).rstrip()
        if len(sentence) > MAX_LINE_CHARACTERS:
            return quoted
        return begin if "@" in sentence or _MOMENT.search(sentence) or _WROTE.search(sentence) else quoted

    def _sentence(self, last: int) -> int:
        """Give the line where an attribution begins that ends with `last`; they are folded once or twice."""
        for begin in range(last, max(last - 3, -1), -1):
            if not self._lines[begin].strip() or _is_quoted(self._lines[begin]):
                return last
            if _OPENER.match(self._lines[begin]):
                return begin
        return last

    def _letter(self, number: int) -> int | None:
        """Give the line where a whole earlier letter begins, not indented by `>`, that goes on to the end; None if here is none."""
        line = self._lines[number]
        if _FORWARDED.match(line):
            self._forwards = True
        if self._forwards:
            return None
        if _BLOCK_BEGIN.match(line):
            return number if self._is_block(number) else None
        if line[:3] in {"---", "___"} and len(line) < MAX_LINE_CHARACTERS and _RULE.match(line.rstrip()):
            return number if any(self._is_block(below) for below in (number + 1, number + 2)) else None
        if self._has_marks or not line.endswith(_COLONS):
            return None
        begin = self._sentence(number)
        sentence = " ".join(self._lines[begin : number + 1])
        is_attribution = (
            len(sentence) < MAX_LINE_CHARACTERS
            and _OPENER.match(sentence) is not None
            and _WROTE.search(sentence) is not None
            and _MOMENT.search(sentence) is not None
        )
        # What follows is quoted by `>`, or, with answers between, by nothing that could be told.
        return begin if is_attribution and not any(map(_is_quoted, self._lines[number + 1 : number + 4])) else None

    def _is_block(self, number: int) -> bool:
        """Tell whether a From line stands here, and below it two others such as Sent, To, Subject."""
        lines = self._lines[number : number + 7]
        return (
            bool(lines)
            and _BLOCK_BEGIN.match(lines[0]) is not None
            and sum(_BLOCK_LINE.match(line) is not None for line in lines) >= 3
        )

    def _begins_signature(self, number: int) -> bool:
        line = self._lines[number]
        if line == "-- ":
            return True
        left = len(self._lines) - number
        if line.rstrip() == "--":
            return left <= MAX_SIGNATURE_LINES
        if line.startswith("_" * 20) and not line.strip("_ "):  # the footer of a list
            return any(map(_FOOTER.search, self._lines[number + 1 : number + 5]))
        return False

    def _signature_end(self, number: int) -> int:
        """Give the line behind a signature: a quote, or the end."""
        for position in range(bisect_right(self._worth, number), len(self._worth)):
            below = self._worth[position]
            if _is_quoted(self._lines[below]):
                return max(self._attribution(below), number + 1)
            if (begin := self._letter(below)) is not None:
                return max(begin, number + 1)
        return len(self._lines)


def _is_quoted(line: str) -> bool:
    return line.lstrip(" ").startswith(">") and not line.startswith(">From ")  # so mbox writes a line of the text
