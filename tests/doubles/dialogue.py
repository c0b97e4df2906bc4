r"""A dialogue as data: the steps that a scripted server plays, the mail it is about, and what must come of it.

What `scripted` plays is in its own docstring. A POP3 dialogue that whole visits are tried on has these too; a message is known
by a word, and its unique-id is `u` and that word:

    INCLUDE login                    the steps of parts/login.txt
    MAIL a Subject: a\r\n\r\nText    a message, octet for octet, with Python's escapes
    MAIL-times a 5000000 x           the same message goes on: octets, so many times
    LISTED a b                       STAT, UIDL and LIST, answered truly
    GIVEN 1 a                        RETR, answered truly
    S-mail: a                        the message as a body: stuffed, with its terminator
    MARKED 1                         DELE, accepted
    DONE                             QUIT, accepted

    BEFORE x ua                      a good server had message x under that unique-id, and it was archived
    LIMIT TIMEOUT 0.5                TIMEOUT, SESSION (seconds), OCTETS (of any reply), ACCOUNT (of a message, by the settings)
    SECURITY starttls                plaintext, if not given
    UNPROVEN                         nothing in the archive reads back equal
    REMOVED a                        what the server has removed in the end, whatever it said
    EXPECT error TimedOut TIMEOUT    the visit fails: the error's class, and words of its message
    EXPECT archived a                messages that are in the archive behind the visit
    EXPECT ledger ua archived        a row: its unique-id (a regular expression), its status, and `dele` if DELE was accepted
    EXPECT refetched a               what a good server's visit archives though the octets are there in another form
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

DIALOGUES: Final = Path(__file__).parents[1] / "dialogues"


def escaped(text: str) -> bytes:
    """Return octets that were written with Python's escapes."""
    return text.encode().decode("unicode_escape").encode("latin-1")


@dataclass(slots=True, kw_only=True)
class Expected:
    """What must come of a visit. error: class and words, None if it goes well. ledger: unique-id as a pattern, status, dele."""

    error: tuple[str, str] | None = None
    archived: list[str] = field(default_factory=list)
    ledger: list[tuple[str, str, bool]] = field(default_factory=list)
    refetched: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Dialogue:
    """One file. mail: messages by word. before: word and unique-id. limits: by name. removed: words."""

    steps: list[str] = field(default_factory=list)
    mail: dict[str, bytes] = field(default_factory=dict)
    before: list[tuple[str, str]] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    security: str = "plaintext"
    is_unproven: bool = False
    removed: list[str] = field(default_factory=list)
    expected: Expected = field(default_factory=Expected)
    has_expectations: bool = False

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a file of tests/dialogues."""
        made = cls()
        made._take((DIALOGUES / name).read_text(encoding="utf-8").splitlines())
        return made

    @classmethod
    def of(cls, lines: list[str]) -> Self:
        """Read lines."""
        made = cls()
        made._take(lines)
        return made

    def _take(self, lines: list[str]) -> None:
        for line in lines:
            step = line.strip()
            if step and not step.startswith("#"):
                self._add(step)

    def _add(self, step: str) -> None:  # noqa: PLR0912 -- a case for each verb
        verb, _, rest = step.partition(" ")
        word, _, more = rest.partition(" ")
        match verb:
            case "INCLUDE":
                self._take((DIALOGUES / "parts" / f"{rest}.txt").read_text(encoding="utf-8").splitlines())
            case "MAIL":
                self.mail[word] = escaped(more)
            case "MAIL-times":
                count, _, text = more.partition(" ")
                self.mail[word] += escaped(text) * int(count)
            case "LISTED":
                self._listed(rest.split())
            case "GIVEN":
                self.steps += [f"C: RETR {word}", "S: +OK", f"S-mail: {more}"]
            case "MARKED":
                self.steps += [f"C: DELE {rest}", "S: +OK"]
            case "DONE":
                self.steps += ["C: QUIT", "S: +OK bye", "CLOSE"]
            case "BEFORE":
                self.before.append((word, more))
            case "LIMIT":
                self.limits[word] = float(more)
            case "SECURITY":
                self.security = rest
            case "UNPROVEN":
                self.is_unproven = True
            case "REMOVED":
                self.removed += rest.split()
            case "EXPECT":
                self._expect(word, more)
            case _:
                self.steps.append(step)

    def _listed(self, words: list[str]) -> None:
        sizes = [len(self.mail[word]) for word in words]
        self.steps += ["C: STAT", f"S: +OK {len(words)} {sum(sizes)}"]
        self.steps += ["C: UIDL", "S: +OK", *(f"S: {n} u{word}" for n, word in enumerate(words, 1)), "S: ."]
        self.steps += ["C: LIST", "S: +OK", *(f"S: {n} {size}" for n, size in enumerate(sizes, 1)), "S: ."]

    def _expect(self, what: str, rest: str) -> None:
        self.has_expectations = True
        match what:
            case "error":
                kind, _, words = rest.partition(" ")
                self.expected.error = (kind, words)
            case "archived":
                self.expected.archived += rest.split()
            case "refetched":
                self.expected.refetched += rest.split()
            case "ledger":
                row, _, last = rest.rpartition(" ")
                is_sent = last == "dele"
                uidl, _, status = row.rpartition(" ") if is_sent else (row, "", last)
                self.expected.ledger.append((uidl, status, is_sent))
            case _:
                raise ValueError(f"no such expectation: {what}")
