"""Adding a column in a revision that may be run again, on SQLite too, which has no ADD COLUMN IF NOT EXISTS."""

from typing import Any

from alembic import op
from sqlalchemy import inspect


def add_column(table: str, column: Any) -> None:
    """Add a column unless it is there. New columns are nullable or have a default: older code goes on writing."""
    if column.name not in {each["name"] for each in inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
