"""Find the kept predictions of a model without reading those of all others, as each restore drill does."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = ["tenant", "family", "name", "id"]


def upgrade() -> None:
    op.create_index("ix_kept_predictions_model", "kept_predictions", COLUMNS)


def downgrade() -> None:
    op.drop_index("ix_kept_predictions_model", "kept_predictions")
