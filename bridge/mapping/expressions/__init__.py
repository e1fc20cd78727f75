"""Expressions in Jinja's syntax: parsed, compiled to Python functions, explained where they are false."""
