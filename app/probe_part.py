"""Builds the isolation probe, out of services; it gets its door when requests are served."""

from __future__ import annotations

from app.licensing import Programmer
from app.operations.probe.isolation_probe import IsolationProbe, ProbeParts
from app.service_part import PlatformServices
from app.storage_part import Storage
from tenancy import AccessCache, InstanceDatabases


def make_isolation_probe(
    services: PlatformServices,
    storage: Storage,
    *,
    databases: InstanceDatabases,
    programmer: Programmer,
) -> IsolationProbe:
    """What tries whether customers are kept apart."""
    db, key = storage.platform_db, storage.key
    parts = ProbeParts(
        platform_db=db,
        databases=databases,
        instances=services.instances,
        programmer=programmer,
        list_clients=services.clients.list_clients,
        profile_of=lambda instance_db: AccessCache(instance_db, clock=db.clock, key=key).profile(),
    )
    return IsolationProbe(parts)
