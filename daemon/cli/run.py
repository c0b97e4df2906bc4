"""`postroom run`: the daemon."""

import click

from daemon.cli import house


@click.command()
def run() -> None:
    """Be the daemon: fetch, send and index until SIGTERM.

    Migrates the database first. Speaks on stderr (POSTROOM_LOG_FORMAT), and to systemd where that started it. A second one
    on the same SQLite database is refused.
    """
    loaded = house.settings()
    if not loaded.accounts:
        house.require_accounts(loaded, "pop3")
    from daemon import app

    app.run(loaded)
