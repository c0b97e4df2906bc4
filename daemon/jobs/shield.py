"""When a server changes its UIDLs: prove by header sections (TOP) that the messages are the old ones, or hold the account.

`examine` stands between the ledger and the plan. If nearly nothing of what should be in the maildrop is listed, and much is
listed under unknown names, it compares a sample; if that agrees, all, and moves the rows of the ledger to the new names:
nothing is fetched, nothing stored. Whatever can't be compared without doubt is new mail. If the sample does not agree, or
can't be taken, the account is held: nothing is fetched and nothing deleted until the old names are back, or
`postroom maildrop accept`. No transaction is open while the socket is waited on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from daemon import errors, trace
from daemon.jobs.context import Context
from daemon.mail.maildrop import Entry, Known, Listing
from daemon.pop3 import identity
from daemon.pop3.client import Client
from daemon.pop3.identity import Assessment, Verdict
from daemon.store import ledger, relink, sources
from daemon.store.database import Database
from daemon.wire.spool import Spool

COMPARED_LEAST: Final = 3  # equal header sections prove a maildrop; below that, chance or a mailing list could
# Of 10 compared, 9 must be equal: in another mailbox none is, and a new letter may be as large as one that left.
EQUAL_TENTHS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What the plan may start from.

    known: the ledger, as it is now.  moved: ids of rows that were given new names in this visit; their messages are not
    deleted in it. Deletion begins at the next one, which finds them under these names again.
    """

    known: list[Known]
    moved: frozenset[int] = frozenset()


def examine(
    client: Client,
    context: Context,
    account: str,
    listing: Listing,
    known: list[Known],
    occurrences: Mapping[int, int],
    standing: relink.Standing,
) -> Examined:
    """Let a healthy maildrop through, mend the ledger where a reset is proven, raise MaildropChanged where it is not.

    occurrences: of equal UIDLs in this listing, by message number.  standing: read together with `known`.
    """
    database, now = context.database, context.clock()
    found = identity.assess(listing, known)
    if found.verdict is not Verdict.RESET or standing.accepted_at is not None:
        if standing.held_since is not None or standing.accepted_at is not None:
            known = _release(database, account, found, now)
        back = None if standing.accepted_at is not None else identity.returning(found, known)
        moves = _moves(client, database, back, occurrences) if back is not None else []
        return _moved(database, account, moves, known, now)

    moves = _moves(client, database, found, occurrences)
    names = {one.ledger: one.uidl for one in moves}
    renamed = [row._replace(uidl=names.get(row.id, row.uidl)) for row in known]
    # Some that are the same are not enough: all others would be fetched as if they were new.
    if moves and not identity.assess(listing, renamed).is_mostly_other:
        return _moved(database, account, moves, known, now)

    # Messages that we asked to delete, without an answer to QUIT, need not be there.
    with database.reading() as conn:
        undecided = relink.undecided(conn, account)
    if identity.assess(listing, [row for row in known if row.id not in undecided]).verdict is not Verdict.RESET:
        return Examined(known=_release(database, account, found, now))
    error = _changed(client.peer, account, listing, found)
    with database.transaction() as tx:
        relink.hold(tx, account, str(error), now)
    client.quit()
    raise error


def _moved(database: Database, account: str, moves: list[relink.Move], known: list[Known], now: datetime) -> Examined:
    """Give the rows their new names, which ends a hold; read the ledger anew if there are any."""
    if not moves:
        return Examined(known=known)
    with database.transaction() as tx:
        relink.move(tx, account, moves, now)
        relink.release(tx, account)
    trace.uidls_changed(account=account, messages=len(moves))
    with database.reading() as conn:
        return Examined(known=ledger.known(conn, account), moved=frozenset(one.ledger for one in moves))


def _release(database: Database, account: str, found: Assessment, now: datetime) -> list[Known]:
    """End any hold. What is missing after a reset is gone, in the same transaction: it is not expected again."""
    with database.transaction() as tx:
        if found.verdict is Verdict.RESET:
            ledger.gone(tx, [row.id for row in found.missing], now)
        relink.release(tx, account)
    with database.reading() as conn:
        return ledger.known(conn, account)


def _changed(peer: str, account: str, listing: Listing, found: Assessment) -> errors.MaildropChanged:
    still = found.expected - len(found.missing)
    return errors.MaildropChanged(
        f"{peer}: the maildrop holds {listing.count} messages and {still or 'none'} of the {found.expected} that were there: "
        f"the server changed, or it is another mailbox; nothing is fetched or deleted; look with `postroom maildrop list {account}`, "
        f"then `postroom maildrop accept {account}` to fetch them all, or mend HOST or USERNAME"
    )


# --- comparing ------------------------------------------------------------------------------------------------------


def _moves(client: Client, database: Database, found: Assessment, occurrences: Mapping[int, int]) -> list[relink.Move]:
    """Find the rows whose messages are listed under new names; none if a sample of them says that they are others."""
    sample = identity.sample(found)
    if not client.capabilities.top or len(sample) < COMPARED_LEAST:
        return []
    rows = identity.comparable(found.missing)
    sizes = {entry.octets for entry in sample}
    archived = _archived(database, [row for row in rows if row.octets in sizes])
    there = {(row.octets, digest) for row, digest in archived}
    shown = _shown(client, sample)
    equal = sum((entry.octets, digest) in there for entry, digest in shown)
    if equal < COMPARED_LEAST or equal * 10 < len(shown) * EQUAL_TENTHS:
        return []
    sizes = {row.octets for row in rows}
    asked = {entry.number for entry in sample}
    rest = [one for one in found.unknown if one.uidl is not None and one.octets in sizes and one.number not in asked]
    archived = _archived(database, rows)
    pairs = identity.matches(shown + _shown(client, rest), archived)
    return [
        relink.Move(ledger=key, uidl=entry.uidl, occurrence=occurrences.get(entry.number, 0))
        for key, entry in pairs.items()
        if entry.uidl is not None
    ]


def confirm_returned(client: Client, database: Database, pairs: Sequence[tuple[Entry, Known]]) -> set[int]:
    """Give the ids of rows whose messages, gone once, are really those listed under their names now; none without TOP."""
    if not pairs or not client.capabilities.top:
        return set()
    archived = dict(_archived(database, [row for _entry, row in pairs if row.message is not None]))
    shown = dict(_shown(client, [entry for entry, row in pairs if row in archived]))
    return {row.id for entry, row in pairs if row in archived and archived[row] == shown.get(entry)}


def _shown(client: Client, entries: Collection[Entry]) -> list[tuple[Entry, str]]:
    """Ask for header sections; give the digests of those that identify their message."""
    found: list[tuple[Entry, str]] = []
    for entry, got in client.tops(entries, 0):
        if isinstance(got, Spool):
            with got:
                digest = identity.digest(next(got.pieces(identity.HEADER_OCTETS), b""))
            if digest is not None:
                found.append((entry, digest))
    return found


def _archived(database: Database, rows: Sequence[Known]) -> list[tuple[Known, str]]:
    """Read the header sections of archived messages; give the digests of those that identify their message."""
    messages = sorted({row.message for row in rows if row.message is not None})
    with database.reading() as conn:
        heads = sources.heads(conn, messages, identity.HEADER_OCTETS)
        digests = {message: identity.digest(head) for message, head in heads}
    found = [(row, digests.get(row.message or 0)) for row in rows]
    return [(row, digest) for row, digest in found if digest is not None]
