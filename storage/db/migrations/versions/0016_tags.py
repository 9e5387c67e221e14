"""Sensors have the plant's own name, any type, and readings of unknown tags wait."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No batch: SQLite would copy the table and drop the old one, and its foreign keys delete the readings of all
    # sensors with it. It does not keep the lengths of texts either.
    op.add_column("sensors", sa.Column("tag", sa.String(200)))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(
            "sensors", "type", type_=sa.String(50), existing_type=sa.String(20), existing_nullable=False
        )
    op.create_index("uq_sensors_tag", "sensors", ["tenant", "tag"], unique=True)
    op.create_table(
        "waiting_readings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("tag", sa.String(200), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("raw_value", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_waiting_readings_tenant_tag", "waiting_readings", ["tenant", "tag"])


def downgrade() -> None:
    op.drop_table("waiting_readings")
    op.drop_index("uq_sensors_tag", "sensors")
    op.drop_column("sensors", "tag")
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(
            "sensors", "type", type_=sa.String(20), existing_type=sa.String(50), existing_nullable=False
        )
