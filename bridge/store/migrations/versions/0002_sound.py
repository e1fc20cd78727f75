"""What the record tells since: how bodies were read, what was repeated, which answers were not understood."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
