"""Runs migrations on the connection that ``ensure_schema`` hands over, inside its transaction."""

from alembic import context

from cmlcore.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
