"""Commands, called in this process."""

from end_to_end.conftest import command

__all__ = ["command"]
