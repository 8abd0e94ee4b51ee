"""Alembic's entry into this tree; the database comes from `app.core.migrate`."""

from alembic import context

from migrations.run import run

run(context)
