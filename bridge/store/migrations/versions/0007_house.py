"""States of targets have versions, readiness a table of its own, and an event a place for its trace's context."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("targets", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("events", sa.Column("traceparent", sa.Text(), nullable=True))
    op.create_table(
        "readiness",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance"),
    )
