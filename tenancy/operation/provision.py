"""Provisioning an instance: from its row in the platform database to an instance that can sign, or back to nothing.

    create_database ──► install_firm_key ──► write_config ──► create_credentials ──► check_ready ──► ready
    │ undo: drop it     │ undo: remove key                                                │
    ◄───────────────────┴──────────────────────────────────────────────────────────────────┘
    recovered: place, name, firm code, contract and instance are free or gone, in one transaction; a firm code whose key
    staff have left in boxes stays taken

Its place on a server is taken in the transaction of the order. The instance becomes ready in the transaction that ends
the operation: whatever is undone has never served anybody.

**Decision: the first client's secret.** An order may name a first API client. Its secret is generated, hashed and
thrown away: nobody has seen it, nothing holds it, and the first rotation shows one, once, to whoever asks for it.
Alternative: a sealed hand-over kept with the operation, which is one more place where a secret lies, and one more
deadline; a rotation is a call that everybody knows already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import ApiClientId, InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin
from fsb_gateway.box_driver import BoxSpec
from tenancy import repository
from tenancy.access import repository as access
from tenancy.access.client.repository import NewClient, add_client
from tenancy.access.policy import check_scopes
from tenancy.box.port import FirmKeyInstaller
from tenancy.box.repository import add_box, list_boxes
from tenancy.contract.service import ContractService
from tenancy.credential import CLIENT_SECRET_PREFIX, CredentialKey, make_secret
from tenancy.database.port import InstanceDatabases
from tenancy.database.repository import list_visible_databases
from tenancy.errors import InstanceNotReady
from tenancy.name import check_name, make_username
from tenancy.operation.firm_key import FirmKeys
from tenancy.operation.kind import OperationKind, StepContext
from tenancy.operation.plan import FIRST_CLIENT, PROVISION_INSTANCE, Operation
from tenancy.placement import SHARED_POOL, BoxKind, find_edition, place_instance
from tenancy.record import Instance
from tenancy.server.placing import release

T = TypeVar("T")


class InstanceProvisioner:
    """The steps of `provision_instance`. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        databases: makes the instance's database.
        boxes: installs the firm key.
        contracts: writes the configuration.
        key: under which the first client's secret is hashed.
        kind: of the boxes that new pools get.
    """

    def __init__(
        self,
        db: Database,
        databases: InstanceDatabases,
        *,
        boxes: FirmKeyInstaller,
        contracts: ContractService,
        key: CredentialKey,
        kind: BoxKind | None = None,
    ) -> None:
        self._db = db
        self._databases = databases
        self._boxes = boxes
        self._keys = FirmKeys(db, boxes)
        self._contracts = contracts
        self._key = key
        self._kind = kind or BoxKind()

    def operation_kind(self) -> OperationKind:
        """What the runner needs."""
        return OperationKind(
            plan=PROVISION_INSTANCE,
            actions={
                "create_database": self._create_database,
                "install_firm_key": self._install_firm_key,
                "write_config": self._write_config,
                "create_credentials": self._create_credentials,
                "check_ready": self._check_ready,
            },
            undo={"create_database": self._drop_database, "install_firm_key": self._remove_firm_key},
            on_state=_note_state,
            on_finished=_finish,
        )

    async def _create_database(self, context: StepContext) -> None:
        instance_id = InstanceId(context.object_id)
        await context.check_owner()
        url = await to_thread.run_sync(lambda: self._databases.create(instance_id))

        def body(tx: Tx) -> JsonObject:
            repository.set_database(tx, instance_id, url=url)
            tx.emit("instance.database_created", subject=instance_id, data={"database_url": url})
            return {}

        await self._write(context.origin, body)

    async def _drop_database(self, context: StepContext) -> None:
        instance_id = InstanceId(context.object_id)
        await context.check_owner()
        await to_thread.run_sync(lambda: self._databases.drop(instance_id))

    async def _install_firm_key(self, context: StepContext) -> None:
        instance = await self._get_instance(context)
        wanted = self._boxes_of(instance)

        def body(tx: Tx) -> JsonObject:
            # A shared box that staff have removed does not come back with the next order: only an empty pool gets one.
            is_there = any(box.spec.pool == instance.pool for box in list_boxes(tx))
            lacking = () if instance.pool == SHARED_POOL and is_there else wanted
            added = [spec.name for spec in lacking if add_box(tx, spec)]
            if added:
                tx.emit("pool.boxes_added", subject=instance.pool, data={"boxes": [*added]})
            return {}

        await self._write(context.origin, body)
        names = {spec.name for spec in wanted}
        # A box known before keeps its own pace, whatever new ones get.
        known = await to_thread.run_sync(lambda: self._db.read(list_boxes))
        await context.check_owner()
        for box in known:
            if box.name in names:
                await self._boxes.ensure_box(box.told)
        await self._keys.install(context, instance)

    async def _remove_firm_key(self, context: StepContext) -> None:
        await self._keys.remove(context, await self._get_instance(context))

    async def _write_config(self, context: StepContext) -> None:
        await to_thread.run_sync(lambda: self._contracts.push_config(InstanceId(context.object_id)))

    async def _create_credentials(self, context: StepContext) -> None:
        asked = context.parameters.get(FIRST_CLIENT)
        if not isinstance(asked, dict):
            await context.note("No first client was asked for.")
            return
        instance = await self._get_instance(context)
        new = self._new_client(instance, asked)
        db = await to_thread.run_sync(lambda: self._databases.open(instance.instance_id))

        def body(tx: Tx) -> JsonObject:
            access.touch(tx)
            if not add_client(tx, new):
                raise InstanceNotReady("The first client's name is taken already.")
            data: JsonObject = {"name": new.name, "scopes": [*sorted(new.scopes)]}
            tx.emit("access.client_added", subject=new.client_id, data=data)
            return {"client_id": new.client_id}

        # The same id whenever the step is repeated: one client, however often its process dies.
        op_id = f"first-client:{context.operation.operation_id}"
        answer = await to_thread.run_sync(lambda: db.run_tx(op_id, body, origin=context.origin))
        await context.note(f"First client {answer.value['client_id']}: rotate it to get a secret.")

    def _new_client(self, instance: Instance, asked: JsonObject) -> NewClient:
        client_id, name = ApiClientId(new_id("cli")), check_name(str(asked["name"]))
        return NewClient(
            client_id=client_id,
            name=name,
            username=make_username(instance.name, name),
            secret_id=new_id("sec"),
            secret_hash=self._key.hash_secret(make_secret(CLIENT_SECRET_PREFIX), owner=client_id),
            scopes=check_scopes(cast(Sequence[str], asked["scopes"])),
        )

    async def _check_ready(self, context: StepContext) -> None:
        instance = await self._get_instance(context)
        await to_thread.run_sync(lambda: self._check_database(instance))
        boxes = [box for box in await self._boxes.boxes() if box.pool == instance.pool]
        # A box that is away gets the key from another one when it is back, before any job.
        if not any(box.condition == "ready" and instance.firm_code in box.firm_codes for box in boxes):
            names = [box.name for box in boxes]
            raise InstanceNotReady(
                "No box of the pool that works has the key of the firm code.", boxes=[*names]
            )

    def _check_database(self, instance: Instance) -> None:
        """Look at the instance's database as its own user: what it holds, and what else that user can see."""
        db = self._databases.open(instance.instance_id)
        profile = db.read(access.find_profile)
        if profile is None or profile.instance_id != instance.instance_id or profile.pool != instance.pool:
            raise InstanceNotReady("The instance's database does not hold its configuration.")
        if db.dialect == "mariadb" and len(list_visible_databases(db)) != 1:
            raise InstanceNotReady("The instance's database user can see other databases than its own.")

    def _boxes_of(self, instance: Instance) -> tuple[BoxSpec, ...]:
        edition = find_edition(instance.edition)
        placed = place_instance(
            instance.placement_name,
            edition,
            lines=instance.lines,
            instance_id=instance.instance_id,
            kind=self._kind,
        )
        return placed.boxes

    async def _get_instance(self, context: StepContext) -> Instance:
        instance_id = InstanceId(context.object_id)
        return await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.get_instance(reader, instance_id))
        )

    async def _write(self, origin: Origin, body: Callable[[Tx], JsonObject]) -> None:
        await to_thread.run_sync(lambda: self._db.run_tx(new_id("op"), body, origin=origin))


