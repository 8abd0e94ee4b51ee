"""Why a database could not be brought to the newest schema.

    DomainError
    └── MigrationError
        ├── MigrationRunning        somebody else migrates it, or runs over all instances, right now
        ├── MigrationInterrupted    whoever asked wants to stop; nothing is lost, run it again
        ├── MigrationRefused        the database refuses a statement: rights, damage, something in the way
        ├── SchemaConflict          a table that wops wants to make is there and is not ours
        └── MigrationIncomplete     of a run over all instances: some are not there yet; named in the message

A database that does not answer raises `DatabaseUnavailable`, as everywhere. `NoSchema` is the kernel's own word for an
empty one.
"""

from __future__ import annotations

from app.core.errors import DomainError


class NoSchema(Exception):
    """The database is empty where there has to be one of ours; whoever asked knows what that means."""


class MigrationError(DomainError):
    """Root of the reasons why a schema is not the newest."""

    code = "migration_error"


class MigrationRunning(MigrationError):
    """Somebody else is at it; two at once would wait for each other's locks."""

    code = "migration_running"


class MigrationInterrupted(MigrationError):
    """Stopped between two revisions on request; the next run goes on there."""

    code = "migration_interrupted"


class MigrationRefused(MigrationError):
    """The database refuses a revision; its `revision` and the driver's `error` number are in the detail."""

    code = "migration_refused"


class SchemaConflict(MigrationError):
    """A table of that name is there already and lacks columns that ours has."""

    code = "schema_conflict"


class MigrationIncomplete(MigrationError):
    """A run has left instances that are not at the newest schema; recorded in its operation."""

    code = "migration_incomplete"
