"""What a visit knows of its maildrop: the ledger, and what earlier visits of this process found settled (pop3/settled.py).

`read` reads the ledger while the server makes its listing; `compare` gives the listing that the visit has to look at: the
whole one, or only what is not settled, with the rows of the ledger that belong to it in `known`.
"""

from dataclasses import replace

from daemon.jobs.context import Context
from daemon.mail.account import DeletePolicy
from daemon.mail.maildrop import Known, Listing, Rows
from daemon.pop3.replies import Answers
from daemon.pop3.settled import Settled
from daemon.store import ledger, relink


class Recall:
    """Of one session. known: rows of the ledger.  settled: messages that are listed, and neither given nor in `known`.

    standing: how the account stands with its maildrop.
    """

    def __init__(self, account: str, context: Context, *, policy: DeletePolicy, all_of_it: bool) -> None:
        """all_of_it: leave nothing out of the listing, for settled ones are asked for too."""
        self._account, self._context, self._policy, self._all_of_it = account, context, policy, all_of_it
        self.known: list[Known] = []
        self.rows = Rows(texts={}, counts={})
        self.standing = relink.Standing(None, None, None)
        self.settled = 0
        self._before: Settled | None = None

    def read(self) -> None:
        """Read the ledger; not the rows themselves where they are those of the last visit."""
        before = None if self._all_of_it else self._context.recollections.of(self._account)
        if before is not None and not before.allows(self._policy, self._context.clock()):
            before = None
        with self._context.database.reading() as conn:
            self.rows = ledger.rows(conn, self._account)
            self.standing = relink.standing(conn, self._account)
            is_plain_sailing = self.standing.held_since is None and self.standing.accepted_at is None
            if before is not None and not (is_plain_sailing and before.is_in(self.rows)):
                before = None
            self.known = ledger.known(conn, self._account) if before is None else []
        self._before, self.settled = before, 0

    def compare(self, answers: Answers) -> Listing:
        """Give what is to be looked at, and remember what is settled."""
        rest = self._rest(answers) if self._before is not None else None
        if rest is not None:
            return rest
        if self._before is not None:  # the listing is another one after all
            self._context.recollections.keep(self._account, None)
            self.read()
        listing = answers.listing()
        if self._policy.kind in {"never", "age"}:
            self._context.recollections.keep(self._account, Settled.of(answers, listing, self.known, self.rows))
        return listing

    def _rest(self, answers: Answers) -> Listing | None:
        before = self._before
        entries = before.rest(answers) if before is not None else None
        if before is None or entries is None:
            return None
        named: list[Known] = []
        if entries:
            with self._context.database.reading() as conn:
                named = ledger.known(conn, self._account, [entry.uidl for entry in entries if entry.uidl is not None])
        listing = Listing(count=len(entries), octets=answers.octets, entries=entries, has_uidl=True, is_plain=True)
        if not before.leaves(listing, named, self.rows):
            return None
        self.known, self.settled = named, before.count
        self._context.recollections.keep(self._account, before.extended(answers, entries, named, self.rows))
        return replace(listing, count=before.count + len(entries))
