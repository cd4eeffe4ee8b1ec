"""Run the migrations on the connection that `searchx.database.migrate` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
# The caller began the transaction (BEGIN IMMEDIATE) and commits it: all of the migrations or none.
context.configure(connection=connection, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
