"""The alarms of a sensor's anomaly by type, for verdicts that release later ones like them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("anomalies", sa.Column("bands", sa.JSON))


def downgrade() -> None:
    op.drop_column("anomalies", "bands")
