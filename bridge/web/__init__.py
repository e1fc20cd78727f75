"""The HTTP edges: the public port, where webhooks come in, and the admin port, where operators look."""
