"""What customers are told about their firm keys: noted with the change, and written into their own chain afterwards.

change, platform's event, note ──one transaction──► `deliver_due` ──under the note's id──► event in the instance's chain

An instance whose database is away is told when it is back; boxes and the other instances do not wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from tenancy import repository as instances
from tenancy.box.note import repository
from tenancy.box.note.repository import CustomerNote
from tenancy.database.port import InstanceDatabases
from tenancy.record import Instance

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100
"""Notes of one instance written in one turn. Our own decision."""
_MOST_RETRIED: Final = 2
"""Instances tried again in one turn: one that hangs costs seconds, and the others wait for it. Our own decision."""


class CustomerNotes:
    """Brings notes to where customers read them. Blocking; one thread calls it.

    Args:
        db: the platform database.
        databases: of the instances.
    """

    def __init__(self, db: Database, databases: InstanceDatabases) -> None:
        self._db = db
        self._databases = databases
        self._failed: dict[InstanceId, None] = {}

    def deliver_due(self) -> int:
        """Write what is noted into the chains of its instances, each note once; returns how many. A loop calls it.

        Raises:
            DatabaseUnavailable: the platform's.
        """
        waiting = self._db.read(repository.list_waiting)
        self._failed = {each: None for each in self._failed if each in waiting}
        fresh = [each for each in waiting if each not in self._failed]
        return sum(self._try_one(each) for each in [*fresh, *list(self._failed)[:_MOST_RETRIED]])

    def _try_one(self, instance_id: InstanceId) -> int:
        self._failed.pop(instance_id, None)
        try:
            return self._deliver(instance_id)
        except DomainError as error:
            _log.warning("customer_not_told", extra={"instance_id": instance_id, "code": error.code})
        except Exception:
            # A damaged database is its own instance's trouble.
            _log.exception("customer_not_told", extra={"instance_id": instance_id})
        self._failed[instance_id] = None
        return 0

    def _deliver(self, instance_id: InstanceId) -> int:
        instance, notes = self._db.read(lambda reader: _look(reader, instance_id))
        if instance is None or instance.state == "erased":
            # Nobody is there any more who could read them.
            self._forget(notes)
            return 0
        if not instance.is_kept or not notes:
            return 0
        database = self._databases.open(instance_id)
        for note in notes:
            _write(database, note)
        self._forget(notes)
        return len(notes)

    def _forget(self, notes: Sequence[CustomerNote]) -> None:
        def body(tx: Tx) -> JsonObject:
            repository.remove_notes(tx, [note.note_id for note in notes])
            return {}

        self._db.run_tx(new_id("op"), body)


def _look(reader: Reader, instance_id: InstanceId) -> tuple[Instance | None, list[CustomerNote]]:
    return (
        instances.find_instance(reader, instance_id),
        repository.list_notes(reader, instance_id, limit=_AT_ONCE),
    )


def _write(database: Database, note: CustomerNote) -> None:
    def body(tx: Tx) -> JsonObject:
        tx.emit(note.type, subject=note.subject, data=note.data, before=note.before)
        return {}

    database.run_tx(note.note_id, body, origin=note.origin)
