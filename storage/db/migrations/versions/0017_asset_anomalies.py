"""Anomalies of assets."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asset_anomalies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("tenant_id", sa.String(100), nullable=False),
        sa.Column("device_id", sa.String(200), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alarms", sa.Integer, nullable=False),
        sa.Column("max_score", sa.Float, nullable=False),
        sa.Column("min_health", sa.Float, nullable=False),
        sa.Column("condition", sa.Integer, nullable=False),
        sa.Column("contributions", sa.JSON, nullable=False),
        sa.Column("resolved", sa.Boolean, nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("verdict", sa.String(20)),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_asset_anomalies_tenant_id_model_timestamp", "asset_anomalies", ["tenant_id", "model", "timestamp"]
    )
    op.create_index("ix_asset_anomalies_tenant_id_id", "asset_anomalies", ["tenant_id", "id"])


def downgrade() -> None:
    op.drop_table("asset_anomalies")
