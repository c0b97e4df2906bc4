"""Run migrations on the connection, and in the transaction, that `daemon/store/upgrade.py` hands over.

There is no alembic.ini. For a new revision: copy `script.py.mako`'s shape by hand as `versions/NNNN_what.py`; its number is
its revision. Triggers and views are taken away before the migrations and made anew after them, from the lists in
`daemon/store/dialect/triggers.py` and `views.py`: a rebuilt table on SQLite loses its triggers silently, and a view that is
in the way stops a change of its tables on both.
"""

from alembic import context

from daemon.store.dialect import engine, triggers, views
from daemon.store.schema import METADATA
from daemon.store.upgrade import VERSION_TABLE

connection = context.config.attributes["connection"]
kind = connection.dialect.name

if kind == "postgresql":
    # Several daemons may start at once; this lock ends with the transaction.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('postroom migrations'))")
engine.run(connection, [*views.drop(kind), *triggers.drop(kind)])
context.configure(connection=connection, target_metadata=METADATA, version_table=VERSION_TABLE)
context.run_migrations()
engine.run(connection, [*triggers.create(kind), *views.create(kind)])
