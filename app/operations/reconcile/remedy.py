"""What the healer does, each time with its token: what is outside of the platform database is asked right before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from anyio import to_thread

from app.core.command import Command
from app.core.db import Tx
from app.core.ids import InstanceId, LineId
from app.core.origin import system_origin
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.past import Action
from app.operations.reconcile.plan import Decision
from tenancy.box.errors import BoxStateUnfit
from tenancy.box.service import BoxService
from tenancy.line.errors import LineStateUnfit
from tenancy.line.record import SHARED_SET, check_active, find_line
from tenancy.line.service import LineService, read_lines
from tenancy.operation.start import check_idle

Permission = Callable[[], Awaitable[None]]
"""Refuses by an error what must not be done any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyParts:
    """Through whom it acts.

    Attributes:
        restart_line, replace_line: of the keeper of lines; they ask for permission once nothing else has to be waited
            for.
    """

    lines: LineService
    restart_line: Callable[[LineId, Permission], Awaitable[None]]
    replace_line: Callable[[LineId, Permission], Awaitable[None]]
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
            cure = self._parts.restart_line if action == "restart" else self._parts.replace_line
            await cure(line_id, lambda: self._permit(line_id, owner))
            return
        await to_thread.run_sync(lambda: self._service_line(line_id, owner, action, reason))

    async def _permit(self, line_id: LineId, owner: InstanceId) -> None:
        """With this token, and while nobody else has laid hands on the line since it was looked at."""
        await to_thread.run_sync(self._lease.check, lambda tx: _check_untouched(tx, line_id, owner))

    def _service_line(self, line_id: LineId, owner: InstanceId, action: Action, reason: str) -> None:
        lines, command = self._parts.lines, self._command(action, reason, line_id, owner)
        line = lines.get_line(owner, line_id)
        # Based on what was just read: whoever has said something else meanwhile wins.
        if line.out_by != (None if action == "take_out" else "reconciler"):
            raise LineStateUnfit("Somebody else has changed the line meanwhile.", line=line_id)
        if action == "take_out":
            lines.drain_line(
                owner, line_id, by="reconciler", reason=reason, version=line.version, command=command
            )
        else:
            lines.restore_line(owner, line_id, version=line.version, command=command)

    def _box(self, name: str, action: Action, reason: str) -> None:
        boxes, command = self._parts.boxes, self._command(action, reason, name)
        box = boxes.get_box(name)
        if box.drained_by != (None if action == "take_out" else "reconciler") or (
            box.spec.drained != (action == "put_back")
        ):
            raise BoxStateUnfit("Somebody else has changed the box meanwhile.", box=name)
        if action == "take_out":
            boxes.drain_box(name, by="reconciler", version=box.version, command=command)
        else:
            boxes.resume_box(name, version=box.version, command=command)

    def _command(self, action: Action, reason: str, *objects: str) -> Command:
        """Its transaction writes the lease's row first: with an old token it changes nothing, nor what is busy."""

        def charge(tx: Tx) -> None:
            self._lease.guard(tx)
            for each in objects:
                check_idle(tx, each)

        origin = replace(system_origin(f"reconcile.{action}"), reason=reason)
        return Command(charge=charge, origin=origin)


def _check_untouched(tx: Tx, line_id: LineId, owner: InstanceId) -> None:
    check_idle(tx, line_id)
    if owner == SHARED_SET:
        return
    check_idle(tx, owner)
    line = find_line(read_lines(tx, owner)[1], line_id)
    check_active(line)
    if line.out_by not in (None, "reconciler"):
        raise LineStateUnfit("Somebody else has changed the line meanwhile.", line=line_id)
