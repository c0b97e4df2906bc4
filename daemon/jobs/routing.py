"""Which account sends a row that names none."""

from collections.abc import Mapping

from daemon.jobs.context import Context
from daemon.mail.account import Account
from daemon.store import outbox


def route(context: Context, senders: Mapping[str, Account]) -> int:
    """Write an account into due rows that name none: the one whose address is the sender's, else the first that can send.

    A row that names an account which can't send waits with that reason. Returns the rows that were changed.
    """
    if not senders:
        return 0
    by_address = {account.address.casefold(): name for name, account in senders.items()}
    first = next(iter(senders))

    def choose(sender: str | None) -> str:
        for address, name in by_address.items():
            if sender and address in sender.casefold():
                return name
        return first

    now = context.clock()
    with context.database.reading() as conn:
        if not outbox.needs_routing(conn, tuple(senders), now):
            return 0
    with context.database.transaction() as tx:
        return outbox.route(
            tx,
            choose=choose,
            able=tuple(senders),
            unable_until=now + context.backoff.first,
            now=now,
        )
