"""Adding a column in a revision that may be run again, on SQLite too, which has no ADD COLUMN IF NOT EXISTS."""

from typing import Any

from alembic import op


def add_column(table: str, column: Any) -> None:
    """Add a column unless it is there. New columns are nullable or have a default: older code goes on writing."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        op.add_column(table, column, if_not_exists=True)
        return
    # The name is one of ours; a pragma takes no parameters.
    present = bind.exec_driver_sql(f"PRAGMA table_info('{table}')")
    if column.name not in {row[1] for row in present}:
        op.add_column(table, column)
