"""What is done in steps to have a temporary line, and to have it no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, cast

from anyio import to_thread

from app.core.db import Database, Reader, Tx
from app.core.ids import InstanceId, LineId, OperationId, new_id
from app.core.json import JsonObject
from fsb_gateway.error import BoxUnknown
from tenancy import repository as instances
from tenancy.box.errors import BoxStateUnfit
from tenancy.box.guard import check_addition, check_removal
from tenancy.box.plan import ADD_BOX, REMOVE_BOX
from tenancy.box.repository import find_box
from tenancy.contract.temporary import end_temporary_line
from tenancy.line import repository
from tenancy.line.order import box_name
from tenancy.line.plan import ADD_LINE, REMOVE_LINE
from tenancy.line.record import LinePhase, check_not_last
from tenancy.line.service import describe_line, read_lines, store_line
from tenancy.operation import repository as operations
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.operation.plan import Operation
from tenancy.operation.start import start_operation
from tenancy.runner.port import LineSeen
from tenancy.server.placing import release_one
from tenancy.server.record import ServerId

LineWatch = Callable[[], Awaitable[Mapping[LineId, LineSeen] | None]]
"""How lines are; None where they have no processes of their own."""

_LEAD: Final = timedelta(minutes=5)
"""A box and a process are there within a minute; ready early costs nothing. Our own decision."""
_ASK_AGAIN: Final = timedelta(seconds=1)
_FRONT_KNOWS_AFTER: Final = timedelta(seconds=2)
"""The front follows the platform database within a second; twice that. Our own decision."""
_IDLE_WITHIN: Final = timedelta(minutes=1)
"""Longer than any request takes; what hangs ends with its line. Our own decision."""


class LineOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        watch: says how lines are.
    """

    def __init__(self, db: Database, watch: LineWatch) -> None:
        self._db = db
        self._watch = watch

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner of operations needs."""
        return (
            OperationKind(
                plan=ADD_LINE,
                actions={
                    "wait": self._wait,
                    "add_box": self._add_box,
                    "start_line": self._start_line,
                    "open": self._open,
                },
                undo={
                    "add_box": self._remove_box,
                    "start_line": self._stop_line,
                    "open": self._undo_open,
                },
                on_finished=_finish_addition,
            ),
            OperationKind(
                plan=REMOVE_LINE,
                actions={
                    "close": self._close,
                    "wait_idle": self._wait_idle,
                    "stop_line": self._stop_line,
                    "remove_box": self._remove_box,
                },
                undo={"close": self._reopen},
                on_finished=_finish_removal,
            ),
        )

    async def _wait(self, context: StepContext) -> NotYet | None:
        due = _starts_at(context) - _LEAD
        return NotYet(until=due, reason="the line starts later") if self._db.clock.now() < due else None

    async def _add_box(self, context: StepContext) -> NotYet | None:
        described = cast("JsonObject | None", context.parameters["box"])
        if described is None:
            return None
        name = str(context.parameters["box_name"])

        def body(tx: Tx) -> JsonObject:
            wanted: JsonObject = {"box": described}
            check_addition(tx, name, wanted)
            return {"operation_id": start_operation(tx, ADD_BOX, object_id=name, parameters=wanted)}

        answer = await self._write(context, body, op_id=_box_added(context))
        return await self._wait_for(OperationId(str(answer["operation_id"])), box=name)

    async def _remove_box(self, context: StepContext) -> NotYet | None:
        """Of a line's own box; tokens are staff's."""
        name = await self._find_box(context)
        if name is None:
            return None
        if context.operation.kind == ADD_LINE.kind:
            # If it never began to add it, it never will.
            added = await self._write(context, lambda _tx: {"operation_id": None}, op_id=_box_added(context))
            if added["operation_id"] is None:
                return None
            adding = await self._get(OperationId(str(added["operation_id"])))
            if not adding.finished:
                return self._ask_again("the box is still joining")

        def body(tx: Tx) -> JsonObject:
            try:
                check_removal(tx, name, {})
            except BoxUnknown:
                return {"operation_id": None}
            return {"operation_id": start_operation(tx, REMOVE_BOX, object_id=name)}

        op_id = f"line.remove_box:{context.operation.operation_id}"
        answer = await self._write(context, body, op_id=op_id)
        if answer["operation_id"] is None:
            return None
        return await self._wait_for(OperationId(str(answer["operation_id"])), box=name)

    async def _start_line(self, context: StepContext) -> NotYet | None:
        await self._move(context, "joining", event="instance.line_started")
        seen = await self._watch()
        if seen is None:
            return None
        found = seen.get(LineId(context.object_id))
        if found is not None and found.state == "ready":
            return None
        return self._ask_again(f"the line is {'not there yet' if found is None else found.state}")

    async def _open(self, context: StepContext) -> NotYet | None:
        starts_at = _starts_at(context)
        if self._db.clock.now() < starts_at:
            return NotYet(until=starts_at, reason="the line is ready and starts later")
        await self._move(context, "active", event="instance.line_opened")
        return None

    async def _undo_open(self, context: StepContext) -> NotYet | None:
        await self._move(context, "leaving", event="instance.line_closed")
        return await self._wait_idle(context)

    async def _close(self, context: StepContext) -> NotYet | None:
        await self._move(context, "leaving", event="instance.line_closed")
        return None

    async def _reopen(self, context: StepContext) -> NotYet | None:
        await self._move(context, "active", event="instance.line_opened")
        return None

    async def _wait_idle(self, context: StepContext) -> NotYet | None:
        """Until the front sends it nothing more and nothing runs; what takes too long ends with the line."""
        seen = await self._watch()
        if seen is None:
            return None
        answer = await self._write(
            context,
            lambda tx: {"since": tx.now.isoformat()},
            op_id=f"line.closed:{context.operation.operation_id}",
        )
        passed = self._db.clock.now() - datetime.fromisoformat(str(answer["since"]))
        found = seen.get(LineId(context.object_id))
        running = 0 if found is None else found.running or 0
        if passed < _FRONT_KNOWS_AFTER or (running and passed < _IDLE_WITHIN):
            return self._ask_again(f"{running} requests are still under way")
        return None

    async def _stop_line(self, context: StepContext) -> NotYet | None:
        await self._move(context, "ended", event="instance.line_stopped")
        seen = await self._watch()
        if seen is None or LineId(context.object_id) not in seen:
            return None
        return self._ask_again("the line is still there")

    async def _move(self, context: StepContext, phase: LinePhase, *, event: str) -> None:
        """Lead the line into a phase; nothing happens if it is there, or gone."""
        line_id, owner = LineId(context.object_id), _owner(context)

        def body(tx: Tx) -> JsonObject:
            repository.hold_lines(tx, owner)
            line = repository.find_line(tx, line_id)
            if line is None:
                return {}
            if phase == "leaving" and context.operation.kind == REMOVE_LINE.kind:
                check_not_last(read_lines(tx, owner)[1], line)
            store_line(tx, line, replace(line, phase=phase), event=event)
            return {}

        await self._write(context, body)

    async def _find_box(self, context: StepContext) -> str | None:
        """The box that goes with the line, if it is there and no token."""

        def look(reader: Reader) -> str | None:
            line = repository.find_line(reader, LineId(context.object_id))
            instance = instances.find_instance(reader, _owner(context))
            if line is None or instance is None:
                return None
            box = find_box(reader, box_name(instance, line.number))
            return box.name if box is not None and box.spec.driver == "software" else None

        return await to_thread.run_sync(lambda: self._db.read(look))

    async def _wait_for(self, operation_id: OperationId, *, box: str) -> NotYet | None:
        operation = await self._get(operation_id)
        if not operation.finished:
            return self._ask_again(f"box {box}: {operation.kind} is {operation.state}")
        if operation.state != "succeeded":
            raise BoxStateUnfit(
                f"The operation {operation_id} on the box has been undone.",
                box=box,
                operation_id=operation_id,
            )
        return None

    async def _get(self, operation_id: OperationId) -> Operation:
        return await to_thread.run_sync(
            lambda: self._db.read(lambda reader: operations.get_operation(reader, operation_id))
        )

    async def _write(
        self, context: StepContext, body: Callable[[Tx], JsonObject], *, op_id: str | None = None
    ) -> JsonObject:
        answer = await to_thread.run_sync(
            lambda: self._db.run_tx(op_id or new_id("op"), body, origin=context.origin)
        )
        return answer.value

    def _ask_again(self, reason: str) -> NotYet:
        return NotYet(until=self._db.clock.now() + _ASK_AGAIN, reason=reason)


def _owner(context: StepContext) -> InstanceId:
    return InstanceId(str(context.parameters["instance_id"]))


def _starts_at(context: StepContext) -> datetime:
    return datetime.fromisoformat(str(context.parameters["starts_at"]))


def _box_added(context: StepContext) -> str:
    """Names the transaction in which the operation has its box ordered."""
    return f"line.add_box:{context.operation.operation_id}"


def _finish_addition(tx: Tx, operation: Operation) -> None:
    if operation.state == "recovered":
        _forget(tx, operation)


def _finish_removal(tx: Tx, operation: Operation) -> None:
    if operation.state == "succeeded":
        _forget(tx, operation)


def _forget(tx: Tx, operation: Operation) -> None:
    """The line is gone: its contract row ends, its place is free, its number can be had again."""
    owner = InstanceId(str(operation.parameters["instance_id"]))
    repository.hold_lines(tx, owner)
    line = repository.find_line(tx, LineId(operation.object_id))
    if line is None:
        return
    if line.contract_id is not None:
        end_temporary_line(tx, owner, line.contract_id, new_id=new_id("ctr"))
    if line.server_id is not None:
        release_one(tx, owner, ServerId(line.server_id))
    repository.remove_line(tx, line)
    tx.emit(
        "instance.line_removed",
        subject=owner,
        data={"line": line.line_id},
        before={"line": line.line_id, **describe_line(line)},
    )