def _note_state(tx: Tx, operation: Operation) -> None:
    """Show at the instance whether it is still going forward."""
    instance_id = InstanceId(operation.object_id)
    if operation.state == "running":
        if repository.set_state(tx, instance_id, old="failed", new="provisioning", health="unknown"):
            tx.emit("instance.provisioning", subject=instance_id, data={}, before={"state": "failed"})
    elif repository.set_state(tx, instance_id, old="provisioning", new="failed", health="down"):
        tx.emit("instance.failed", subject=instance_id, data={}, before={"state": "provisioning"})


def _finish(tx: Tx, operation: Operation) -> None:
    instance_id = InstanceId(operation.object_id)
    instance = repository.get_instance(tx, instance_id)
    if operation.state == "succeeded":
        if repository.set_state(tx, instance_id, old="provisioning", new="ready", health="ok"):
            before: JsonObject = {"state": "provisioning"}
            tx.emit("instance.ready", subject=instance_id, data={"name": instance.name}, before=before)
        return
    # What staff decided not to undo: a database of nobody, or a key in the boxes.
    left = [step.name for step in operation.steps if step.state == "left"]
    release(tx, instance_id)
    repository.remove_unborn(tx, instance_id, keeps_firm_code="install_firm_key" in left)
    before = {"name": instance.name, "firm_code": instance.firm_code, "state": instance.state}
    data: JsonObject = {"name": instance.name, "left": [*left]}
    tx.emit("instance.removed", subject=instance_id, data=data, before=before)
