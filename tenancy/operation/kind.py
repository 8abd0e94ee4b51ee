"""What a kind of operation does: its actions, and what follows from its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.core.db import Tx
from app.core.json import JsonObject
from app.core.origin import Origin
from tenancy.operation.plan import Operation, OperationPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """What a step answers that has to wait, e.g. for the end of a retention period. Not counted as an attempt.

    Attributes:
        until: when to ask again.
        reason: for people: what is waited for.
    """

    until: datetime
    reason: str


class StepContext:
    """What a step knows, and how it speaks to the engine.

    Attributes:
        operation: as it was when the attempt began; its version is the fencing token.
        origin: for the transactions of the step: whoever asked for the operation, carrying out this step.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        origin: Origin,
        check: Callable[[], Awaitable[None]],
        write: Callable[[str], Awaitable[None]],
    ) -> None:
        self.operation = operation
        self.origin = origin
        self._check = check
        self._write = write

    @property
    def object_id(self) -> str:
        """What is changed, e.g. an instance."""
        return self.operation.object_id

    @property
    def parameters(self) -> JsonObject:
        """What was asked for."""
        return self.operation.parameters

    async def check_owner(self) -> None:
        """Call it before each effect outside the platform database.

        Raises:
            OperationOwnerLost: somebody else has the operation now. Let it pass through.
        """
        await self._check()

    async def note(self, message: str) -> None:
        """Add a line to the operation's log. No secrets: staff read it.

        Raises:
            OperationOwnerLost: somebody else has the operation now. Let it pass through.
        """
        await self._write(message)


StepAction = Callable[[StepContext], Awaitable[NotYet | None]]
ChangeHook = Callable[[Tx, Operation], None]


def nothing_follows(_tx: Tx, _operation: Operation) -> None:
    """A change of state that nothing else follows from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationKind:
    """How operations of a kind are carried out.

    Attributes:
        actions: by step name; each repeatable, by itself or after being killed half-way.
        undo: by step name; each repeatable, also where the step did nothing or only a part.
        on_state: called in the transaction of each change of state, with the operation as it is now: `running`,
            `failed`, `recovering`, `fatal`.
        on_finished: called in the transaction of the end: `succeeded` or `recovered`.
    """

    plan: OperationPlan
    actions: Mapping[str, StepAction]
    undo: Mapping[str, StepAction] = field(default_factory=dict)
    on_state: ChangeHook = nothing_follows
    on_finished: ChangeHook = nothing_follows

    def __post_init__(self) -> None:
        """Refuse a kind that cannot do what its plan says; a defect of ours."""
        undone = {step.name for step in self.plan.steps if step.undo}
        if set(self.actions) != set(self.plan.names) or set(self.undo) != undone:
            raise ValueError(f"the actions of {self.plan.kind} do not match its plan")
