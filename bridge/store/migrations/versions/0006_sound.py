"""What the record tells since: how bodies were read, what was repeated, which answers were not understood."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("bounded", sa.Boolean(), nullable=False, server_default=sa.false()))
