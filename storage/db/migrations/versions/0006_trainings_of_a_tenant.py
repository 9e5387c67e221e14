"""Which decisions of a tenant started a session, without reading all that left a model alone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = "ix_training_decisions_that_started"


def upgrade() -> None:
    columns, started = ["tenant_id", "decided_at", "session_id"], sa.text("session_id IS NOT NULL")
    op.create_index(NAME, "training_decisions", columns, sqlite_where=started, postgresql_where=started)


def downgrade() -> None:
    op.drop_index(NAME, "training_decisions")
