"""Provisioning with everything real but HTTP: databases of either engine, a gateway with keys on disk."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from app.core.db import Database, Tx, TxAnswer
from app.core.ids import CustomerId, InstanceId, OperationId
from app.core.json import JsonObject
from app.core.origin import UNNAMED, Origin
from fsb_gateway import BoxSpec, FsbClient, Gateway, Keystore, create_gateway_app
from fsb_gateway.engine.embedded import embedded_boxes
from fsb_gateway.report import BoxReport, FirmKeyReport, PoolReport
from tenancy import (
    BoxCare,
    ContractService,
    CustomerService,
    FirstClient,
    InstanceCreate,
    InstanceProvisioner,
    InstanceService,
    NotYet,
    OperationKind,
    OperationRunner,
    OperationService,
    PasswordSeal,
    Patience,
    PlacedDatabases,
    StepContext,
)
from tenancy.operation.kind import StepAction
from tests.fake.clock import FakeClock
from tests.integration.tenancy.world import KEY

T = TypeVar("T")

OWNER = "foundry"


@dataclass
class Fuse:
    """Kills this process at a point: `before`, `after` or the n-th effect `inside` a step, forward or `undo`.

    Attributes:
        point: `<step>|undo <step>` `:` `before|after|<n>`; empty: never.
    """

    point: str = ""
    step: str = ""
    effects: int = 0

    def enter(self, step: str) -> None:
        self.step, self.effects = step, 0
        self._blow("before")

    def leave(self) -> None:
        self._blow("after")
        self.step = ""

    def effect(self) -> None:
        """Something was done that a death does not take back."""
        if self.step:
            self.effects += 1
            self._blow(str(self.effects))

    def _blow(self, where: str) -> None:
        if self.point == f"{self.step}:{where}":
            os.kill(os.getpid(), signal.SIGKILL)


class FusedDatabase(Database):
    """The platform database; each transaction can be the last thing this process does."""

    fuse: Fuse = Fuse()

    def run_tx(
        self,
        op_id: str,
        body: Callable[[Tx], JsonObject],
        *,
        fingerprint: str = "",
        origin: Origin = UNNAMED,
    ) -> TxAnswer:
        answer = super().run_tx(op_id, body, fingerprint=fingerprint, origin=origin)
        self.fuse.effect()
        return answer


@dataclass
class FusedFsb:
    """The gateway's client; each call can be the last thing this process does."""

    client: FsbClient
    fuse: Fuse

    async def ensure_box(self, spec: BoxSpec) -> object:
        return await self._fused(self.client.ensure_box(spec))

    async def remove_box(self, name: str) -> None:
        await self._fused(self.client.remove_box(name))

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> FirmKeyReport:
        return await self._fused(self.client.ensure_firm_key(instance_id, firm_code, pool=pool))

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        await self._fused(self.client.remove_firm_key(instance_id, firm_code))

    async def copy_firm_key(self, firm_code: int, *, to: str) -> FirmKeyReport:
        return await self._fused(self.client.copy_firm_key(firm_code, to=to))

    async def drop_firm_key(self, firm_code: int, *, box: str) -> None:
        await self._fused(self.client.drop_firm_key(firm_code, box=box))

    async def rotate_firm_key(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        return await self._fused(self.client.rotate_firm_key(firm_code, key_id=key_id))

    async def retire_firm_key(self, firm_code: int) -> FirmKeyReport:
        return await self._fused(self.client.retire_firm_key(firm_code))

    async def boxes(self) -> tuple[BoxReport, ...]:
        return await self.client.boxes()

    async def pools(self) -> tuple[PoolReport, ...]:
        return await self.client.pools()

    async def firm_keys(self) -> tuple[FirmKeyReport, ...]:
        return await self.client.firm_keys()

    async def _fused(self, call: Coroutine[object, object, T]) -> T:
        answer = await call
        self.fuse.effect()
        return answer


@dataclass
class Foundry:
    """What a control process is made of.

    Attributes:
        folder: keys, journals, and databases on SQLite.
        fail: names of steps that fail.
        firm_keys: as the gateway of the last run left them.
    """

    url: str
    folder: Path
    point: str = ""
    fail: frozenset[str] = field(default=frozenset())
    attempts: int = 3
    firm_keys: tuple[FirmKeyReport, ...] = ()

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.fuse = Fuse(self.point)
        self.platform = FusedDatabase(self.url, clock=self.clock)
        self.platform.fuse = self.fuse
        self.databases = PlacedDatabases(
            self.platform, data_dir=self.folder, seal=PasswordSeal(KEY), clock=self.clock
        )
        self.keystore = Keystore(self.folder / "keys", clock=self.clock)
        self.instances = InstanceService(self.platform)

    def close(self) -> None:
        self.databases.close()
        self.platform.close()

    def service(self) -> OperationService:
        """For decisions of staff; its gateway is never called."""
        fsb = FusedFsb(FsbClient.in_process(create_gateway_app(self.gateway())), self.fuse)
        care = BoxCare(self.platform, self.databases, fsb)
        return OperationService(self.platform, self._kinds(fsb, care))

    def _kinds(self, fsb: FusedFsb, care: BoxCare) -> list[OperationKind]:
        return [self._provisioner(fsb).operation_kind(), *care.kinds()]

    def gateway(self) -> Gateway:
        """Not started."""
        boxes = self.folder / "boxes"

        make_box = embedded_boxes(boxes, self.keystore, clock=self.clock)
        return Gateway(self.keystore, boxes, clock=self.clock, make_box=make_box)

    def run(self) -> None:
        """Take over what a dead process left, and work until nothing is due."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        gateway = self.gateway()
        await gateway.start()
        fsb = FusedFsb(FsbClient.in_process(create_gateway_app(gateway)), self.fuse)
        try:
            care = BoxCare(self.platform, self.databases, fsb)
            await care.keeper.reconcile()
            kinds = [self._fused(each) for each in self._kinds(fsb, care)]
            runner = OperationRunner(
                self.platform, kinds, owner=OWNER, patience=Patience(attempts=self.attempts)
            )
            await runner.take_over()
            while await runner.run_due():
                continue
            self.firm_keys = await gateway.firm_keys()
        finally:
            await gateway.close()

    def order(self, name: str, edition: str = "high_performance") -> tuple[InstanceId, OperationId]:
        customers = CustomerService(self.platform)
        known = customers.list_customers()
        customer_id: CustomerId = (
            known[0].customer_id if known else customers.add_customer("wibu").value.customer_id
        )
        operation = self.instances.create_instance(
            InstanceCreate(
                customer_id=customer_id,
                edition=edition,
                name=name,
                first_client=FirstClient(name="erp", scopes=frozenset({"read"})),
            )
        ).value
        return InstanceId(operation.object_id), operation.operation_id

    def _provisioner(self, fsb: FusedFsb) -> InstanceProvisioner:
        return InstanceProvisioner(
            self.platform,
            self.databases,
            boxes=fsb,
            contracts=ContractService(self.platform, self.databases),
            key=KEY,
        )

    def _fused(self, kind: OperationKind) -> OperationKind:
        forward = {name: self._watched(name, action) for name, action in kind.actions.items()}
        back = {name: self._watched(f"undo {name}", action) for name, action in kind.undo.items()}
        return replace(kind, actions=forward, undo=back)

    def _watched(self, name: str, action: StepAction) -> StepAction:
        async def act(context: StepContext) -> NotYet | None:
            self.fuse.enter(name)
            if name in self.fail:
                raise RuntimeError("as told")
            answer = await action(context)
            self.fuse.leave()
            return answer

        return act
