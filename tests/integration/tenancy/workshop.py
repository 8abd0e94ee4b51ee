"""Operations that do nothing but what a test tells them, on a real platform database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import anyio.lowlevel

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from app.core.outbox import list_events
from tenancy import (
    NotYet,
    Operation,
    OperationKind,
    OperationPlan,
    OperationRunner,
    OperationService,
    OperationState,
    OperationSweeper,
    Patience,
    StepContext,
    StepPlan,
    start_operation,
)
from tests.fake.clock import FakeClock
from tests.integration.tenancy.idle import run_until_idle

PATIENCE = Patience(attempts=3, first_pause=timedelta(seconds=1), longest_pause=timedelta(seconds=4))
PLAN = OperationPlan(
    kind="move_house",
    steps=(
        StepPlan(name="pack", undo=True),
        StepPlan(name="look_round", may_skip=True),
        StepPlan(name="drive", undo=True),
        StepPlan(name="unpack"),
    ),
    deadline=timedelta(hours=1),
    grace=timedelta(minutes=5),
    recovery_deadline=timedelta(hours=2),
)
STAFF = Origin(
    actor=Actor(kind="staff", actor_id="stk_1"), action="moveHouse", request_id="req_1", reason="new"
)

Behaviour = Callable[[StepContext], Awaitable[NotYet | None]]


class Workshop:
    """Runners, sweeper and staff of one kind of operation.

    Attributes:
        done: every action that was carried out to its end: `pack`, or `undo pack`.
        behave: what an action does instead; the key as in `done`.
        world: which steps are in force: what the actions have changed, of one operation at a time.
    """

    def __init__(self, db: Database, clock: FakeClock, plan: OperationPlan = PLAN) -> None:
        self.db = db
        self.clock = clock
        self.plan = plan
        self.done: list[str] = []
        self.world: set[str] = set()
        self.behave: dict[str, Behaviour] = {}
        self.states: list[str] = []
        self.kind = OperationKind(
            plan=plan,
            actions={step.name: self._action(step.name) for step in plan.steps},
            undo={step.name: self._undo(step.name) for step in plan.steps if step.undo},
            on_state=self._note_state,
            on_finished=self._note_state,
        )
        self.service = OperationService(db, [self.kind])
        self.sweeper = OperationSweeper(db, [self.kind])

    def start(self, object_id: str = "house_1", *, origin: Origin = STAFF) -> OperationId:
        def body(tx: Tx) -> JsonObject:
            return {"id": start_operation(tx, self.plan, object_id=object_id, parameters={"floor": 3})}

        return OperationId(str(self.db.run_tx(new_id("op"), body, origin=origin).value["id"]))

    def runner(self, owner: str = "control-1", patience: Patience = PATIENCE) -> OperationRunner:
        return OperationRunner(self.db, [self.kind], owner=owner, patience=patience)

    def run(self, runner: OperationRunner | None = None) -> int:
        """Run until nothing is due; returns how many steps were attempted."""
        return run_until_idle(runner or self.runner())

    def run_long(self, *, rounds: int = 100) -> None:
        """Let time pass, sweeper and runner work, until nothing changes by itself but reminders."""
        for _ in range(rounds):
            self.run()
            self.sweeper.sweep()
            if not any(self.service.list_operations(state=state, limit=1) for state in _RESTLESS):
                return
            self.clock.advance(timedelta(minutes=1))
        raise AssertionError("operations go on for ever")

    def look(self, operation_id: OperationId) -> Operation:
        return self.service.get_operation(operation_id)

    def log(self, operation_id: OperationId) -> list[str]:
        """The log as `event step`, after a look at its numbers."""
        lines = self.service.list_log(operation_id)
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        return [f"{line.event} {line.step}".strip() for line in lines]

    def events(self) -> list[str]:
        found = self.db.read(lambda reader: list_events(reader, after=0, limit=1000))
        return [event.type for event in found]

    def command(self, reason: str = "") -> Command:
        return Command(
            origin=Origin(actor=Actor(kind="staff", actor_id="stk_2"), action="retryOperation", reason=reason)
        )

    def _action(self, name: str) -> Behaviour:
        return self._recorded(name, lambda: self.world.add(name))

    def _undo(self, name: str) -> Behaviour:
        return self._recorded(f"undo {name}", lambda: self.world.discard(name))

    def _recorded(self, name: str, effect: Callable[[], None]) -> Behaviour:
        async def act(context: StepContext) -> NotYet | None:
            await anyio.lowlevel.checkpoint()
            behaviour = self.behave.get(name)
            answer = None if behaviour is None else await behaviour(context)
            if answer is None:
                await context.check_owner()
                effect()
                self.done.append(name)
            return answer

        return act

    def _note_state(self, _tx: Tx, operation: Operation) -> None:
        self.states.append(operation.state)


_RESTLESS: Final[tuple[OperationState, ...]] = ("queued", "running", "failed", "recovering")


def raising(error: BaseException) -> Behaviour:
    async def fail(_context: StepContext) -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    return fail
