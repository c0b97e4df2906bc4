"""Bring a database to the schema of this version: Alembic, run from the migrations that the package carries.

Everything that is pending is done in one transaction, on both databases: a process killed in the middle leaves the old
version whole, and two that start at once wait for one another. A database of a newer version is never touched.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text

from daemon import errors
from daemon.store import exchange
from daemon.store.database import Database
from daemon.store.dialect.types import SQLITE

VERSION_TABLE: Final = "postroom_version"
OURS: Final = "accounts"  # stands in every version; a database that has it and no version table is somebody else's


def migrations() -> Path:
    """Find the migrations: in the installed package, or beside it in a checkout (an editable install has no copies)."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_migrations", package.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise errors.DatabaseUnusable(f"the migrations are missing from the installation at {package}")


def _config(**attributes: Any) -> Any:
    from alembic.config import Config  # noqa: PLC0415 -- slow to load, and rarely needed

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def head() -> str:
    """Name the newest revision that this version knows."""
    # The file names tell it: loading Alembic takes longer than most commands.
    return max(path.name.partition("_")[0] for path in (migrations() / "versions").glob("[0-9]*.py"))


def current(database: Database) -> str | None:
    """Name the revision of a database, None for an empty one; DatabaseUnusable if it is not ours."""
    with database.reading() as conn:
        return _current(conn, database)


def revision(conn: Connection) -> str | None:
    """Name the revision that a database says it has, None if it says nothing."""
    if VERSION_TABLE not in inspect(conn).get_table_names():
        return None
    found: str | None = conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608 -- a constant
    return found


def _current(conn: Connection, database: Database) -> str | None:
    found = revision(conn)
    if found is None and OURS in inspect(conn).get_table_names():
        raise errors.DatabaseUnusable(
            f"{database.shown} has a table {OURS!r} that is not postroom's; give postroom a database of its own"
        )
    return found


def require_current(database: Database) -> None:
    """Raise DatabaseUnusable unless the schema is of this version; the message says what to do."""
    found = current(database)
    if found == head():
        return
    if found is None:
        raise errors.DatabaseUnusable(f"{database.shown} is empty; `postroom db upgrade` makes its tables")
    refuse_newer(database.shown, found)
    raise errors.DatabaseUnusable(
        f"{database.shown} is at revision {found}, this version needs {head()}: run `postroom db upgrade`"
    )


def refuse_newer(shown: str, found: str) -> None:
    """Raise DatabaseUnusable for a revision that a newer version has made. shown: whose it is."""
    known = {path.name.partition("_")[0] for path in (migrations() / "versions").glob("[0-9]*.py")}
    if found not in known:
        raise errors.DatabaseUnusable(
            f"{shown} is at revision {found}, which this version of postroom does not know (its newest is {head()}): "
            "it was upgraded by a newer one; use that"
        )


def copy_before(database: Database, directory: Path, now: datetime) -> Path | None:
    """Copy an SQLite database that `upgrade` is going to change; None where it is not, or is another's business (PostgreSQL).

    now: for the name of the copy, which also holds the revision.
    """
    if database.kind != SQLITE or not database.exists():
        return None
    found = current(database)
    if found in {None, head()}:
        return None
    copy = directory / f"postroom-{found}-{now:%Y%m%dT%H%M%SZ}.db"
    try:
        database.copy(copy)
        exchange.synced(copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return copy


def upgrade(database: Database) -> tuple[str | None, str]:
    """Migrate to the newest revision; give the revisions before and after."""
    before = current(database)
    if before == head():
        return before, before
    if before is not None:
        refuse_newer(database.shown, before)
    from alembic import command  # noqa: PLC0415 -- slow to load, and rarely needed

    with database.migrating() as conn:
        command.upgrade(_config(connection=conn), "head")
    return before, head()
