"""Tools for rule authors: tests, dry runs, explanations, signed requests, the JSON Schema."""
