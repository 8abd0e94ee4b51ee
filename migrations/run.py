"""How both trees run: on one connection, each revision in a transaction of its own."""

from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool


def run(context: Any) -> None:
    """Run the pending revisions on the database that `app.core.migrate` names."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
