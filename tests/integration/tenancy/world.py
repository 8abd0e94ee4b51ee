"""A platform without HTTP: real databases of either engine, a fake gateway."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import anyio.lowlevel

from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import CustomerId, InstanceId, OperationId
from app.core.outbox import list_events
from fsb_gateway.box_driver import BoxSpec
from tenancy import (
    AccessCache,
    AccessService,
    ClientService,
    ContractService,
    CredentialKey,
    CustomerService,
    Instance,
    InstanceCreate,
    InstanceDatabases,
    InstanceOpener,
    InstanceProvisioner,
    InstanceService,
    Operation,
    OperationRunner,
    OperationService,
    Patience,
    StaffTokenService,
)
from tenancy.errors import InstanceDatabaseMissing
from tenancy.operation.runner import OperationKind, StepAction
from tests.fake.clock import FakeClock
from tests.service.database import DatabaseMaker, EngineKind

KEY = CredentialKey(bytes(range(32)))
PATIENCE = Patience(attempts=3, first_pause=timedelta(seconds=1), longest_pause=timedelta(seconds=4))


class Killed(BaseException):
    """Stands for kill -9: nothing between here and the process's end catches it."""


class FakeFsb:
    """Remembers what was asked of the gateway; fails while `failures` holds errors."""

    def __init__(self) -> None:
        self.boxes: dict[str, BoxSpec] = {}
        self.keys: dict[int, tuple[str, str]] = {}
        self.failures: list[Exception] = []

    async def ensure_box(self, spec: BoxSpec) -> object:
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        self.boxes[spec.name] = spec
        return None

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> object:
        await anyio.lowlevel.checkpoint()
        assert any(spec.pool == pool for spec in self.boxes.values()), "a pool's boxes come first"
        owner = self.keys.setdefault(firm_code, (instance_id, pool))
        assert owner == (instance_id, pool)
        return None


class MadeInstanceDatabases:
    """Instance databases made by the test session's maker; for the engine that has no driver here yet."""

    def __init__(self, maker: DatabaseMaker, kind: EngineKind, clock: Clock) -> None:
        self._maker = maker
        self._kind = kind
        self._clock = clock
        self._lock = threading.Lock()
        self._urls: dict[InstanceId, str] = {}
        self._open: dict[InstanceId, Database] = {}

    def create(self, instance_id: InstanceId) -> str:
        with self._lock:
            if instance_id not in self._urls:
                self._urls[instance_id] = self._maker.create(self._kind, "instance")
        return "mysql+pymysql://database-server/name"

    def open(self, instance_id: InstanceId) -> Database:
        with self._lock:
            if instance_id not in self._urls:
                raise InstanceDatabaseMissing("The instance's database does not exist.")
            if instance_id not in self._open:
                self._open[instance_id] = Database(self._urls[instance_id], clock=self._clock)
            return self._open[instance_id]

    def close(self) -> None:
        for database in self._open.values():
            database.close()
        for url in self._urls.values():
            self._maker.remove(url)


@dataclass
class World:
    """All services of the package over one platform database."""

    platform: Database
    databases: InstanceDatabases
    clock: FakeClock
    fsb: FakeFsb = field(default_factory=FakeFsb)

    def __post_init__(self) -> None:
        opener = InstanceOpener(self.platform, self.databases)
        self.customers = CustomerService(self.platform)
        self.instances = InstanceService(self.platform)
        self.contracts = ContractService(self.platform, self.databases)
        self.operations = OperationService(self.platform)
        self.clients = ClientService(opener, key=KEY)
        self.access = AccessService(opener)
        self.staff = StaffTokenService(self.platform, key=KEY, clock=self.clock)
        self.provisioner = InstanceProvisioner(
            self.platform, self.databases, boxes=self.fsb, contracts=self.contracts
        )

    def runner(
        self,
        owner: str = "control-1",
        *,
        patience: Patience = PATIENCE,
        actions: dict[str, StepAction] | None = None,
    ) -> OperationRunner:
        kind = self.provisioner.operation_kind()
        return OperationRunner(self.platform, [_with(kind, actions or {})], owner=owner, patience=patience)

    def run(self, runner: OperationRunner | None = None) -> int:
        """Run until nothing is due; returns how many steps were attempted."""

        async def until_idle() -> int:
            chosen, total = runner or self.runner(), 0
            while attempted := await chosen.run_due():
                total += attempted
            return total

        return anyio.run(until_idle)

    def customer(self, name: str = "wibu") -> CustomerId:
        return self.customers.add_customer(name).value.customer_id

    def order(self, name: str = "acme", edition: str = "dedicated", *, lines: int | None = None) -> Operation:
        known = self.customers.list_customers()
        customer_id = known[0].customer_id if known else self.customer()
        asked = InstanceCreate(customer_id=customer_id, edition=edition, name=name, lines=lines)
        return self.instances.create_instance(asked).value

    def ready_instance(self, name: str = "acme", edition: str = "dedicated") -> Instance:
        operation = self.order(name, edition)
        self.run()
        return self.instances.get_instance(InstanceId(operation.object_id))

    def look(self, operation_id: OperationId) -> Operation:
        return self.operations.get_operation(operation_id)

    def cache(self, instance_id: InstanceId) -> AccessCache:
        return AccessCache(self.databases.open(instance_id), clock=self.clock, key=KEY)

    def events(self, kind: str) -> Sequence[str]:
        found = self.platform.read(lambda reader: list_events(reader, after=0, limit=1000))
        return [event.subject for event in found if event.type == kind]


def _with(kind: OperationKind, actions: dict[str, StepAction]) -> OperationKind:
    return replace(kind, actions={**kind.actions, **actions})
