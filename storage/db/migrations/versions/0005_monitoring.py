"""Predictions to be compared with what came, decisions to train again, and the looks that led to them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _id() -> "sa.Column[int]":
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _text(name: str, longest: int) -> "sa.Column[str]":
    return sa.Column(name, sa.String(longest), nullable=False)


def upgrade() -> None:
    op.create_table(
        "predictions",
        _id(),
        _text("tenant_id", 100),
        _text("family", 100),
        _text("name", 100),
        sa.Column("version", sa.Integer, nullable=False),
        _text("device_id", 200),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("most", sa.Float, nullable=False),
        sa.Column("lower", sa.Float),
        sa.Column("upper", sa.Float),
        sa.Column("rows_used", sa.Integer, nullable=False),
    )
    moment = ["tenant_id", "family", "name", "version", "device_id", "as_of"]
    op.create_index("uq_predictions_of_a_moment", "predictions", moment, unique=True)
    op.create_table(
        "training_decisions",
        _id(),
        _text("tenant_id", 100),
        _text("family", 100),
        _text("name", 100),
        _text("look", 100),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        _text("action", 20),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("session_id", sa.Integer),
        sqlite_autoincrement=True,
    )
    look = ["tenant_id", "family", "name", "look"]
    op.create_index("uq_training_decisions_of_a_look", "training_decisions", look, unique=True)
    op.create_table(
        "looks",
        sa.Column("tick", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("host", 255),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("looks")
    op.drop_table("training_decisions")
    op.drop_table("predictions")
