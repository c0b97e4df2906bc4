"""The first contact with a maildrop: what was there before us is marked as seen in the ledger, and stays on the server.

`new` asks for nothing but the listing; `since` asks for the header section of every message (TOP), pipelined. Everything is
written down in one transaction at the end: a first contact that is cut begins anew. What can't be told apart is fetched: a
message without a name (no UIDL and no TOP), and with `since` one that has no date that can be read. Raises what the client
and the store raise, and Stopped when the house stops meanwhile.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.mail import dates, headers
from daemon.mail.account import First
from daemon.mail.defects import Notes
from daemon.mail.maildrop import Entry, Listing
from daemon.pop3.client import Client
from daemon.store import ledger
from daemon.wire.spool import Spool

MARKED = "marked as seen"


def meet(
    name: str, first: First, listing: Listing, occurrences: Mapping[int, int], client: Client, context: Context
) -> int:
    """Mark as seen what `first` does not want, if this is the first contact; return how many.

    name: of the account.  occurrences: by message number, how often its UIDL was listed before it.
    """
    if first.kind == "all":
        return 0
    with context.database.reading() as conn:
        if not ledger.is_first_contact(conn, name):
            return 0
    nameless = sum(entry.uidl is None for entry in listing.entries)
    if nameless:
        trace.first_contact_blind(account=name, messages=nameless, reason="the server has no UIDL and no TOP")
    if first.since is None:
        old, reason = list(listing.entries), "there before the first visit"
    else:
        old, reason = _before(name, first.since, listing, client, context), f"came before {first.since:%Y-%m-%d}"
    seen = mark(name, old, occurrences, reason, context)
    trace.first_contact(account=name, seen=seen, listed=listing.count, kind=first.kind)
    return seen


def mark(
    name: str,
    entries: list[Entry],
    occurrences: Mapping[int, int],
    reason: str,
    context: Context,
    *,
    listed: bool = True,
) -> int:
    """Mark messages as seen that have a name and no row yet; return how many. listed: it is the whole maildrop's listing."""
    rows = [(one.uidl, occurrences.get(one.number, 0), one.octets) for one in entries if one.uidl is not None]
    now = context.clock()
    with context.database.transaction() as tx:
        marked = ledger.mark_seen(tx, name, rows, reason, now)
        if listed:
            ledger.seen(tx, name, now)
    return marked


def came_at(header: bytes) -> datetime | None:
    """Tell when a message came: its topmost Received field, else its Date field; None if neither can be read."""
    notes = Notes()
    fields, _body = headers.read(header, 0, len(header), notes)
    received = fields.get("received", [b""])[0].rpartition(b";")[2]
    for value in (received, fields.get("date", [b""])[0]):
        moment = dates.read(value, notes) if value else None
        if moment is not None:
            return moment
    return None


def _before(name: str, since: datetime, listing: Listing, client: Client, context: Context) -> list[Entry]:
    """Give the messages that came before that time, as their header sections say."""
    if not client.capabilities.top:
        trace.first_contact_blind(account=name, messages=listing.count, reason="the server has no TOP")
        return []
    old: list[Entry] = []
    undated = 0
    for entry, got in client.tops(listing.entries, 0):
        if context.stop.is_set():
            raise errors.Stopped(f"{name}: stopped at the first contact, which begins anew at the next visit")
        moment = None
        if isinstance(got, Spool):
            with closing(got):
                moment = came_at(got.getvalue())
        undated += moment is None
        if moment is not None and moment < since:
            old.append(entry)
    if undated:
        trace.first_contact_blind(account=name, messages=undated, reason="no date that can be read, or TOP was refused")
    return old
