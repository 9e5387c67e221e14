"""An index of models and champions, and standard names for the scheduler's runs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The order of bytes, as in Python, whatever the locale of the database.
NAME = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")


def _model(*columns: str) -> "list[sa.Column[str]]":
    return [sa.Column(column, NAME, primary_key=True) for column in columns]


def upgrade() -> None:
    op.create_table(
        "champions",
        *_model("tenant", "family", "name"),
        sa.Column("version", sa.Integer),
        sa.Column("promoted_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_champions_promoted_at", "champions", ["tenant", "family", "promoted_at"])
    op.create_table(
        "champion_counts",
        *_model("tenant", "family"),
        sa.Column("models", sa.Integer, nullable=False),
        sa.Column("champions", sa.Integer, nullable=False),
        sa.Column("damaged", sa.Integer, nullable=False),
        sa.Column("oldest_promoted_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "champion_index",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    op.rename_table("looks", "scheduler_runs")
    op.alter_column("scheduler_runs", "began_at", new_column_name="started_at")
    op.alter_column("training_decisions", "look", new_column_name="run_id")


def downgrade() -> None:
    op.alter_column("training_decisions", "run_id", new_column_name="look")
    op.alter_column("scheduler_runs", "started_at", new_column_name="began_at")
    op.rename_table("scheduler_runs", "looks")
    op.drop_table("champion_index")
    op.drop_table("champion_counts")
    op.drop_table("champions")
