"""Lines: who serves which instance, and everything a line needs to serve it.

A line talks to its instances' own databases and to the gateway, to nothing else: with control and the
platform database down it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import InstanceId, LineId
from app.licensing import (
    ContainerService,
    InstanceIdentity,
    ItemService,
    OrderService,
    TransferService,
)
from editions import WEB_SERVICE_CALLS, CallMeter, Meter, QuotaState, quota_state, require_included
from tenancy import AccessCache, CredentialKey, InstanceDatabases


class InstanceRuntime:
    """One instance as one line serves it. Made when it is first asked for; costs little while nobody calls."""

    def __init__(
        self,
        instance_id: InstanceId,
        db: Database,
        *,
        access: AccessCache,
        calls: CallMeter,
        transfers: Callable[[Callable[[], InstanceIdentity]], TransferService],
    ) -> None:
        self.instance_id = instance_id
        self.db = db
        self.clock = db.clock
        self.access = access
        self.calls = calls
        self.items = ItemService(db)
        self.orders = OrderService(db)
        self.containers = ContainerService(db)
        self.transfers = transfers(self.identity)

    def identity(self) -> InstanceIdentity:
        """The instance's firm code and pool, from its own database, at most a second old."""
        profile = self.access.profile()
        return InstanceIdentity(
            instance_id=profile.instance_id, firm_code=profile.firm_code, pool=profile.pool
        )

    def require_web_services(self) -> None:
        """Look at the contracts themselves, which may be newer than what the line holds. Blocks for a read.

        Raises:
            EditionFeatureUnavailable: the edition in force has no web services.
            NoContractInForce: nothing is contracted.
        """
        self.db.read(lambda reader: require_included(reader, WEB_SERVICE_CALLS))

    def quota(self, meter: Meter) -> QuotaState:
        """A meter as it stands in the database. Blocks for a read."""
        return self.db.read(lambda reader: quota_state(reader, meter, reader.now))


class Line:
    """One application server serving instances. Thread-safe.

    Args:
        line_id: its name; leases of web-service calls belong to it.
        databases: opens instance databases.
        key: checks API clients' secrets.
        make_transfers: makes the licence path of an instance, given its database and its identity.
        wake: told that a call meter has something to write.
    """

    def __init__(
        self,
        line_id: LineId,
        *,
        databases: InstanceDatabases,
        key: CredentialKey,
        clock: Clock,
        make_transfers: Callable[[Database, Callable[[], InstanceIdentity]], TransferService],
        wake: Callable[[InstanceRuntime], None] = lambda _runtime: None,
    ) -> None:
        self.line_id = line_id
        self._databases = databases
        self._key = key
        self._clock = clock
        self._make_transfers = make_transfers
        self._wake = wake
        self._lock = threading.Lock()
        self._runtimes: dict[InstanceId, InstanceRuntime] = {}

    def find(self, instance_id: InstanceId) -> InstanceRuntime | None:
        """The instance if this line has served it already. Never blocks."""
        return self._runtimes.get(instance_id)

    def open(self, instance_id: InstanceId) -> InstanceRuntime:
        """The instance, ready to be served. May open its database.

        Raises:
            InstanceDatabaseMissing: it has none.
        """
        with self._lock:
            runtime = self._runtimes.get(instance_id)
            if runtime is None:
                runtime = self._runtimes[instance_id] = self._make(instance_id)
            return runtime

    def __iter__(self) -> Iterator[InstanceRuntime]:
        return iter(list(self._runtimes.values()))

    def _make(self, instance_id: InstanceId) -> InstanceRuntime:
        db = self._databases.open(instance_id)
        runtime: InstanceRuntime
        calls = CallMeter(db, self.line_id, clock=self._clock, wake=lambda: self._wake(runtime))
        runtime = InstanceRuntime(
            instance_id,
            db,
            access=AccessCache(db, clock=self._clock, key=self._key),
            calls=calls,
            transfers=lambda identity: self._make_transfers(db, identity),
        )
        return runtime
