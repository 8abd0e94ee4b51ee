"""The world of tenancy, with everything that follows provisioning."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.core.command import Command
from app.core.db import Tx
from app.core.ids import InstanceId, OperationId
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from tenancy import Instance, Operation, OperationRunner, OperationService, OperationSweeper
from tenancy.lifecycle.ending import InstanceEnder
from tenancy.lifecycle.erasing import EraserParts, InstanceEraser
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.file_store import FileStore
from tenancy.lifecycle.service import LifecycleService, start_end, start_erase
from tenancy.operation.kind import NotYet, OperationKind, StepAction, StepContext
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.integration.tenancy.world import PATIENCE, World

STAFF = Origin(
    actor=Actor(kind="staff", actor_id="stk_1", person="per_2"), action="approveRequest", reason="it is over"
)


class FakeSigner:
    """An audit key without a file."""

    key_id = "aud_test"

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public_key = self._private.public_key()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


class FakeLines:
    """Lines that have `busy` transfers under way, one fewer each time somebody looks."""

    def __init__(self) -> None:
        self.busy = 0
        self.forgotten: list[InstanceId] = []

    async def settle(self, instance_id: InstanceId) -> bool:
        await anyio.lowlevel.checkpoint()
        assert instance_id
        self.busy = max(0, self.busy - 1)
        return self.busy == 0

    async def forget(self, instance_id: InstanceId) -> None:
        await anyio.lowlevel.checkpoint()
        self.forgotten.append(instance_id)


class Life:
    """Every service of the life of an instance over one world."""

    def __init__(self, world: World, data_dir: Path) -> None:
        self.world = world
        self.data_dir = data_dir
        self.files = FileStore(data_dir)
        self.signer = FakeSigner()
        self.lines = FakeLines()
        self.service = LifecycleService(world.platform, contracts=world.contracts)
        self.exporter = InstanceExporter(world.platform, world.databases, self.files)
        parts = EraserParts(
            databases=world.databases,
            files=self.files,
            exporter=self.exporter,
            boxes=world.fsb,
            lines=self.lines,
            signer=self.signer,
        )
        self.eraser = InstanceEraser(world.platform, parts)
        ender = InstanceEnder(
            world.platform, contracts=world.contracts, exporter=self.exporter, lines=self.lines
        )
        self.kinds = [
            self.exporter.operation_kind(),
            ender.operation_kind(),
            self.eraser.operation_kind(),
        ]
        self.operations = OperationService(world.platform, self.kinds)
        self.sweeper = OperationSweeper(world.platform, self.kinds, stranded={})

    @property
    def clock(self) -> FakeClock:
        return self.world.clock

    def get(self, instance: Instance) -> Instance:
        return self.world.instances.get_instance(instance.instance_id)

    def start(
        self, how: Callable[[Tx, str, JsonObject], OperationId], instance: Instance, **asked: Any
    ) -> Operation:
        """Start a guarded action, as the approval of it does."""

        def body(tx: Tx) -> JsonObject:
            return {"operation_id": how(tx, instance.instance_id, asked)}

        answer = self.world.platform.run_tx(Command().op_id, body, origin=STAFF)
        return self.look(str(answer.value["operation_id"]))

    def look(self, operation_id: str) -> Operation:
        return self.operations.get_operation(OperationId(operation_id))

    def runner(self, *, killing: tuple[str, StepAction] | None = None) -> OperationRunner:
        kinds = self.kinds if killing is None else [_with(kind, *killing) for kind in self.kinds]
        return OperationRunner(self.world.platform, kinds, owner="control-1", patience=PATIENCE)

    def run(self, operation: Operation, runner: OperationRunner | None = None) -> Operation:
        """Run the operation to its end, letting the time pass that it waits for."""
        chosen = runner or self.runner()
        for _ in range(100):
            self.world.run(chosen)
            found = self.look(operation.operation_id)
            if found.finished or found.state in ("failed", "fatal"):
                return found
            self.clock.set(max(found.due_at, self.clock.now()))
        raise AssertionError(f"the operation does not end: {found}")

    def end(self, instance: Instance, *, days: int = 30) -> Instance:
        """End an instance's contract."""
        assert self.run(self.start(start_end, instance, retention_days=days)).state == "succeeded"
        return self.get(instance)

    def erase(self, instance: Instance) -> Operation:
        """Erase an ended instance whose retention is over."""
        return self.run(self.start(start_erase, instance))


def _with(kind: OperationKind, step: str, action: StepAction) -> OperationKind:
    """The kind with another action in one step, if it has it."""
    if step not in kind.actions:
        return kind
    return replace(kind, actions={**kind.actions, step: action})


def killed_in(action: StepAction, *, after_effect: bool) -> StepAction:
    """The step as a process carries it out that is killed before or after its effect."""

    async def killed(context: StepContext) -> NotYet | None:
        if after_effect:
            await action(context)
        raise Killed

    return killed


def read_export(path: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Manifest and rows of an export, after a comparison of every digest and count."""
    assert os.stat(path).st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        tables = {}
        for each in manifest["files"]:
            content = archive.read(each["file"])
            assert sha256(content).hexdigest() == each["sha256"]
            tables[each["table"]] = [json.loads(line) for line in content.splitlines()]
            assert len(tables[each["table"]]) == each["rows"]
        assert {*archive.namelist()} == {"manifest.json", *(each["file"] for each in manifest["files"])}
    return manifest, tables
