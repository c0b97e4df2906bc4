"""How a verb gets at the settings and the archive.

Verbs that only look open the database themselves, without `app`: it composes the whole daemon, and loading that would make
a quick look slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon import errors

if TYPE_CHECKING:
    from daemon.mail.account import Account
    from daemon.settings import Settings
    from daemon.store.database import Database


def settings() -> Settings:
    """Read the settings of this process."""
    from daemon.settings import load

    return load()


def version() -> str:
    """Return the version of the installed distribution."""
    from importlib import metadata

    return metadata.version("postroom")


@contextmanager
def archive(loaded: Settings | None = None, *, make: bool = False) -> Iterator[Database]:
    """Open a database that is current; one that is not there is made, or DatabaseUnusable says how to."""
    from daemon.store import upgrade
    from daemon.store.database import Database

    database = Database((loaded or settings()).database_url)
    try:
        if not database.exists() and make:
            upgrade.upgrade(database)
        elif not database.exists():
            raise errors.DatabaseUnusable(
                f"{database.shown} does not exist yet; `postroom run` or `postroom db upgrade` makes it"
            )
        upgrade.require_current(database)
        yield database
    finally:
        database.dispose()


@contextmanager
def working(loaded: Settings) -> Iterator[Database]:
    """Open the database for work with servers; a new one is made."""
    from daemon import app

    if loaded.trace == "all" or loaded.log_level == "debug":
        app.configure_trace(loaded)  # else these verbs speak for themselves
    database = app.open_database(loaded)
    try:
        yield database
    finally:
        database.dispose()


def account(loaded: Settings, name: str) -> Account:
    """Return the account of that name; NotFound names those that there are, and the one that was probably meant."""
    return accounts(loaded, [name])[0]


def accounts(loaded: Settings, names: Sequence[str]) -> list[Account]:
    """Return the accounts of these names, whatever their case."""
    from daemon.notation import closest

    for name in names:
        if name.lower() not in loaded.accounts:
            meant = closest(name.lower(), loaded.accounts)
            there = f"did you mean {meant}?" if meant else f"there are: {', '.join(loaded.accounts) or 'none'}"
            raise errors.NotFound(f"no account {name!r} in the settings; {there}")
    return [loaded.accounts[name.lower()] for name in names]


def require_accounts(loaded: Settings, kind: str) -> None:
    """Refuse to do nothing in silence: SettingsInvalid if no account has what the verb needs. kind: `pop3` or `smtp`."""
    if any(getattr(one, kind) for one in loaded.accounts.values()):
        return
    name = f"POSTROOM_ACCOUNTS__<NAME>__{kind.upper()}__HOST"
    raise errors.SettingsInvalid(
        (f"no account has {kind.upper()}: set {name} and what belongs to it (see .env.example), or copy that to .env",)
    )
