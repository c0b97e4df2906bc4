"""The tables of the first version, spelled out in SQL for each database in the two files beside this one."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What env.py makes after this revision (`digest` of daemon/store/dialect/triggers.py and views.py).
TRIGGERS = {"sqlite": "3d2a95f9535fa6f1", "postgresql": "50d5a952185e665b"}
VIEWS = {"sqlite": "92d58e332dfc55a6", "postgresql": "7e757d0ffed3f478"}


def upgrade() -> None:
    """Make all tables; triggers are made by `env.py`."""
    bind = op.get_bind()
    script = Path(__file__).with_name(f"0001_first.{bind.dialect.name}.sql").read_text(encoding="utf-8")
    for statement in script.split(";\n\n"):
        bind.exec_driver_sql(statement.strip().rstrip(";"), execution_options={"no_parameters": True})


def downgrade() -> None:
    """There is no way back: restore a copy of the database."""
    raise RuntimeError("restore a copy of the database that was made before the upgrade")
