"""Headers that a rule gives its events."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("events", sa.Column("headers", sa.LargeBinary(), nullable=True))
