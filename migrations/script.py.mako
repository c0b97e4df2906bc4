"""${message}"""

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

# What env.py makes after this revision (daemon/store/dialect/triggers.py, `digest`); a test tells the values.
TRIGGERS = {"sqlite": "", "postgresql": ""}


def upgrade() -> None:
    """Say what changes; `op.get_bind().dialect.name` tells the database."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """There is no way back: restore a copy of the database."""
    raise RuntimeError("restore a copy of the database that was made before the upgrade")
