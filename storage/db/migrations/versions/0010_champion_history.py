"""Which version served when."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NAME = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "champion_history",
        *(sa.Column(column, NAME, primary_key=True) for column in ("tenant", "family", "name")),
        sa.Column("promoted_at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.execute(
        "INSERT INTO champion_history (tenant, family, name, promoted_at, version) "
        "SELECT tenant, family, name, promoted_at, version FROM champions "
        "WHERE version IS NOT NULL AND promoted_at IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_table("champion_history")
