"""Names for the messages of a listing, where the server gives none.

A server without UIDL is asked for header sections instead (TOP): their hash and the size are the name. It stays the same
while message numbers change from session to session. A server without TOP too leaves its messages nameless: they are
fetched, and known by the hash of their content.
"""

from collections import Counter
from dataclasses import replace

from daemon.mail.maildrop import Listing
from daemon.pop3.client import Client
from daemon.wire.spool import Spool


def named(client: Client, listing: Listing) -> Listing:
    """Give every message a name that can be had without fetching it."""
    nameless = [entry for entry in listing.entries if entry.uidl is None]
    names: dict[int, str] = {}
    if nameless and client.capabilities.top:
        for entry, header in client.tops(nameless, 0):
            if isinstance(header, Spool):
                names[entry.number] = f"top:{header.sha256}:{entry.octets}"
                header.close()
    if not names:
        return listing
    entries = tuple(one._replace(uidl=names.get(one.number, one.uidl)) for one in listing.entries)
    return replace(listing, entries=entries)


def occurrences(listing: Listing) -> dict[int, int]:
    """Count equal UIDLs from 0, by message number: a server may list one twice."""
    if len({entry.uidl for entry in listing.entries}) == len(listing.entries):
        return {}  # no twins
    counts: Counter[str] = Counter()
    found: dict[int, int] = {}
    for entry in listing.entries:
        if entry.uidl is not None:
            found[entry.number] = counts[entry.uidl]
            counts[entry.uidl] += 1
    return found
