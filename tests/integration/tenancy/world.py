"""A platform without HTTP: real databases of either engine, a fake gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from app.core.db import Database
from app.core.ids import CustomerId, InstanceId, OperationId
from app.core.outbox import list_events
from tenancy import (
    AccessCache,
    AccessService,
    BoxCare,
    ClientService,
    ContractService,
    CredentialKey,
    CustomerService,
    Instance,
    InstanceCreate,
    InstanceDatabases,
    InstanceOpener,
    InstanceProfile,
    InstanceProvisioner,
    InstanceService,
    Operation,
    OperationRunner,
    OperationService,
    OperationSweeper,
    Patience,
    StaffTokenService,
)
from tenancy.operation.kind import OperationKind, StepAction
from tenancy.operation.plan import PROVISION_INSTANCE
from tests.fake.box_gateway import FakeGateway
from tests.fake.clock import FakeClock
from tests.integration.tenancy.idle import run_until_idle

KEY = CredentialKey(bytes(range(32)))
PATIENCE = Patience(attempts=3, first_pause=timedelta(seconds=1), longest_pause=timedelta(seconds=4))


@dataclass
class World:
    """All services of the package over one platform database."""

    platform: Database
    databases: InstanceDatabases
    clock: FakeClock
    fsb: FakeGateway = field(init=False)

    def __post_init__(self) -> None:
        self.fsb = FakeGateway(clock=self.clock)
        self.boxes = BoxCare(self.platform, self.databases, self.fsb)
        opener = InstanceOpener(self.platform, self.databases)
        self.customers = CustomerService(self.platform)
        self.instances = InstanceService(self.platform)
        self.contracts = ContractService(self.platform, self.databases)
        self.clients = ClientService(opener, key=KEY)
        self.access = AccessService(opener, key=KEY)
        self.staff = StaffTokenService(self.platform, key=KEY, clock=self.clock)
        self.provisioner = InstanceProvisioner(
            self.platform, self.databases, boxes=self.fsb, contracts=self.contracts, key=KEY
        )
        self.kinds = [self.provisioner.operation_kind()]
        self.operations = OperationService(self.platform, self.kinds)
        self.sweeper = OperationSweeper(
            self.platform, self.kinds, stranded={"provisioning": PROVISION_INSTANCE}
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
        return run_until_idle(runner or self.runner())

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

    def profile_of(self, db: Database) -> InstanceProfile:
        """Whose a database is, as it says itself."""
        return AccessCache(db, clock=self.clock, key=KEY).profile()

    def events(self, kind: str) -> Sequence[str]:
        found = self.platform.read(lambda reader: list_events(reader, after=0, limit=1000))
        return [event.subject for event in found if event.type == kind]


def _with(kind: OperationKind, actions: dict[str, StepAction]) -> OperationKind:
    return replace(kind, actions={**kind.actions, **actions})
