"""A tenant's readings in order of their id, without reading everybody else's."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_readings_tenant_id", "readings", ["tenant", "id"])


def downgrade() -> None:
    op.drop_index("ix_readings_tenant_id", "readings")
