"""Migrations build exactly the schema, whole or not at all, and keep what is there."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.store import schema, upgrade
from daemon.store.database import Database
from daemon.store.dialect import engine, fulltext, triggers
from tests.servers.postgres import Cluster


def build(database: Database) -> None:
    """Build from the models and the lists of statements, without migrations."""
    with database.transaction() as tx:
        schema.METADATA.create_all(tx)
        engine.run(tx, (*fulltext.OBJECTS[database.kind], *triggers.create(database.kind)))


def sqlite_schema(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: "".join(sql.split()) for name, sql in rows if upgrade.VERSION_TABLE not in name}


def test_migrations_build_the_schema_on_sqlite(tmp_path: Path, sqlite_template: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/built.db")
    build(database)
    database.dispose()
    assert sqlite_schema(tmp_path / "built.db") == sqlite_schema(sqlite_template)


@pytest.mark.servers
def test_migrations_build_the_schema_on_postgresql(cluster: Cluster, postgresql_template: str) -> None:
    cluster.sql("CREATE DATABASE built")
    database = Database(cluster.url("built"))
    build(database)
    with database.transaction() as tx:
        tx.exec_driver_sql(
            f"CREATE TABLE {upgrade.VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {upgrade.VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
    database.dispose()

    def dumped(name: str) -> list[str]:
        return [line for line in cluster.dump_schema(name).splitlines() if not line.startswith("\\")]

    assert dumped("built") == dumped(postgresql_template)


def test_an_upgrade_says_what_it_did_and_does_it_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.db")
    assert None is upgrade.current(database)
    assert (None, upgrade.head()) == upgrade.upgrade(database)
    assert (upgrade.head(), upgrade.head()) == upgrade.upgrade(database)
    upgrade.require_current(database)
    database.dispose()


def test_head_is_what_alembic_calls_head() -> None:
    from alembic.script import ScriptDirectory

    assert [upgrade.head()] == ScriptDirectory(str(upgrade.migrations())).get_heads()


def test_a_change_of_the_triggers_comes_with_a_migration() -> None:
    """Databases get new triggers only when a migration runs. After a release: add one. Before: write the new digest."""
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory(str(upgrade.migrations())).get_revision("head")
    assert newest is not None
    assert {kind: triggers.digest(kind) for kind in ("sqlite", "postgresql")} == newest.module.TRIGGERS


def test_an_upgrade_of_a_current_database_keeps_its_rows(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, subject) VALUES ('bob@example.net', 'kept')"))
    upgrade.upgrade(database)
    with database.reading() as conn:
        assert ["kept"] == list(conn.execute(text("SELECT subject FROM outbox")).scalars())


def test_an_upgrade_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(triggers.TRIGGERS["sqlite"], "trigger broken", "CREATE TRIGGER broken")
    database = Database(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(errors.StoreError):
        upgrade.upgrade(database)
    database.dispose()
    assert {} == sqlite_schema(tmp_path / "new.db")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("CREATE TABLE accounts (id INTEGER)", "a database of its own"),
        (f"CREATE TABLE {upgrade.VERSION_TABLE} AS SELECT '9999' AS version_num", "newer"),
        ("SELECT 1", "postroom db upgrade"),
    ],
)
def test_a_database_of_another_kind_or_version_is_refused(tmp_path: Path, prepare: str, said: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(prepare)
    connection.close()
    database = Database(f"sqlite:///{path}")
    with pytest.raises(errors.DatabaseUnusable, match=said):
        upgrade.require_current(database)
    database.dispose()
