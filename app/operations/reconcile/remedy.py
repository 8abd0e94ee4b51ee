"""What the healer does, each time with its token: what is outside of the platform database is asked right before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from anyio import to_thread

from app.core.command import Command
from app.core.ids import InstanceId, LineId
from app.core.origin import system_origin
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.past import Action
from app.operations.reconcile.plan import Decision
from tenancy.box.service import BoxService
from tenancy.line.service import LineService


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyParts:
    """Through whom it acts.

    Attributes:
        restart_line, replace_line: of the keeper of lines.
    """

    lines: LineService
    restart_line: Callable[[LineId], Awaitable[None]]
    replace_line: Callable[[LineId], Awaitable[None]]
    boxes: BoxService


class Remedy:
    """Used from one event loop."""

    def __init__(self, parts: RemedyParts, lease: HealerLease) -> None:
        self._parts = parts
        self._lease = lease

    async def apply(self, decision: Decision) -> None:
        """Do it. A person who is called has been told by the journal.

        Raises:
            LeaseLost: another healer acts; nothing was done.
            DomainError: it could not be done.
        """
        subject, action = decision.subject, decision.action
        if action == "call_human":
            return
        if subject.kind == "line":
            await self._line(LineId(subject.name), InstanceId(subject.group), action, decision.reason)
        elif subject.kind == "box":
            await to_thread.run_sync(lambda: self._box(subject.name, action, decision.reason))

    async def _line(self, line_id: LineId, owner: InstanceId, action: Action, reason: str) -> None:
        if action in ("restart", "replace"):
            await to_thread.run_sync(self._lease.check)
            cure = self._parts.restart_line if action == "restart" else self._parts.replace_line
            await cure(line_id)
            return
        await to_thread.run_sync(lambda: self._service_line(line_id, owner, action, reason))

    def _service_line(self, line_id: LineId, owner: InstanceId, action: Action, reason: str) -> None:
        lines, command = self._parts.lines, self._command(action, reason)
        line = lines.get_line(owner, line_id)
        # Based on what was just read: whoever has said something else meanwhile wins.
        if action == "take_out" and line.out_by is None:
            lines.drain_line(
                owner, line_id, by="reconciler", reason=reason, version=line.version, command=command
            )
        elif action == "put_back" and line.out_by == "reconciler":
            lines.restore_line(owner, line_id, version=line.version, command=command)

    def _box(self, name: str, action: Action, reason: str) -> None:
        boxes, command = self._parts.boxes, self._command(action, reason)
        version = boxes.get_box(name).version
        change = boxes.drain_box if action == "take_out" else boxes.resume_box
        change(name, version=version, command=command)

    def _command(self, action: Action, reason: str) -> Command:
        """Its transaction writes the lease's row first: with an old token it changes nothing."""
        origin = replace(system_origin(f"reconcile.{action}"), reason=reason)
        return Command(charge=self._lease.guard, origin=origin)
