"""Carrying out the revisions of a tree with Alembic, on several databases at a time.

Context: Alembic keeps the migration under way in a module (`alembic.op`), and `alembic.command` reads every revision
file anew for every database. Decision: the scripts are read once, and what stands in `alembic.op` asks for the
thread's own operations. Alternative: worker processes; on two processors they are no faster (both are bound by the
database's own work), start a second later, and survive their parent's kill. Numbers: `migrations/README.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Column, Connection, inspect

from app.core.migrate_error import SchemaConflict
from app.core.migrate_lease import LeaseLost

BETWEEN_CHUNKS: Final = "between_chunks"
"""Option of a migration context: called after each chunk of a backfill."""

_reading = threading.Lock()


class _Here(threading.local):
    """The migration under way in this thread."""

    operations: Operations | None = None


_here = _Here()


class _ThreadsOwn:
    """Stands where Alembic expects the one migration under way in the process."""

    def __getattr__(self, name: str) -> Any:
        if _here.operations is None:
            raise RuntimeError("no migration is under way in this thread")
        return getattr(_here.operations, name)


_threads_own: Final = _ThreadsOwn()


class _CarefulOperations(Operations):
    """Operations that do not take somebody else's table for the one they are to make."""

    def create_table(self, table_name: str, *columns: Any, **options: Any) -> Any:
        """Make a table; one that is there already must be ours, left by a run that was killed."""
        inspector = inspect(self.get_bind())
        if inspector.has_table(table_name):
            present = {column["name"] for column in inspector.get_columns(table_name)}
            missing = {str(each.name) for each in columns if isinstance(each, Column)} - present
            if missing:
                raise SchemaConflict(
                    f"There is a table {table_name} in the database that wops has not made; rename it or remove it.",
                    table=table_name,
                    missing=sorted(missing),
                )
        return super().create_table(table_name, *columns, **options)


def run_revisions(
    connection: Connection,
    folder: Path,
    *,
    to: str,
    note: Callable[[str], None],
    between: Callable[[], None],
) -> None:
    """Carry out the revisions that a database lacks, each in a transaction of its own.

    Args:
        connection: open, without a transaction.
        folder: the tree's.
        to: the last revision to carry out.
        note: told the number of each revision before it is carried out; what it raises ends the migration there.
        between: the same after each chunk of a backfill.

    Raises:
        LeaseLost: somebody else has changed the revision number meanwhile.
        DBAPIError: the database refuses a statement.
        SchemaConflict: a table of ours cannot be made.
    """
    scripts = _scripts(folder)

    def steps(current: Any, _context: MigrationContext) -> Iterator[Any]:
        for step in scripts._upgrade_revs(to, current):
            note(step.to_revisions[0])
            yield step

    options: dict[str, Any] = {
        "fn": steps,
        "script": scripts,
        "destination_rev": to,
        "transaction_per_migration": True,
        BETWEEN_CHUNKS: between,
    }
    context = MigrationContext.configure(connection, opts=options)
    with _under_way(_CarefulOperations(context)), context.begin_transaction():
        try:
            context.run_migrations()
        except CommandError as error:
            raise LeaseLost from error


@contextmanager
def _under_way(operations: Operations) -> Iterator[None]:
    # Alembic's own commands, where somebody uses them in the same process, take their one away at their end.
    vars(op)["_proxy"] = _threads_own
    _here.operations = operations
    try:
        yield
    finally:
        _here.operations = None


@lru_cache
def _read_scripts(folder: Path) -> ScriptDirectory:
    scripts = ScriptDirectory(str(folder))
    # Read now: the directory reads its files when it is first asked, and that is not safe with threads.
    for _ in scripts.walk_revisions():
        pass
    return scripts


def _scripts(folder: Path) -> ScriptDirectory:
    with _reading:
        return _read_scripts(folder)
