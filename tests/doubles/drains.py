r"""Drains as data: rows, what a relay does to them in one visit after another, and what the tables must say behind each.

    ROW a bob@example.net, no@example.net    a row, known by a word; without one there is `ROW a bob@example.net`
    WITH a on_doubt hold                     a column of it
    LARGE a 2000000                          its body has so many octets
    LIMIT TIMEOUT 0.3                        seconds of silence
    SECURITY starttls                        plaintext, if not given
    SERVES plaintext                         what the relay does from the first octet: tls where SECURITY is, if not given
    NAMES other.example                      in the relay's certificate, if not localhost
    LOGIN                                    the account has a name and a password
    OFFER SIZE 1000                          a line of the reply to EHLO
    ON RCPT TO:<no@example.net>              the relay hears a line that begins so, and does what follows; good manners else
    MAY RSET                                 the same, for what may not be said at all
    NTH 2 MAIL                               the same, for the second time in this visit only
    S: 550 5.1.1 no such user                what it does: the steps of `scripted`, and those of `reacting`
    EXPECT row a deferred 1                  status (several with |), and attempts
    EXPECT says a words                      in last_error
    EXPECT to bob@example.net sent 250 2.0.0 status of a recipient, code, enhanced code (- for none)
    EXPECT reply bob@example.net words       of its reply
    EXPECT attempts a in_doubt sent          how they ended; none: there were none
    EXPECT taken bob@example.net             recipients that the relay has taken a letter for, twice named if twice
    EXPECT relay paused                      or open
    EXPECT connections 1                     that there were so far
    KEEP                                     what a drain leaves open stays open for the next one
    BETWEEN CLOSE                            what the relay does on every open connection behind this visit
    AGAIN 2m                                 later; the relay has good manners again, but for what follows

The longest of the rules that fit is played. Moments have names like lines: CONNECT, CONTENT (the first octet of a letter has
come), and `.` (its last one has, be it a dot or BDAT LAST).
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from daemon import notation
from tests.doubles.dialogue import DIALOGUES


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the relay does when it hears this. nth: only then, if not 0.  must: else it need not come into play."""

    heard: str
    nth: int = 0
    must: bool = True
    steps: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Visit:
    """One drain. later: since the one before.  expected: what and the rest, as written.  between: steps behind it."""

    later: timedelta = timedelta()
    rules: list[Rule] = field(default_factory=list)
    expected: list[tuple[str, str]] = field(default_factory=list)
    between: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Drains:
    """One file. rows: word -> recipients.  columns: word -> name and value."""

    rows: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    timeout_seconds: float = 5.0
    security: str = "plaintext"
    serves: str | None = None
    names: tuple[str, ...] = ()
    logs_in: bool = False
    keeps: bool = False
    offers: list[str] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=lambda: [Visit()])

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a file of tests/dialogues."""
        return cls.of((DIALOGUES / name).read_text(encoding="utf-8"))

    @classmethod
    def of(cls, text: str) -> Self:
        """Read text."""
        made = cls()
        for line in text.splitlines():
            step = line.strip()
            if step and not step.startswith("#"):
                made._add(step)
        made.rows.setdefault("a", "bob@example.net")
        return made

    def _add(self, step: str) -> None:  # noqa: PLR0912 -- a case for each verb
        verb, _, rest = step.partition(" ")
        word, _, more = rest.partition(" ")
        visit = self.visits[-1]
        match verb:
            case "ROW":
                self.rows[word] = more
            case "WITH":
                name, _, value = more.partition(" ")
                self.columns.setdefault(word, {})[name] = value
            case "LARGE":
                self.columns.setdefault(word, {})["body"] = "A line of text.\n" * (int(more) // 16)
            case "LIMIT":
                assert word == "TIMEOUT", word
                self.timeout_seconds = float(more)
            case "SECURITY":
                self.security = rest
            case "SERVES":
                self.serves = rest
            case "NAMES":
                self.names = tuple(rest.split())
            case "LOGIN":
                self.logs_in = True
            case "KEEP":
                self.keeps = True
            case "BETWEEN":
                visit.between.append(rest)
            case "OFFER":
                self.offers.append(rest)
            case "ON":
                visit.rules.append(Rule(heard=rest))
            case "MAY":
                visit.rules.append(Rule(heard=rest, must=False))
            case "NTH":
                visit.rules.append(Rule(heard=more, nth=int(word)))
            case "EXPECT":
                visit.expected.append((word, more))
            case "AGAIN":
                self.visits.append(Visit(later=notation.wait(rest)))
            case _:
                visit.rules[-1].steps.append(step)


def names() -> list[str]:
    """Return the names of all files that hold drains."""
    return sorted(path.name for path in Path(DIALOGUES).glob("drain_*.txt"))


LATEST: Final = timedelta(hours=5)  # after it every pause and every back-off of the tests' house is over
