"""Replies of an SMTP server, and what they mean for a recipient (RFC 5321 section 4.2, RFC 2034, RFC 3463).

An outcome is a value, never an exception: Sent, Deferred (worth another try), Failed (not), InDoubt (the letter may be there).
Code 0 marks a reply of our own, where the server said nothing or was not asked. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_TEXT_CHARACTERS: Final = 1000  # kept of a reply's text: some relays write an essay with links

_ENHANCED: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")  # RFC 2034 section 4
_SYNTAX_CODES: Final = frozenset({500, 501, 502, 503, 504})  # RFC 5321 section 4.2.2: what was said is not understood
_LOGIN_CODES: Final = frozenset({530, 534, 535, 538})  # RFC 4954 section 6
_TOO_MANY_RECIPIENTS: Final = re.compile(r"[45]\.5\.3")  # RFC 3463 section 3.6


class Stage(StrEnum):
    """What a reply is for; the same code can mean different things."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    DOT = "the final dot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply. code: 200 to 599, or 0 for words of our own.  enhanced: like `5.1.1`.  text: one line, without the codes."""

    code: int
    enhanced: str | None
    text: str

    @classmethod
    def of(cls, code: int, lines: Sequence[str]) -> "Reply":
        """Make one of a reply's lines without their codes; the enhanced code is repeated on each (RFC 2034 section 4)."""
        enhanced: str | None = None
        words: list[str] = []
        for line in lines:
            found = _ENHANCED.match(line)
            if found is not None and enhanced in (None, found[1]):
                enhanced = found[1]
                words.append(line[found.end() :])
            else:
                words.append(line)
        text = " ".join(" ".join(words).split())
        if len(text) > MAX_TEXT_CHARACTERS:
            text = f"{text[: MAX_TEXT_CHARACTERS - 1]}…"
        return cls(code=code, enhanced=enhanced, text=text)

    @classmethod
    def ours(cls, text: str) -> "Reply":
        """Make one of our own words."""
        return cls(code=0, enhanced=None, text=text)

    @property
    def is_positive(self) -> bool:
        """2xx."""
        return self.code // 100 == 2

    @property
    def ends_session(self) -> bool:
        """421: the server closes after it, whatever it was asked (RFC 5321 section 3.8)."""
        return self.code == 421

    @property
    def asks_for_login(self) -> bool:
        """Whether it speaks of us and not of the letter: log in first, or in another way."""
        return self.code in _LOGIN_CODES

    @property
    def is_about_syntax(self) -> bool:
        """Whether it speaks of the command and not of the letter."""
        return self.code in _SYNTAX_CODES

    def __str__(self) -> str:
        """As the server wrote it, in one line."""
        return " ".join(str(one) for one in (self.code or "", self.enhanced or "", self.text) if one)


@dataclass(frozen=True, slots=True)
class Sent:
    """The relay has taken the letter for this recipient."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: to be tried again."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Failed:
    """Never, as it stands: trying again is useless."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The final dot was sent and its reply not seen: the relay may have the letter or not."""

    reason: str


Outcome = Sent | Deferred | Failed | InDoubt


def outcome(reply: Reply, stage: Stage) -> Sent | Deferred | Failed:
    """Tell what a final reply means for a recipient."""
    if reply.is_positive:
        return Sent(reply)
    return Deferred(reply) if is_transient(reply, stage) else Failed(reply)


def is_transient(reply: Reply, stage: Stage) -> bool:
    """Tell whether a refusal may go away by itself. The class of the enhanced code decides where there is one."""
    if reply.ends_session or reply.asks_for_login:  # the letter is as good as any
        return True
    if stage is Stage.RCPT:
        # Too many recipients: the others go in a letter of their own (RFC 5321 section 4.5.3.1.10 names 552 for it too).
        if reply.enhanced is not None and _TOO_MANY_RECIPIENTS.fullmatch(reply.enhanced):
            return True
        if reply.code == 552 and reply.enhanced is None:
            return True
    if reply.enhanced is not None and reply.enhanced[0] in "45":
        return reply.enhanced[0] == "4"
    return reply.code < 500


def is_about_the_relay(reply: Reply) -> bool:
    """Tell whether a 4xx speaks of the relay's own state and not of this letter: another letter would fare the same.

    421, whatever its enhanced code, the system status of RFC 3463 section 3.4 (4.3.x), and without an enhanced code 452 and 454
    (RFC 4954, 3207).
    """
    if reply.enhanced is not None and not reply.ends_session:
        return reply.enhanced.startswith("4.3.")
    return reply.code in {421, 452, 454}
