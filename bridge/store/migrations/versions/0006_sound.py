"""What the record tells since: how bodies were read, what was repeated, which answers were not understood.

Beside that, the bridge's second clock.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

DELIVERED_IN_ORDER = sa.text("order_key IS NOT NULL AND state = 'delivered'")


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("bounded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("webhooks", sa.Column("repaired", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("unclear", sa.Integer(), server_default="0", nullable=False))
    op.add_column("targets", sa.Column("ages", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE targets SET ages = true WHERE reason = 'breaker'")
    op.add_column("events", sa.Column("form", sa.Text(), nullable=True))
    op.create_table(
        "clock",
        sa.Column("running", sa.BigInteger(), nullable=False),
        sa.Column("wall", sa.BigInteger(), nullable=False),
        sa.Column("since_boot", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=True),
    )
    op.add_column("webhooks", sa.Column("stored_at", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("stored_at", sa.BigInteger(), nullable=True))
    op.add_column("targets", sa.Column("paused_at_wall", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_events_delivered_in_order",
        "events",
        ["target", "source", "order_key", "seq"],
        unique=False,
        sqlite_where=DELIVERED_IN_ORDER,
        postgresql_where=DELIVERED_IN_ORDER,
    )
    op.create_table(
        "duplicates",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("differing", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id"),
    )
    is_held = sa.text("state = 'held'")
    op.create_index(
        "ix_events_held", "events", ["target"], unique=False, sqlite_where=is_held, postgresql_where=is_held
    )
    op.create_table(
        "key_urls",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("proven_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "url"),
    )
