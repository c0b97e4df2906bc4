"""Conversations: what ties messages together, and who answers whom (Jamie Zawinski's algorithm, RFC 5322 section 3.6.4). Pure.

Two messages are of one conversation if a chain of common Message-IDs leads from one to the other: their own, those in
References and in In-Reply-To, whether such a message was ever seen or not. So it never matters in which order they come. The
subject is asked last, and only for an answer that names no message at all: it then counts as naming the nearest message of
the same subject before it that its own recipient wrote to its own sender, in RECENT.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from daemon.mail.message import Parsed

RECENT: Final = timedelta(days=30)  # between a message and an answer that is known by its subject alone
MAX_OF_ONE_SUBJECT: Final = 100  # messages; a subject that more of them have tells nothing
MAX_SUBJECT_CHARACTERS: Final = 500  # that are compared

# What programs put before an answer's subject, with a number (Re[2]:, Re^2:) or none: English, German, Swedish, Dutch,
# Finnish, Italian, Polish, Turkish, Portuguese, Hungarian, Czech, Icelandic, Greek, Hebrew, Russian, Chinese, Japanese.
_ANSWER: Final = re.compile(
    r"\s*(?:re|aw|antw|antwort|sv|vs|r|rif|odp|ynt|res|ref|vá|svar|odpověď|απ|σχετ|תשובה|отв|ответ|回复|回覆|答复|答覆|返信)"
    r"(?:[\[(^]?\d{1,3}[\])]?)?\s?[:：]",  # noqa: RUF001 -- the colon that Chinese programs write
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"\s*\[[^\[\]]{1,80}\]")  # [list-name]


class Ties(NamedTuple):
    """What ties a message to others. own: None without a Message-ID.  references: the nearest relative last.

    subject: what answers and their original have in common, None if it says nothing.  asks: an answer that names no message.
    """

    own: int | None
    references: tuple[int, ...]
    subject: int | None
    asks: bool

    @property
    def keys(self) -> tuple[int, ...]:
        """All that it is tied by."""
        return self.references if self.own is None else (self.own, *self.references)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A message among others of its subject. sender, recipients: addresses in one spelling (address.folded)."""

    message: int
    ties: Ties
    sent_at: datetime | None
    sender: str
    recipients: frozenset[str]


class Node(NamedTuple):
    """A message of a conversation, in the order in which they were sent."""

    message: int
    own: int | None
    references: tuple[int, ...]


# --- what ties a message --------------------------------------------------------------------------------------------------


def key(text: str) -> int:
    """Give the number that stands for a Message-ID or a subject: 63 bits, a fifth of the room.

    Whoever can find a second text of one number has gained nothing: to name a Message-ID in References does the same.
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def ties(parsed: Parsed) -> Ties:
    """Read what ties a message from its columns."""
    named = list(parsed.references)
    if parsed.in_reply_to is not None and parsed.in_reply_to not in named:
        named.insert(0, parsed.in_reply_to)  # where the two differ, References knows better (RFC 5322 section 3.6.4)
    if named:
        # Old programs answer a person: In-Reply-To: <bob@example.net>'s message of Friday.
        people = {one.address for one in parsed.addresses}
        named = [one for one in named if one not in people and one != parsed.message_id]
    base, is_answer = base_subject(parsed.subject)
    return Ties(
        own=None if parsed.message_id is None else key(parsed.message_id),
        references=tuple(map(key, named)),
        subject=key(base) if base else None,
        asks=is_answer and bool(base) and not named,
    )


def base_subject(subject: str) -> tuple[str, bool]:
    """Give a subject without what answers and lists put before it, in one spelling, and whether it is an answer's."""
    text, at, is_answer = subject[:MAX_SUBJECT_CHARACTERS], 0, False
    while (found := _ANSWER.match(text, at) or _TAG.match(text, at)) is not None:
        is_answer = is_answer or not found[0].endswith("]")
        at = found.end()
    return " ".join(text[at:].casefold().split()), is_answer


def tied_by_subject(group: Sequence[Candidate]) -> dict[int, Ties]:
    """Give the ties of those messages of one subject that ask for one, with what they answer if it is there."""
    senders = defaultdict(list)
    if len(group) <= MAX_OF_ONE_SUBJECT:
        for one in group:
            if one.ties.own is not None and one.sent_at is not None:
                senders[one.sender].append(one)
    found = {}
    for answer in group:
        if answer.ties.asks:
            before = [
                (one.sent_at, one.ties.own)
                for sender in answer.recipients
                for one in senders.get(sender, ())
                if one.ties.own != answer.ties.own
                and answer.sender in one.recipients
                and _is_recent(one.sent_at, answer.sent_at)
            ]
            nearest = max(before, default=(None, None))[1]
            found[answer.message] = answer.ties._replace(references=() if nearest is None else (nearest,))
    return found


def _is_recent(sent_at: datetime | None, answered_at: datetime | None) -> bool:
    if sent_at is None or answered_at is None:
        return False
    return timedelta(0) < answered_at - sent_at <= RECENT


# --- conversations --------------------------------------------------------------------------------------------------------


class Sets:
    """Disjoint sets of numbers; those that are joined become one."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def of(self, one: int) -> int:
        """Give the member that stands for the set of this one."""
        above = self._above
        root = one
        while (next_above := above.get(root)) is not None:
            root = next_above
        while one != root:  # the next time it is a step
            above[one], one = root, above[one]
        return root

    def join(self, members: Iterable[int]) -> None:
        """Make one set of all that these are in."""
        first: int | None = None
        for one in members:
            root = self.of(one)
            if first is None:
                first = root
            elif root != first:
                self._above[root] = first


def conversations(keys: Mapping[int, Iterable[int]]) -> list[list[int]]:
    """Give the conversations among messages, each in the order of its numbers. keys: of each message."""
    sets = Sets()
    for message, tied in keys.items():
        sets.join((-message, *tied))
    found: dict[int, list[int]] = defaultdict(list)
    for message in sorted(keys):
        found[sets.of(-message)].append(message)
    return list(found.values())


def tree(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Give (depth, message) of a conversation, every answer behind what it answers, else in the order of `nodes`.

    An answer stands below the nearest of its references that is here. Whoever answers himself in a circle begins anew.
    """
    holders: dict[int, int] = {}
    for node in nodes:
        if node.own is not None:
            holders.setdefault(node.own, node.message)
    below: dict[int | None, list[int]] = defaultdict(list)
    for node in nodes:
        above = (holders.get(one) for one in reversed(node.references))
        below[next((one for one in above if one is not None and one != node.message), None)].append(node.message)
    shown: dict[int, int] = {}
    for begins in [*below[None], *(node.message for node in nodes)]:
        waiting = [(0, begins)]
        while waiting:
            depth, message = waiting.pop()
            if message not in shown:
                shown[message] = depth
                waiting += [(depth + 1, one) for one in reversed(below[message])]
    return [(depth, message) for message, depth in shown.items()]
