"""Builds the audit of the platform: who signs how far the chains have come, and reads, exports and checks them.

Databases tell the audit what they write as soon as they are opened, so it is there before they are; what it asks of
them, and of services, it asks later.
"""

from __future__ import annotations

from typing import Protocol

from app.core.db import Database
from app.core.ids import InstanceId
from app.operations.audit.audit import Audit
from app.settings import Settings
from tenancy import InstanceDatabases, InstanceService
from tenancy.staff.person import PersonService


class AuditedPlatform(Protocol):
    """What the audit asks about, once it is there."""

    databases: InstanceDatabases
    instances: InstanceService
    people: PersonService


def start_audit(settings: Settings, platform_db: Database, platform: AuditedPlatform) -> Audit:
    """The audit, going on where the last process ended.

    Raises:
        AuditKeyUnfit: its key is missing, damaged, or open to others.
    """
    later = _Later(platform)
    audit = Audit(
        settings.data_dir.resolve() / "audit",
        platform_db,
        open_instance=later.open_instance,
        is_current=later.is_current,
        name_of=later.name_of,
    )
    audit.start(later.list_with_database, grows_elsewhere=settings.lines == "processes")
    return audit


class _Later:
    """Looks each part up when it is needed."""

    def __init__(self, platform: AuditedPlatform) -> None:
        self._platform = platform

    def open_instance(self, instance_id: InstanceId) -> Database:
        return self._platform.databases.open(instance_id)

    def is_current(self, instance_id: InstanceId) -> bool:
        return self._platform.databases.is_current(instance_id)

    def name_of(self, person_id: str, sealed_name: str) -> str:
        return self._platform.people.read_name(person_id, sealed_name)

    def list_with_database(self) -> list[InstanceId]:
        """All instances whose database is there."""
        found: list[InstanceId] = []
        after = ""
        while page := self._platform.instances.list_instances(after=after, limit=100):
            found += [each.instance_id for each in page if each.is_kept]
            after = page[-1].instance_id
        return found
