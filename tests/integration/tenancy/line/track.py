"""A world with lines: two people who order them, and processes that come and go with what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import anyio.lowlevel

from app.core.clock import to_text
from app.core.db import Tx
from app.core.ids import ContractId, LineId, OperationId, new_id
from app.core.json import JsonObject
from app.core.outbox import Event, list_events
from editions import quota_state
from tenancy import Instance, Operation, OperationService, OperationSweeper, register_box_actions, repository
from tenancy.lifecycle.service import LifecycleService
from tenancy.line.operation import LineOperations
from tenancy.line.order import register_line_actions
from tenancy.line.record import LineRecord, ServedLine
from tenancy.line.service import LineService
from tenancy.operation.kind import OperationKind
from tenancy.record import InstanceState
from tenancy.runner.port import LineSeen
from tenancy.server.repository import list_placed_on
from tenancy.staff.approval import ApprovalService, GuardedActions
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.staff_material import as_staff
from tests.integration.tenancy.world import World


class Track(Rack):
    """Lines of a world, and what staff do about them.

    Attributes:
        embedded: lines have no processes of their own.
        running: requests under way at each line that has a process.
        held_back: lines whose process does not come, or does not go.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lines = LineService(world.platform)
        self.embedded = False
        self.running: dict[LineId, int] = {}
        self.held_back: set[LineId] = set()
        self._there: set[LineId] = set()
        self.kinds = (*self.kinds, *LineOperations(world.platform, self._watch).kinds())
        self.operations = OperationService(world.platform, self.kinds)
        self.sweeper = OperationSweeper(world.platform, self.kinds)
        guarded = GuardedActions()
        register_box_actions(guarded)
        register_line_actions(guarded)
        self.approvals = ApprovalService(world.platform, guarded)

    def instance(self, name: str = "acme", edition: str = "high_availability") -> Instance:
        found = self.world.ready_instance(name, edition)
        assert found.state == "ready"
        return found

    def after(self, **times: float) -> datetime:
        return self.world.clock.now() + timedelta(**times)

    def order(
        self, instance: Instance, *, ends_at: datetime, starts_at: datetime | None = None
    ) -> OperationId:
        """Ask for a temporary line and have it approved; the operation that it starts."""
        return self.start(
            "addLine",
            instance.instance_id,
            {
                "starts_at": None if starts_at is None else to_text(starts_at),
                "ends_at": to_text(ends_at),
            },
        )

    def temporary(self, instance: Instance, **times: float) -> LineId:
        """A temporary line, in service; for a day unless told otherwise."""
        done = self.end(self.order(instance, ends_at=self.after(**(times or {"days": 1}))))
        assert done.state == "succeeded", done
        return LineId(done.object_id)

    def approve(self, approval_id: str) -> None:
        """The second person says yes."""
        self.approvals.approve(approval_id, expected_version=1, by=self.hugo, command=as_staff(self.hugo))

    def end_killed(self, wrap: Callable[[OperationKind], OperationKind]) -> None:
        """Let time pass until the process dies where it is told to."""
        for _ in range(60):
            self.run(wrap)
            self.world.clock.advance(timedelta(seconds=1))

    def lifecycle(self) -> LifecycleService:
        return LifecycleService(self.world.platform, contracts=self.world.contracts)

    def set_state(self, instance: Instance, state: InstanceState) -> None:
        """As the operation would that leads there."""

        def body(tx: Tx) -> JsonObject:
            assert repository.set_state(
                tx, instance.instance_id, old=instance.state, new=state, health="unknown"
            )
            return {}

        self.world.platform.run_tx(new_id("op"), body)

    def contract_id(self, line: LineRecord, more: str = "") -> ContractId:
        return ContractId(f"{line.contract_id}{more}")

    def front(self, instance: Instance) -> dict[str, ServedLine]:
        return {line.line_id: line for line in self.lines.front_lines(instance.instance_id)}

    def quota(self, instance: Instance) -> int:
        """Activations of this month, as the instance's own database has it."""
        self.world.contracts.push_due()
        db = self.world.databases.open(instance.instance_id)
        return db.read(lambda reader: quota_state(reader, "activations", self.world.clock.now())).contractual

    def line_events(self, instance: Instance) -> list[Event]:
        found = self.world.platform.read(lambda reader: list_events(reader, after=0, limit=10_000))
        return [
            each
            for each in found
            if each.type.startswith("instance.line_") and each.subject == instance.instance_id
        ]

    def ended(self, line_id: LineId) -> Operation:
        """The end of a line that has begun."""
        (found,) = self.operations.list_operations(object_id=line_id, limit=100)[-1:]
        return self.end(found.operation_id)

    def servers(self, instance: Instance) -> list[str]:
        found = self.world.platform.read(lambda reader: list_placed_on(reader, instance.instance_id))
        return [each.name for each in found]

    async def _watch(self) -> Mapping[LineId, LineSeen] | None:
        """As with a keeper whose turn comes before every look."""
        await anyio.lowlevel.checkpoint()
        if self.embedded:
            return None
        wanted = {line.line_id for each in self.lines.list_served() for line in each.lines}
        for line_id in wanted ^ self._there:
            if line_id not in self.held_back:
                (self._there.add if line_id in wanted else self._there.discard)(line_id)
        return {
            line_id: LineSeen(line_id=line_id, state="ready", running=self.running.get(line_id, 0))
            for line_id in self._there
        }
