"""The keys that this database signs with, made at first use: they belong to its rows, and go where it goes.

Whoever reads the database has read the mail, and whoever writes it needs no forged report; so a key is as safe here as
what it protects. Never logged.
"""

import secrets
from typing import Final

from sqlalchemy import Connection, select

from daemon.store.dialect import statements
from daemon.store.schema import keys

KEY_OCTETS: Final = 32  # of HMAC-SHA-256
RETURN_PATH: Final = "return path"


def return_path(conn: Connection) -> bytes | None:
    """Give the key of VERP addresses and envelope ids; None if none was made, so nothing was ever signed."""
    found: bytes | None = conn.execute(select(keys.c.secret).where(keys.c.name == RETURN_PATH)).scalar()
    return found


def make_return_path(tx: Connection) -> bytes:
    """Give it, made if there is none; of two who make it at once, one's stays."""
    found = return_path(tx)
    if found is None:
        made = {"name": RETURN_PATH, "secret": secrets.token_bytes(KEY_OCTETS)}
        tx.execute(statements.insert_missing(tx, keys), made)
        found = tx.execute(select(keys.c.secret).where(keys.c.name == RETURN_PATH)).scalar_one()
    return found
