"""Filling what a new column or table needs, a few rows at a time, while lines go on working.

A backfill is a revision of its own, between the one that adds (expand) and the one that takes away (contract).
"""

from collections.abc import Callable
from typing import Any

from alembic import op
from sqlalchemy.sql import Executable

CHUNK = 500
"""Rows written in one transaction: what a cluster carries without anybody waiting.

Source: high availability reference §1.5.
"""


def backfill(step: Executable | Callable[[Any], int]) -> int:
    """Run a step again and again until it finds nothing more to do; returns how many rows were written in all.

    Each run is a transaction of its own: one that is killed goes on where it was, and its revision is only stored
    when nothing is left. Between two runs the migration keeps its lease, or hears that it is to stop.

    Args:
        step: a statement that writes at most `CHUNK` rows and only such as still need it; or a function that does
            so with the connection and returns how many. It must touch the row that guards what it reads first.
    """
    context = op.get_context()
    between = context.opts.get("between_chunks", lambda: None)
    total = 0
    with op.get_bind().engine.connect() as connection:
        while True:
            with connection.begin():
                written = step(connection) if callable(step) else connection.execute(step).rowcount
            if written > CHUNK:
                raise RuntimeError(f"a step of a backfill has written {written} rows at once")
            if written <= 0:
                return total
            total += written
            between()
