"""Python's client of the contract: see ../clients.py for what comes in and goes out."""

import sqlite3
import sys
from typing import Any

import psycopg


def connect(kind: str, place: str, name: str) -> Any:
    """Open the database as a program would, each statement a transaction of its own."""
    if kind == "sqlite":
        return sqlite3.connect(place, timeout=60, isolation_level=None)
    return psycopg.connect(host=place, dbname=name, user="postgres", autocommit=True)


def value(given: str) -> Any:
    """Read one parameter."""
    if given[0] == "n":
        return None
    octets = bytes.fromhex(given[1:])
    return octets if given[0] == "b" else int(octets) if given[0] == "i" else octets.decode()


def shown(cell: object) -> str:
    """Write one cell."""
    return "-" if cell is None else str(cell).encode().hex()


kind, place, name = sys.argv[1:]
database = connect(kind, place, name)
for line in sys.stdin:
    statement, *parameters = line.rstrip("\n").split("\t")
    sql = bytes.fromhex(statement).decode()
    try:
        cursor = database.execute(
            sql if kind == "sqlite" else sql.replace("?", "%s"), [value(one) for one in parameters]
        )
        rows = cursor.fetchall() if cursor.description else []
        sys.stdout.write("ok" + "".join("\t" + ",".join(map(shown, row)) for row in rows) + "\n")
    except (sqlite3.Error, psycopg.Error) as error:
        sys.stdout.write("no\t" + str(error).encode().hex() + "\n")
