"""What the record tells since: how bodies were read, what was repeated, which answers were not understood."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
