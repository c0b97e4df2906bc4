"""An operator's look into a maildrop: list it, read a message, delete by UIDL. The archive is not touched."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from daemon import errors
from daemon.jobs import session
from daemon.jobs.context import Context
from daemon.mail.account import Account
from daemon.mail.maildrop import Entry, Listing
from daemon.pop3.client import Client, Refused
from daemon.pop3.retention import Expire
from daemon.wire.spool import Spool

SESSION_SECONDS: Final = 15 * 60.0  # a person waits for it; whatever the server does, it ends


@contextmanager
def visiting(account: Account, context: Context, *, retrieves: bool = False) -> Iterator[Client]:
    """Log in, hand out the client, say QUIT; the transcript of a failure is logged.

    retrieves: a message is read that must stay: a server that deletes such ones at QUIT (EXPIRE 0) hears none.
    """
    if account.pop3 is None:
        raise errors.InputInvalid(f"{account.name}: this account has no POP3 settings")
    pop3, transcript = account.pop3, context.transcript(account.name)
    try:
        deadline = context.monotonic() + SESSION_SECONDS
        with session.maildrop(
            pop3, context, transcript=transcript, deadline=deadline, progress=context.pulse
        ) as client:
            yield client
            expire = Expire.parse(client.capabilities.expire)
            if not (retrieves and expire is not None and expire.is_at_quit):
                client.quit()
    except (errors.WireError, errors.Pop3Error):
        context.kept(transcript)
        raise


def listing(account: Account, context: Context) -> Listing:
    """Return what the server lists now."""
    with visiting(account, context) as client:
        return client.listing()


def top(account: Account, which: str, lines: int, context: Context) -> bytes:
    """Return the header section and the first lines of a body (TOP). which: a UIDL, or `#12` for a message number."""
    with visiting(account, context) as client:
        return _octets(client.top(_find(client.listing(), which).number, lines))


def show(account: Account, which: str, context: Context) -> bytes:
    """Return a whole message as the server has it (RETR), without archiving it. which: as in `top`."""
    with visiting(account, context, retrieves=True) as client:
        _entry, got = next(iter(client.retrieve([_find(client.listing(), which)])))
        if isinstance(got, Refused):
            raise errors.CommandRefused(reply=got.reply)
        return _octets(got)


def delete(account: Account, uidls: Sequence[str], context: Context) -> list[str]:
    """Delete messages on the server by UIDL, all or none; return the UIDLs that are gone.

    Each is looked up in a listing made in this very session (message numbers change between sessions). One that is missing
    or not unique, or a DELE that is refused, makes it RSET: nothing is deleted, and InputInvalid or CommandRefused says why.
    """
    with visiting(account, context) as client:
        numbers: dict[int, str] = {}
        present = client.listing()
        try:
            for uidl in uidls:
                numbers[_find(present, uidl).number] = uidl
            _delete(client, numbers)
        except (errors.InputInvalid, errors.CommandRefused) as error:
            client.reset()
            client.quit()
            raise type(error)(f"{error}; RSET was sent, nothing was deleted") from error
    return list(numbers.values())


def _delete(client: Client, numbers: dict[int, str]) -> None:
    for number, refused in client.delete(sorted(numbers)):
        if refused is not None:
            raise errors.CommandRefused(f"{numbers[number]}: {refused.reply}")


def _find(present: Listing, which: str) -> Entry:
    if which.startswith("#") and which[1:].isdigit():
        found = [entry for entry in present.entries if entry.number == int(which[1:])]
    else:
        found = [entry for entry in present.entries if entry.uidl == which]
    if not found:
        raise errors.InputInvalid(f"{which}: not in the maildrop ({present.count} messages are)")
    if len(found) > 1:
        raise errors.InputInvalid(f"{which}: {len(found)} messages have this UIDL, so it names none")
    return found[0]


def _octets(spool: Spool) -> bytes:
    with closing(spool):
        return spool.getvalue()
