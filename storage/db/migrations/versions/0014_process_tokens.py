"""Processes are known by tokens, because their numbers mean nothing across containers."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No process of an earlier version runs beside this one: nothing of these rows is needed.
    op.drop_table("workers")
    op.create_table(
        "workers",
        sa.Column("process", sa.String(16), primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
    )
    with op.batch_alter_table("idempotency") as table:
        table.drop_column("owner_pid")
        table.drop_column("owner_start")
        table.add_column(sa.Column("owner", sa.String(16)))


def downgrade() -> None:
    op.drop_table("workers")
    op.create_table(
        "workers",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("pid", sa.Integer, primary_key=True),
        sa.Column("started", sa.BigInteger, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
    )
    with op.batch_alter_table("idempotency") as table:
        table.drop_column("owner")
        table.add_column(sa.Column("owner_pid", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("owner_start", sa.BigInteger, nullable=False, server_default="0"))
