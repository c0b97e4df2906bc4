"""What each database says of itself: how large it is, and whether its pages, indexes and references are sound."""

from collections.abc import Iterator

from sqlalchemy import Connection

from daemon.store.dialect.types import SQLITE


def faults(conn: Connection) -> Iterator[str]:
    """Give a line for everything that is wrong, none if all is well.

    SQLite reads the whole file: each page, index and constraint, the search index (FTS5), and then the references, which
    programs may break that do not switch foreign keys on. PostgreSQL never takes a wrong reference, and checks pages as it reads
    them; it counts those that failed, where the cluster has data checksums.
    """
    if conn.dialect.name == SQLITE:
        yield from (line for (line,) in conn.exec_driver_sql("PRAGMA integrity_check") if line != "ok")
        for table, row, parent, _ in conn.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{table}: row {row} points at a row of {parent} that is not there"
        return
    statement = "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
    failures = conn.exec_driver_sql(statement).scalar() or 0
    if failures:
        yield f"{failures} pages failed their checksums since the statistics were reset"


def octets(conn: Connection) -> tuple[int, int]:
    """Give the octets of the whole database, and those of them that hold nothing (PostgreSQL does not say)."""
    if conn.dialect.name == SQLITE:
        pages, free, page = (
            int(conn.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
        return pages * page, free * page
    return int(conn.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()), 0
