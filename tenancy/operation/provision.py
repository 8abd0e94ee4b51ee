"""Provisioning an instance: from its row in the platform database to an instance that can sign.

create_database ──► install_firm_key ──► write_config ──► check_ready ──► instance is ready
                       boxes of the pool first                              given up: instance is failed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio.to_thread

from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec
from tenancy import repository
from tenancy.access.repository import find_profile
from tenancy.contract import ContractService
from tenancy.errors import InstanceNotReady
from tenancy.instance_database import InstanceDatabases
from tenancy.operation.plan import PROVISION_INSTANCE, Operation
from tenancy.operation.runner import OperationKind
from tenancy.placement import BoxKind, find_edition, place_instance
from tenancy.record import Instance

T = TypeVar("T")


class FirmKeyInstaller(Protocol):
    """What provisioning asks of the Firm Security Boxes; `fsb_gateway.client.FsbClient` is one."""

    async def ensure_box(self, spec: BoxSpec) -> object:
        """Set up a box, or change its pace."""
        ...

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> object:
        """Make a firm key unless it is there, and install it in every box of the pool."""
        ...


class InstanceProvisioner:
    """The steps of `provision_instance`. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        databases: makes the instance's database.
        boxes: installs the firm key.
        contracts: writes the configuration.
        kind: of the boxes that new pools get.
    """

    def __init__(
        self,
        db: Database,
        databases: InstanceDatabases,
        *,
        boxes: FirmKeyInstaller,
        contracts: ContractService,
        kind: BoxKind | None = None,
    ) -> None:
        self._db = db
        self._databases = databases
        self._boxes = boxes
        self._contracts = contracts
        self._kind = kind or BoxKind()

    def operation_kind(self) -> OperationKind:
        """What the runner needs."""
        actions = (self._create_database, self._install_firm_key, self._write_config, self._check_ready)
        return OperationKind(
            plan=PROVISION_INSTANCE,
            actions=dict(zip(PROVISION_INSTANCE.steps, actions, strict=True)),
            on_failed=_mark_failed,
        )

    async def restore_boxes(self) -> int:
        """Set every known box up again, for a gateway that has just started and knows none; returns how many."""
        known = await _in_thread(lambda: self._db.read(repository.list_boxes))
        for spec in known:
            await self._boxes.ensure_box(spec)
        return len(known)

    async def _create_database(self, operation: Operation) -> None:
        instance_id = InstanceId(operation.object_id)

        def work() -> None:
            url = self._databases.create(instance_id)

            def body(tx: Tx) -> JsonObject:
                repository.set_database(tx, instance_id, url=url)
                return {}

            self._db.run_tx(new_id("op"), body)

        await _in_thread(work)

    async def _install_firm_key(self, operation: Operation) -> None:
        instance = await self._get_instance(operation)
        placement = place_instance(
            instance.name, find_edition(instance.edition), lines=instance.lines, kind=self._kind
        )
        for spec in await _in_thread(lambda: self._register_boxes(placement.boxes)):
            await self._boxes.ensure_box(spec)
        await self._boxes.ensure_firm_key(instance.instance_id, instance.firm_code, pool=instance.pool)

    async def _write_config(self, operation: Operation) -> None:
        await _in_thread(lambda: self._contracts.push_config(InstanceId(operation.object_id)))

    async def _check_ready(self, operation: Operation) -> None:
        instance = await self._get_instance(operation)
        await _in_thread(lambda: self._look_and_open(instance))

    async def _get_instance(self, operation: Operation) -> Instance:
        instance_id = InstanceId(operation.object_id)
        return await _in_thread(
            lambda: self._db.read(lambda reader: repository.get_instance(reader, instance_id))
        )

    def _register_boxes(self, wanted: tuple[BoxSpec, ...]) -> list[BoxSpec]:
        """Store which boxes there are; a box known before keeps its own pace, whatever new ones get."""

        def body(tx: Tx) -> JsonObject:
            for spec in wanted:
                repository.add_box(tx, spec)
            return {}

        self._db.run_tx(new_id("op"), body)
        names = {spec.name for spec in wanted}
        return [spec for spec in self._db.read(repository.list_boxes) if spec.name in names]

    def _look_and_open(self, instance: Instance) -> None:
        """Compare what the instance's database says with what was ordered, then let the instance be used."""
        profile = self._databases.open(instance.instance_id).read(find_profile)
        if profile is None or profile.instance_id != instance.instance_id or profile.pool != instance.pool:
            raise InstanceNotReady("The instance's database does not hold its configuration.")

        def body(tx: Tx) -> JsonObject:
            if repository.set_state(tx, instance.instance_id, old="provisioning", new="ready", health="ok"):
                tx.emit("instance.ready", subject=instance.instance_id, data={"name": instance.name})
            return {}

        self._db.run_tx(new_id("op"), body)


def _mark_failed(tx: Tx, object_id: str) -> None:
    if repository.set_state(tx, InstanceId(object_id), old="provisioning", new="failed", health="down"):
        tx.emit("instance.failed", subject=object_id, data={})


async def _in_thread(work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work)
