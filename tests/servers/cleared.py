"""One PostgreSQL database for test after test: emptied between them, and made anew after a test that changed its schema.

A database of each test's own costs some 60 ms of CPU, most of it the kernel's, for three hundred files and two checkpoints;
emptying one costs ten.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from tests.servers.postgres import Cluster

# Whatever a test may change besides rows. TRUNCATE gives tables new files: of pg_class only the columns that say nothing of
# them count. xmin tells every other change, as that of a trigger that was disabled.
_SCHEMA: Final = sql.SQL("""
    SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
        SELECT concat_ws(' ', 'c', oid, relname, relkind, relchecks, relnatts, relhasrules, relhastriggers, relacl, reloptions) AS line
            FROM pg_class WHERE relnamespace >= {ours} OR relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', 'a', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid >= {ours}
        UNION ALL SELECT concat_ws(' ', 'd', oid, xmin) FROM pg_attrdef
        UNION ALL SELECT concat_ws(' ', 'i', indexrelid, xmin) FROM pg_index WHERE indrelid >= {ours}
        UNION ALL SELECT concat_ws(' ', 'k', oid, xmin) FROM pg_constraint WHERE oid >= {ours}
        UNION ALL SELECT concat_ws(' ', 'p', oid, xmin) FROM pg_proc WHERE oid >= {ours}
        UNION ALL SELECT concat_ws(' ', 's', seqrelid, xmin) FROM pg_sequence
        UNION ALL SELECT concat_ws(' ', 't', oid, xmin) FROM pg_trigger
        UNION ALL SELECT concat_ws(' ', 'y', oid, xmin) FROM pg_type WHERE oid >= {ours}
        UNION ALL SELECT concat_ws(' ', 'r', oid, xmin) FROM pg_rewrite WHERE oid >= {ours}
        UNION ALL SELECT concat_ws(' ', 'n', oid, xmin) FROM pg_namespace
        UNION ALL SELECT concat_ws(' ', 'x', oid, xmin) FROM pg_extension
        UNION ALL SELECT concat_ws(' ', 'g', setdatabase, setrole, setconfig) FROM pg_db_role_setting
        UNION ALL SELECT concat_ws(' ', 'v', version_num) FROM postroom_version
    ) AS lines""").format(ours=sql.Literal(16384))  # the first oid that is not PostgreSQL's own

_WRITTEN: Final = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'postroom_version' AND pg_relation_size(oid) > 0"""

# A row that a trigger refused took its number, too, and left its table without a page.
_SEQUENCES: Final = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL"

_CUT_OFF: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Cleared:
    """A copy of the template that is as new in each `lent()` block."""

    def __init__(self, cluster: Cluster, template: str, name: str) -> None:
        self._cluster, self._template, self._name = cluster, template, name
        self._connection: psycopg.Connection | None = None
        self._schema = ""

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Hand out the URL; whoever is still connected at the end is cut off, as by DROP DATABASE ... WITH (FORCE)."""
        if self._connection is None:
            self._make()
        try:
            yield self._cluster.url(self._name)
        finally:
            self._clear()

    def close(self) -> None:
        """Close our own connection; the cluster's end takes the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _make(self) -> None:
        # file_copy: a third less CPU than the default, which writes every page to the log.
        with self._cluster.connect() as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self._name)))
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            server.execute(statement.format(sql.Identifier(self._name), sql.Identifier(self._template)))
        self._connection = self._cluster.connect(self._name)
        # No trigger of ours has a say in the clearing.
        self._connection.execute("SET session_replication_role = replica")
        self._schema = self._digest()

    def _digest(self) -> str:
        assert self._connection is not None
        row = self._connection.execute(_SCHEMA).fetchone()
        assert row is not None
        return str(row[0])

    def _clear(self) -> None:
        assert self._connection is not None
        try:
            while self._connection.execute(_CUT_OFF).rowcount:
                time.sleep(0.001)  # pg_terminate_backend's own waiting looks every 100 ms only
            if self._digest() == self._schema:
                if tables := [row[0] for row in self._connection.execute(_WRITTEN)]:
                    self._connection.execute(f"TRUNCATE {', '.join(tables)} CASCADE".encode())
                self._connection.execute(_SEQUENCES)
                return
        except psycopg.Error:  # the test has cut this connection too, or taken the version table away
            pass
        self.close()
