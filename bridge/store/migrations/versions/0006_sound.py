"""What the record tells since: how bodies were read, what was repeated, which answers were not understood."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("bounded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("unclear", sa.Integer(), server_default="0", nullable=False))
    op.add_column("targets", sa.Column("ages", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE targets SET ages = true WHERE reason = 'breaker'")
    op.add_column("events", sa.Column("form", sa.Text(), nullable=True))
