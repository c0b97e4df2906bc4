"""Migrations build exactly the schema, whole or not at all, and keep what is there."""

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon import errors
from daemon.mail import parse
from daemon.store import archive, schema, search, sources, upgrade
from daemon.store.database import Database
from daemon.store.dialect import engine, fulltext, triggers, views
from daemon.wire.spool import Spool
from tests.servers.postgres import Cluster

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def build(database: Database) -> None:
    """Build from the models and the lists of statements, without migrations."""
    with database.transaction() as tx:
        schema.METADATA.create_all(tx)
        made_anew = (*triggers.create(database.kind), *views.create(database.kind))
        engine.run(tx, (*fulltext.OBJECTS[database.kind], *made_anew))


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


def test_a_change_of_triggers_or_views_comes_with_a_migration() -> None:
    """Databases get new ones only when a migration runs. After a release: add one. Before: write the new digest."""
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory(str(upgrade.migrations())).get_revision("head")
    assert newest is not None
    assert {kind: triggers.digest(kind) for kind in ("sqlite", "postgresql")} == newest.module.TRIGGERS
    assert {kind: views.digest(kind) for kind in ("sqlite", "postgresql")} == newest.module.VIEWS


def test_an_upgrade_of_a_current_database_keeps_its_rows(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, subject) VALUES ('bob@example.net', 'kept')"))
    upgrade.upgrade(database)
    with database.reading() as conn:
        assert ["kept"] == list(conn.execute(text("SELECT subject FROM outbox")).scalars())


PROBE = """
import sqlalchemy as sa
from alembic import op
from daemon.store.dialect.types import Octets

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    # The hardest kind: SQLite makes the table anew, which drops its triggers and, with foreign keys on, its children's rows.
    # A column of type ANY is reflected as NUMERIC, so its type is said here.
    how = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("outbox", recreate=how, reflect_args=[sa.Column("raw", Octets())]) as batch:
        batch.add_column(sa.Column("probe", sa.Text()))
"""


def test_an_upgrade_from_an_older_version_keeps_rows_triggers_and_search(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (id, recipients, subject) VALUES (7, 'bob@example.net', 'kept')"))
        tx.execute(text("INSERT INTO outbox_attachments (outbox_id, filename, content) VALUES (7, 'a.txt', 'octets')"))
        tx.execute(
            text("INSERT INTO outbox_recipients (outbox_id, address, field) VALUES (7, 'bob@example.net', 'to')")
        )
        (filed,) = archive.add(
            tx, "home", [archive.Incoming(uidl="u", spool=Spool.of(b"Subject: x\r\n\r\nkettle\r\n"))], NOW
        )
        archive.write_parsed(tx, filed.message, parse.parse(b"Subject: x\r\n\r\nkettle\r\n"), 1, NOW)
    shutil.copytree(upgrade.migrations(), tmp_path / "newer")
    (tmp_path / "newer/versions/0002_probe.py").write_text(PROBE, encoding="utf-8")
    monkeypatch.setattr(upgrade, "migrations", lambda: tmp_path / "newer")

    with pytest.raises(errors.DatabaseUnusable, match="postroom db upgrade"):
        upgrade.require_current(database)
    assert ("0001", "0002") == upgrade.upgrade(database)

    with database.reading() as conn:
        assert (7, "kept", "queued", None) == tuple(
            conn.execute(text("SELECT id, subject, status, probe FROM outbox")).one()
        )
        assert ["a.txt"] == list(conn.execute(text("SELECT filename FROM outbox_attachments")).scalars())
        assert ["bob@example.net"] == list(conn.execute(text("SELECT address FROM outbox_recipients")).scalars())
        assert [filed.message] == search.ids(conn, "kettle", account=None)
        assert {filed.message} == sources.proven(conn, [filed.message])
    with pytest.raises(errors.RowRefused, match=r"outbox\.recipients"), database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox (recipients, subject) VALUES ('', 'x')"))
    with pytest.raises(errors.StoreError), database.transaction() as tx:
        tx.execute(text("INSERT INTO outbox_recipients (outbox_id, address, field) VALUES (99, 'a@example.net', 'to')"))


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


# --- the copy before a migration ------------------------------------------------------------------------------------


def test_what_is_to_be_migrated_is_copied_first_and_nothing_else(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite_url)
    with database.transaction() as tx:
        tx.exec_driver_sql("INSERT INTO outbox (recipients, body) VALUES ('bob@example.net', 'kept')")
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert upgrade.copy_before(database, tmp_path, now) is None
    before = upgrade.head()
    monkeypatch.setattr(upgrade, "head", lambda: "9999")
    copy = upgrade.copy_before(database, tmp_path, now)
    assert tmp_path / f"postroom-{before}-20261123T120000Z.db" == copy
    database.dispose()
    copied = Database(f"sqlite:///{copy}")
    with copied.reading() as conn:
        assert "kept" == conn.exec_driver_sql("SELECT body FROM outbox").scalar()
    copied.dispose()


def test_a_copy_that_can_t_be_made_leaves_nothing_and_says_where(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "head", lambda: "9999")
    database = Database(sqlite_url)
    with pytest.raises(errors.DatabaseUnusable, match="nowhere"):
        upgrade.copy_before(database, tmp_path / "nowhere", datetime(2026, 11, 23, tzinfo=UTC))
    database.dispose()
