"""Texts that one database can hold and the other, or Python, can't."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, LargeBinary, Table, cast, select

from daemon.store.dialect.types import SQLITE

REPLACED = "\ufffd"  # what the connection reads in place of octets that are not UTF-8


def storable(text: str) -> str:
    """Make a text of the network fit for a column: no NUL, which PostgreSQL refuses, and no lone surrogates."""
    return text.replace("\x00", REPLACED).encode("utf-8", "replace").decode()


def is_doubtful(values: Iterable[Any]) -> bool:
    """Tell whether a text among them may not be as it was written: `exact` finds out."""
    for value in values:  # asked of every row that is sent: a generator would take as long again
        if (isinstance(value, str) and REPLACED in value) or (isinstance(value, dict) and REPLACED in str(value)):
            return True
    return False


def exact(conn: Connection, table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Read anew the texts of a row, `id` among them, that an SQLite client wrote in another encoding than UTF-8.

    Their octets come as lone surrogates, so that whoever makes a letter of them notices and says so; sent as they are
    read by default they would reach the recipient damaged and unremarked.
    """
    doubtful = [name for name, value in row.items() if isinstance(value, str | dict) and REPLACED in str(value)]
    if not doubtful or conn.dialect.name != SQLITE:
        return row
    columns = [cast(table.c[name], LargeBinary).label(name) for name in doubtful]
    octets = conn.execute(select(*columns).where(table.c.id == row["id"])).one()._asdict()
    read = {name: value.decode("utf-8", "surrogateescape") for name, value in octets.items()}
    return row | {name: json.loads(value) if isinstance(row[name], dict) else value for name, value in read.items()}
