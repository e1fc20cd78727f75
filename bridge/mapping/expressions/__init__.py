"""Expressions in Jinja's syntax: parsed, compiled to Python functions, and explained where they are false."""
