"""Puts the record of a key ceremony together out of the operation, its approval, its log and the audit chain."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from app.core.clock import to_us
from app.core.db import Database
from app.core.ids import OperationId
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.reading import AuditEntry, AuditReader
from app.operations.audit.repository import EntryFilter, find_range
from app.operations.ceremony.document import describe_ceremony, people_in
from app.operations.ceremony.record import CeremonyRecord
from tenancy import LogLine, Operation
from tenancy.box.errors import CeremonyNotFound, CeremonyUnfinished
from tenancy.box.plan import CEREMONIES
from tenancy.operation import repository as operations
from tenancy.staff import repository as staff
from tenancy.staff.person import ERASED_NAME
from tenancy.staff.record import LOCAL_PERSON, Approval

_AROUND: Final = timedelta(minutes=1)
"""Longer than any transaction: its time is taken when it begins. **Source:** `Database` gives up after 12 s."""
_PAGE: Final = 500
_PERSON: Final = "per_"


class CeremonyReader:
    """Thread-safe, blocking.

    Args:
        db: the platform database.
        audit: reads its chain.
    """

    def __init__(self, db: Database, audit: AuditReader) -> None:
        self._db = db
        self._audit = audit

    def get_record(self, operation_id: OperationId) -> CeremonyRecord:
        """The record of an operation.

        Raises:
            OperationNotFound: there is none of that id.
            CeremonyNotFound: it does nothing to firm keys.
            CeremonyUnfinished: it has not come to its end.
        """
        operation = self._db.read(lambda reader: operations.get_operation(reader, operation_id))
        if operation.kind not in CEREMONIES:
            raise CeremonyNotFound("The operation does nothing to firm keys.", kind=operation.kind)
        if operation.finished_at is None:
            raise CeremonyUnfinished("The operation has not come to its end.", state=operation.state)
        approval = self._db.read(lambda reader: staff.find_approval_of(reader, operation_id))
        document = describe_ceremony(
            operation,
            approval=approval,
            log=self._list_log(operation),
            entries=self._list_entries(operation, operation.finished_at, approval),
        )
        people = {person: self._name_of(person) for person in people_in(document)}
        return CeremonyRecord(document=document, people=people)

    def _list_log(self, operation: Operation) -> list[LogLine]:
        lines: list[LogLine] = []
        while page := self._read_log(operation.operation_id, lines[-1].number if lines else 0):
            lines += page
        return lines

    def _read_log(self, operation_id: OperationId, after: int) -> list[LogLine]:
        return self._db.read(
            lambda reader: operations.list_log(reader, operation_id, after=after, limit=_PAGE)
        )

    def _list_entries(
        self, operation: Operation, finished_at: datetime, approval: Approval | None
    ) -> list[AuditEntry]:
        """What the platform's chain says of the operation and of its approval, oldest first."""
        wanted = EntryFilter(about=operation.operation_id)
        about = self._find(wanted, operation.created_at, finished_at)
        # The filter looks for the id anywhere; the key of a rotation bears it for as long as it signs.
        found = [entry for entry in about if _is_of(entry, operation.operation_id)]
        if approval is not None:
            wanted = EntryFilter(subject=approval.approval_id)
            found += self._find(wanted, approval.requested_at, operation.created_at)
        by_number = {entry.sequence: entry for entry in found}
        return [by_number[number] for number in sorted(by_number)]

    def _find(self, wanted: EntryFilter, since: datetime, until: datetime) -> list[AuditEntry]:
        limits = self._db.read(
            lambda reader: find_range(
                reader, since_us=to_us(since - _AROUND), until_us=to_us(until + _AROUND)
            )
        )
        if limits is None:
            return []
        first, before = limits[0], limits[1] + 1
        found: list[AuditEntry] = []
        while before > first:
            page = self._audit.find(PLATFORM_CHAIN, wanted, before=before, limit=_PAGE)
            found += [entry for entry in page.entries if entry.sequence >= first]
            if page.next_before is None:
                break
            before = page.next_before
        return found

    def _name_of(self, person_id: str) -> str:
        if person_id == LOCAL_PERSON or not person_id.startswith(_PERSON):
            return person_id
        person = self._db.read(lambda reader: staff.get_person(reader, person_id))
        return person.name or ERASED_NAME


def _is_of(entry: AuditEntry, operation_id: OperationId) -> bool:
    return operation_id in (entry.subject, entry.data.get("operation_id"))
