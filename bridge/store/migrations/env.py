"""Runs migrations on the connection it is given; the bridge calls it at start and by `bridge migrate`."""

from alembic import context

from bridge.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
