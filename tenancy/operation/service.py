"""Looking at operations."""

from __future__ import annotations

from app.core.db import Database
from app.core.ids import OperationId
from tenancy.operation import repository
from tenancy.operation.plan import Operation
from tenancy.record import check_limit


class OperationService:
    """Operations in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get_operation(self, operation_id: OperationId) -> Operation:
        """Read one operation.

        Raises:
            OperationNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_operation(reader, operation_id))

    def find_unfinished(self, object_id: str) -> Operation | None:
        """The unfinished operation of an object, e.g. an instance."""
        return self._db.read(lambda reader: repository.find_unfinished(reader, object_id))

    def list_operations(self, *, after: str = "", limit: int = 25) -> list[Operation]:
        """Operations with an id above `after`, oldest first.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_operations(reader, after=after, limit=limit))
