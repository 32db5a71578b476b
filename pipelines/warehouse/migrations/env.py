"""How Alembic reaches the state file: by the connection that `pipelines.warehouse.state` gives it, all or nothing."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
