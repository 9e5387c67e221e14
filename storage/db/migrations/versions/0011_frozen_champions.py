"""Since when the trainings after a champion are rejected."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("champions", sa.Column("rejected_since", sa.DateTime(timezone=True)))
    op.create_index("ix_champions_rejected_since", "champions", ["tenant", "family", "rejected_since"])
    op.add_column(
        "champion_counts", sa.Column("frozen", sa.Integer, nullable=False, server_default="0")
    )
    # The manifests know the values: an index without its epoch is rebuilt from them at the next start.
    op.execute("DELETE FROM champion_index")


def downgrade() -> None:
    op.drop_column("champion_counts", "frozen")
    op.drop_index("ix_champions_rejected_since", "champions")
    op.drop_column("champions", "rejected_since")
