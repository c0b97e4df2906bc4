"""Addresses that are never sent to, in whatever way they are spelled."""

from datetime import datetime

from daemon.store import suppression
from daemon.store.database import Database


def test_an_address_is_known_in_every_spelling(database: Database, now: datetime) -> None:
    with database.transaction() as tx:
        assert ["bob@example.net", "x@xn--bcher-kva.example"] == suppression.add(
            tx, ["Bob@EXAMPLE.net", "X@bücher.example", "bob@example.net"], now=now, reason="left"
        )
        assert [] == suppression.add(tx, ["BOB@example.net"], now=now)
        given = ["BOB@Example.NET", "x@XN--BCHER-KVA.example", "carol@example.net", "no address"]
        assert {"BOB@Example.NET": "left", "x@XN--BCHER-KVA.example": "left"} == suppression.among(tx, given)
        assert ["bob@example.net"] == suppression.remove(tx, ["boB@example.net", "carol@example.net"])
        assert ["x@xn--bcher-kva.example"] == [row.address for row in suppression.listing(tx)]


def test_many_are_looked_up_at_once(database: Database, now: datetime) -> None:
    many = [f"r{number}@example.net" for number in range(1200)]
    with database.transaction() as tx:
        suppression.add(tx, many[::2], now=now)
        assert many[::2] == list(suppression.among(tx, many))
        assert {} == suppression.among(tx, [])
