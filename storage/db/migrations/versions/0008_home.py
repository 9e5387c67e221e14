"""The identity of the home folder, and an id of each session that no other session ever has."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "home",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("home_id", sa.String(36), nullable=False),
    )
    op.add_column("sessions", sa.Column("uid", sa.String(36)))


def downgrade() -> None:
    op.drop_column("sessions", "uid")
    op.drop_table("home")
