"""${message}"""

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say what changes; `op.get_bind().dialect.name` tells the database."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """There is no way back: restore a copy of the database."""
    raise RuntimeError("restore a copy of the database that was made before the upgrade")
