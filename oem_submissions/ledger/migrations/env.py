"""Alembic's entry: runs the migrations on the connection that `ledger.migrate` hands over."""

from alembic import context

from oem_submissions.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
