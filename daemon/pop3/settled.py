"""What is settled in a maildrop, so that a visit looks at the rest alone: the listing and the ledger, compared as octets. Pure.

A message is settled when it has a name of its own, and the ledger has a row of that name and size that says ARCHIVED or SEEN:
it needs no RETR, whatever the policy. What was settled at the last visit still is if UIDL and LIST begin with the octets with
which they answered then (new messages stand at the end), and the ledger writes out the same rows as then, perhaps with others
behind them. Equal octets mean equal things, so nothing has to be believed, whoever changed the ledger or the maildrop since;
for 20,000 messages comparing takes a millisecond, where reading and matching them takes fifty.

What remains is `open`: messages that were listed and not settled, and those listed since. Wherever anything is not exactly
so (a message left, a name stands twice, a row is not listed), all is read, as if nothing were remembered.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from daemon.mail.account import DeletePolicy
from daemon.mail.maildrop import SETTLING, Entry, Known, Listing, Rows
from daemon.pop3 import identity, replies

# More than so many that are open, and all is read: below it, mail that is listed can't be a maildrop that came back.
OPEN_MOST: Final = identity.RETURNING_LEAST - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What to remember of a visit, for the next one.

    uidls, sizes: the answers to UIDL and LIST.  texts: of the rows that settle, by status, without the array's end.  count: of
    settled messages.  open: the other ones, by number.  since: when the first of the settled was first seen.
    """

    uidls: bytes
    sizes: bytes
    texts: Mapping[str, str]
    count: int
    open: tuple[Entry, ...]
    since: datetime

    @classmethod
    def of(cls, answers: replies.Answers, listing: Listing, known: Sequence[Known], rows: Rows) -> Self | None:
        """See what is settled by a whole listing and a whole ledger; None where it is not worth it, or in any doubt."""
        names = {entry[1] for entry in listing.entries}
        if not rows.settling or not listing.is_plain or len(names) != listing.count:
            return None
        return cls._made(answers, listing.entries, known, rows)

    def extended(
        self, answers: replies.Answers, rest: Iterable[Entry], named: Sequence[Known], rows: Rows
    ) -> Self | None:
        """See what is settled now; `rest` and `named` were found to leave nothing out."""
        if answers.uidls == self.uidls and not named:
            return self
        return self._made(answers, tuple(rest), named, rows, self.count, self.since)

    @classmethod
    def _made(
        cls,
        answers: replies.Answers,
        entries: tuple[Entry, ...],
        known: Sequence[Known],
        rows: Rows,
        count: int = 0,
        since: datetime | None = None,
    ) -> Self | None:
        settling = [row for row in known if row[3] in SETTLING]
        pairs = {(row[1], row[2]) for row in settling}
        left = tuple(entry for entry in entries if (entry[1], entry[2]) not in pairs)
        count += len(entries) - len(left)
        # Then each of these rows has its message, and each settled message one of these rows.
        if len(pairs) != len(settling) or count != rows.settling or len(left) > OPEN_MOST:
            return None
        return cls(
            uidls=answers.uidls,
            sizes=answers.sizes,
            texts={status: text.removesuffix("]") for status, text in rows.texts.items() if status in SETTLING},
            count=count,
            open=left,
            since=min([row[4] for row in settling] + ([since] if since is not None else [])),
        )

    @property
    def octets(self) -> int:
        """How much memory it takes, about."""
        return len(self.uidls) + len(self.sizes) + sum(map(len, self.texts.values()))

    def allows(self, policy: DeletePolicy, now: datetime) -> bool:
        """Tell whether nothing of what is settled may be deleted by this policy."""
        if policy.kind == "age" and policy.age is not None:
            return self.since > now - policy.age
        return policy.kind == "never"

    def is_in(self, rows: Rows) -> bool:
        """Tell whether the ledger still has the rows."""
        return all(rows.texts.get(status, "").startswith(text) for status, text in self.texts.items())

    def rest(self, answers: replies.Answers) -> tuple[Entry, ...] | None:
        """Give the messages that are not settled, by number; None if the settled ones are not all listed, or not as plainly."""
        if not (answers.uidls.startswith(self.uidls) and answers.sizes.startswith(self.sizes)):
            return None
        uidl_lines = replies.split(answers.uidls[len(self.uidls) :])
        if len(self.open) + len(uidl_lines) > OPEN_MOST:
            return None
        list_lines = replies.split(answers.sizes[len(self.sizes) :])
        new = replies.plain_entries(list_lines, uidl_lines, self.count + len(self.open) + 1)
        if new is None or len({entry.uidl for entry in new}) != len(new) or any(self._lists(one.uidl) for one in new):
            return None
        return self.open + new

    def _lists(self, uidl: str | None) -> bool:
        name = f" {uidl}".encode()
        return any(name + end in self.uidls for end in (b"\r\n", b"\n"))

    def leaves(self, listing: Listing, named: Collection[Known], rows: Rows) -> bool:
        """Tell whether the rest is all that there is to look at, and looks healthy.

        listing: of the rest.  named: all rows of its names, in any status; no other row should be in the maildrop.
        """
        here = sum(row.status in identity.EXPECTED for row in named)
        if self.count + here != sum(rows.counts.values()):
            return False
        return identity.assess(listing, list(named), self.count).verdict is not identity.Verdict.RESET
