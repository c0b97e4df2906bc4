"""Bounces in words for people: what qmail (QSBMF), older Exim and others write where RFC 3464 has fields.

Read only where the message comes from a mail daemon: the same words in a person's letter mean nothing. English and German, as
far as the address and the reply code are not words. Linear, capped; raises nothing. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from daemon.mail.delivery_status import Fate, diagnosed

MAX_CHARACTERS: Final = 65_536  # of the words before the returned letter
MAX_COPY_CHARACTERS: Final = 262_144  # of the returned letter, in which its Message-ID is looked for
MAX_ADDRESSES: Final = 200  # of one bounce
MAX_LINE_CHARACTERS: Final = 1000
MAX_DIAGNOSTIC_LINES: Final = 12  # below one address

# Where the returned letter begins: a line that says so, or the first field of its header.
_COPY: Final = re.compile(
    r"^[ \t>*=_-]{0,40}(?:below this line is a copy|this is a copy of|copy of (?:your|the) message|original message"
    r"|the headers? of the original|message headers? follow|headers? of the (?:original )?message|returned message"
    r"|unsent message|return-path:|received:|(?:resent-)?message-id:|dkim-signature:|delivered-to:)",
    re.IGNORECASE | re.MULTILINE,
)
_FAILED: Final = re.compile(
    r"this is the qmail-send program|could ?n[o']t be delivered|n[o']t able to deliver|unable to deliver|undeliver"
    r"|delivery (?:\w+ ){0,8}failed|failed permanently|permanent (?:fatal )?error|permanent failure|did not reach"
    r"|returned to sender|user unknown|nicht zugestellt|unzustellbar|nicht zustellbar",
    re.IGNORECASE,
)
_DELAYED: Final = re.compile(
    r"not yet been delivered|not been delivered yet|delivery attempts will continue|will be retried|still trying"
    r"|warning message only|no action is required on your part|delayed \d|notification \(delay\)|noch nicht zugestellt",
    re.IGNORECASE,
)
_ADDRESS: Final = r"[^\s<>()\[\]\",;:@]{1,200}@[A-Za-z0-9.\u0080-\U0010ffff-]{1,250}"
_ANY_ADDRESS: Final = re.compile(rf"(?<![^\s<(\",;:])({_ADDRESS})")
_ALONE: Final = re.compile(rf"\s{{0,20}}(?:[-*]\s)?<?({_ADDRESS})>?\s{{0,5}}:?\s{{0,20}}")
_MESSAGE_ID: Final = re.compile(
    r"^[ \t>|]{0,20}(?:Resent-)?Message-ID:\s{0,100}<([^<>\s]{1,998})>", re.IGNORECASE | re.MULTILINE
)


def read(text: str, subject: str, failed_recipients: str = "") -> tuple[tuple[Fate, ...], tuple[str, ...]]:
    """Give what became of whom, nothing if these words are not known, and the Message-IDs in the returned letter.

    failed_recipients: the field X-Failed-Recipients, as Exim and Gmail write it.
    """
    start = text[:MAX_CHARACTERS]
    copy = _COPY.search(start)
    words = start[: copy.start()] if copy else start
    at = len(words)
    found = tuple(dict.fromkeys(_MESSAGE_ID.findall(text[at : at + MAX_COPY_CHARACTERS])))
    action = _action(f"{subject}\n{words}", named=bool(failed_recipients.strip()))
    if action is None:
        return (), found
    fates = {address: _fate(address, action, said) for address, said in _entries(words)}
    for address in _ANY_ADDRESS.findall(failed_recipients[:MAX_CHARACTERS])[:MAX_ADDRESSES]:
        fates.setdefault(address, _fate(address, action, _said_anywhere(words)))
    if not fates:
        fates = {one: _fate(one, action, _said_anywhere(words)) for one in _ANY_ADDRESS.findall(words)[:MAX_ADDRESSES]}
    return tuple(fates.values()) or (_fate("", action, _said_anywhere(words)),), found


def completed(fates: tuple[Fate, ...], text: str) -> tuple[Fate, ...]:
    """Give the fates with the words that the text has for those that have none: Exim writes its own in there alone."""
    if all(one.diagnostic for one in fates):
        return fates
    said = {address.lower(): words for address, words in _entries(text[:MAX_CHARACTERS])}
    return tuple(one if one.diagnostic else _completed(one, said) for one in fates)


def _completed(fate: Fate, said: dict[str, str]) -> Fate:
    words = next((said[one.lower()] for one in fate.recipients if one.lower() in said), "")
    code, status, diagnostic = diagnosed(words)
    is_vague = not fate.status or (fate.status.endswith(".0.0") and status[:1] == fate.status[:1])
    return replace(
        fate, code=fate.code or code, status=status if is_vague and status else fate.status, diagnostic=diagnostic
    )


def _action(words: str, *, named: bool) -> str | None:
    if _DELAYED.search(words):
        return "delayed"
    return "failed" if named or _FAILED.search(words) else None


def _entries(words: str) -> Iterator[tuple[str, str]]:
    """Yield each address that has a line of its own, and what is said below it, up to an empty line."""
    address, said, found = "", list[str](), 0
    for line in [*words.splitlines(), ""]:
        short = line[:MAX_LINE_CHARACTERS]
        alone = _ALONE.fullmatch(short)
        if address and (alone or not short.strip()):
            yield address, " ".join(said) or _said_anywhere(words)
            address, said = "", []
        if alone and found < MAX_ADDRESSES:
            address, found = alone[1], found + 1
        elif address and len(said) < MAX_DIAGNOSTIC_LINES:
            said.append(short.strip())


def _said_anywhere(words: str) -> str:
    """Give the first line with a reply code or a status in it, else the first that is one."""
    lines = [line[:MAX_LINE_CHARACTERS].strip() for line in words.splitlines()[:200] if line.strip()]
    return next((line for line in lines if any(diagnosed(line)[:2])), lines[0] if lines else "")


def _fate(address: str, action: str, said: str) -> Fate:
    code, status, diagnostic = diagnosed(said)
    recipients = (address,) if address else ()
    return Fate(recipients=recipients, action=action, status=status, code=code, diagnostic=diagnostic)
