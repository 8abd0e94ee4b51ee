"""A world with boxes, two people who may do everything together, and a process that can be killed at any step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio
import anyio.lowlevel

from app.core.ids import OperationId
from app.core.json import JsonObject
from app.core.outbox import Event, list_events
from fsb_gateway.box_driver import BoxSpec
from tenancy import (
    Instance,
    Operation,
    OperationRunner,
    OperationService,
    OperationSweeper,
    register_box_actions,
)
from tenancy.box.spec_json import describe_spec
from tenancy.operation.kind import OperationKind, StepAction, StepContext
from tenancy.staff.approval import ApprovalService, GuardedActions
from tests.fake.killed import Killed
from tests.integration.tenancy.idle import run_until_idle
from tests.integration.tenancy.staff_material import Office, as_staff
from tests.integration.tenancy.world import PATIENCE, World


class Rack:
    """Boxes of a world, and what staff do about them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fsb = world.fsb
        self.care = world.boxes
        self.service = world.boxes.service
        self.kinds = world.boxes.kinds()
        self.operations = OperationService(world.platform, self.kinds)
        self.sweeper = OperationSweeper(world.platform, self.kinds)
        guarded = GuardedActions()
        register_box_actions(guarded)
        self.approvals = ApprovalService(world.platform, guarded)
        office = Office(world.platform)
        self.mona, self.hugo = office.hire("mona@wops.example", "admin"), office.hire("hugo")

    def look(self, times: int = 1) -> None:
        """So many turns of the loop that keeps boxes."""
        for _ in range(times):
            anyio.run(self.care.keeper.look)

    def ask(self, action: str, object_id: str, parameters: JsonObject) -> str:
        """Ask for something; the id of the request."""
        asked = self.approvals.request(
            action,
            object_id,
            parameters=parameters,
            reason="ticket 4711",
            by=self.mona,
            command=as_staff(self.mona),
        )
        return asked.value.approval_id

    def start(self, action: str, object_id: str, parameters: JsonObject) -> OperationId:
        """Ask for something and have it approved; the operation that it starts."""
        approval_id = self.ask(action, object_id, parameters)
        done = self.approvals.approve(
            approval_id, expected_version=1, by=self.hugo, command=as_staff(self.hugo)
        )
        assert done.value.operation_id is not None
        return done.value.operation_id

    def run(self, wrap: Callable[[OperationKind], OperationKind] = lambda kind: kind) -> None:
        """Carry out what is due, as a process that has just been started."""
        kinds = [wrap(kind) for kind in self.kinds]
        runner = OperationRunner(self.world.platform, kinds, owner="control-1", patience=PATIENCE)
        anyio.run(runner.take_over)
        run_until_idle(runner)

    def end(self, operation_id: OperationId) -> Operation:
        """Let time pass until an operation has come to its end."""
        for _ in range(40):
            self.run()
            found = self.operations.get_operation(operation_id)
            if found.finished:
                return found
            self.world.clock.advance(max(found.due_at - self.world.clock.now(), timedelta(0)))
            self.sweeper.sweep()
        raise AssertionError(found)

    def until(self, operation_id: OperationId, state: str) -> Operation:
        """Let time pass until an operation is in a state."""
        for _ in range(40):
            self.run()
            found = self.operations.get_operation(operation_id)
            if found.state == state:
                return found
            self.world.clock.advance(max(found.due_at - self.world.clock.now(), timedelta(seconds=1)))
            self.sweeper.sweep()
        raise AssertionError(found)

    def do(self, action: str, object_id: str, parameters: JsonObject) -> Operation:
        """Ask, approve, carry out."""
        return self.end(self.start(action, object_id, parameters))

    def add(self, name: str, pool: str = "shared", owner: str | None = None) -> Operation:
        """A box joins a pool."""
        spec = BoxSpec(name=name, pool=pool, owner=owner)
        return self.do("addBox", name, {"box": describe_spec(spec), "firm_codes": []})

    def lend(self, name: str, to: str, *, hours: int = 2, force: bool = False) -> Operation:
        """A box is lent."""
        return self.do("lendBox", name, {"to": to, "hours": hours, "force": force})

    def copy(self, instance: Instance, to: str, **more: str) -> JsonObject:
        """What a copy of an instance's key is asked for with."""
        return {**self.key(instance), "to": to, **more}

    def key(self, instance: Instance) -> JsonObject:
        """An instance's key as it is now: what anything about it is asked for with."""
        return anyio.run(self.care.control.plan_key, instance.firm_code)

    def holders(self, instance: Instance) -> set[str]:
        """Boxes with an instance's key."""
        return set(self.fsb.held[instance.firm_code])

    def is_drained(self, box: str) -> bool:
        """Whether the gateway gives a box nothing to do."""
        return self.fsb.specs[box].drained

    def told(self, kind: str, instance: Instance | None = None) -> list[Event]:
        """Events of the platform's chain, or of an instance's own."""
        self.care.notes.deliver_due()
        db = self.world.platform if instance is None else self.world.databases.open(instance.instance_id)
        found = db.read(lambda reader: list_events(reader, after=0, limit=10_000))
        return [event for event in found if event.type == kind]


def killed_after(step: str) -> Callable[[OperationKind], OperationKind]:
    """Kinds whose process dies when a step has done its work and nobody knows yet; forward, or `undo` and the step."""

    def wrap(kind: OperationKind) -> OperationKind:
        name = step.removeprefix("undo ")
        actions, undo = dict(kind.actions), dict(kind.undo)
        chosen = undo if step.startswith("undo ") else actions
        if name in chosen:
            chosen[name] = _dying(chosen[name])
        return OperationKind(plan=kind.plan, actions=actions, undo=undo)

    return wrap


def failing(step: str, error: Exception) -> Callable[[OperationKind], OperationKind]:
    """Kinds that cannot carry a step out."""

    def wrap(kind: OperationKind) -> OperationKind:
        async def fail(_context: StepContext) -> None:
            await anyio.lowlevel.checkpoint()
            raise error

        actions = {**kind.actions, **({step: fail} if step in kind.actions else {})}
        return OperationKind(plan=kind.plan, actions=actions, undo=kind.undo)

    return wrap


def _dying(action: StepAction) -> StepAction:
    async def die(context: StepContext) -> None:
        await action(context)
        raise Killed

    return die
