"""Severe cases that a plant has chosen to lock."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "chosen_cases",
        *(sa.Column(column, NAME, primary_key=True) for column in ("tenant", "family", "name")),
        sa.Column("cases", sa.JSON, nullable=False),
        sa.Column("chosen_by", sa.String(200), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("chosen_cases")
