"""Take over what another POP3 client has fetched: its seen list becomes SEEN rows of the ledger."""

from typing import Final

from daemon import errors
from daemon.jobs.context import Context
from daemon.mail.account import Account
from daemon.pop3 import peers
from daemon.store import ledger

PROGRAMS: Final = tuple(peers.PROGRAMS)


def take_over(account: Account, program: str, content: bytes, context: Context) -> tuple[int, int]:
    """Mark as seen what a program remembers of this account; return how many it remembers, and how many are new here.

    content: of the program's file.  InputInvalid if it can't be read, or has several accounts and none is this one.
    """
    if account.pop3 is None:
        raise errors.InputInvalid(f"{account.name}: this account has no POP3 settings")
    remembered = peers.read(program, content)
    uidls = list(dict.fromkeys(peers.of_account(remembered, account.pop3.endpoint.host, account.pop3.username)))
    rows = [(uidl, 0, None) for uidl in uidls]
    with context.database.transaction() as tx:
        return len(uidls), ledger.mark_seen(tx, account.name, rows, f"seen by {program}", context.clock())
