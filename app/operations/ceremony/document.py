"""What the document of a key ceremony says: everything that is stored about an operation on firm keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.core.clock import to_text
from app.core.json import JsonObject, JsonValue
from app.operations.audit.reading import AuditEntry
from tenancy import LogLine, Operation, Step
from tenancy.staff.record import Approval

FORMAT: Final = "wops-key-ceremony-1"
_KEY_EVENTS: Final = "firm_key."


def describe_ceremony(
    operation: Operation,
    *,
    approval: Approval | None,
    log: Sequence[LogLine],
    entries: Sequence[AuditEntry],
) -> JsonObject:
    """Everything that is stored about an operation on firm keys.

    Args:
        operation: at its end.
        approval: how two people came to want it; None where one or none was enough.
        log: all lines.
        entries: of the platform's audit chain, oldest first.
    """
    return {
        "format": FORMAT,
        "operation": {
            "operation_id": operation.operation_id,
            "kind": operation.kind,
            "object_id": operation.object_id,
            "state": operation.state,
            "started_by": operation.requested_by.actor.person or operation.requested_by.actor.actor_id,
            "created_at": to_text(operation.created_at),
            "finished_at": None if operation.finished_at is None else to_text(operation.finished_at),
        },
        "approval": None if approval is None else _approval(approval),
        "keys": [_key(each) for each in entries if each.type.startswith(_KEY_EVENTS)],
        "steps": [_step(each) for each in operation.steps],
        "log": [_line(each) for each in log],
        "audit": [_entry(each) for each in entries],
    }


def people_in(document: JsonObject) -> list[str]:
    """Ids of the people that a document names."""
    operation, approval = document["operation"], document["approval"]
    found: list[JsonValue] = []
    if isinstance(operation, dict):
        found.append(operation["started_by"])
    if isinstance(approval, dict):
        found += [approval["requested_by"], approval["decided_by"]]
    return sorted({str(each) for each in found if each is not None})


def _approval(approval: Approval) -> JsonObject:
    decided = approval.decided_at
    return {
        "approval_id": approval.approval_id,
        "action": approval.action,
        "parameters": approval.parameters,
        "reason": approval.reason,
        "requested_by": approval.requested_by,
        "requested_at": to_text(approval.requested_at),
        "decided_by": approval.decided_by,
        "decided_at": None if decided is None else to_text(decided),
    }


def _key(entry: AuditEntry) -> JsonObject:
    found: JsonObject = {
        "event": entry.type,
        "at": to_text(entry.occurred_at),
        **{name: value for name, value in entry.data.items() if name != "operation_id"},
    }
    return found if entry.before is None else {**found, "before": entry.before}


def _step(step: Step) -> JsonObject:
    return {
        "name": step.name,
        "state": step.state,
        "attempts": step.attempts,
        "finished_at": None if step.finished_at is None else to_text(step.finished_at),
    }


def _line(line: LogLine) -> JsonObject:
    return {
        "number": line.number,
        "at": to_text(line.at),
        "event": line.event,
        "step": line.step,
        "message": line.message,
    }


def _entry(entry: AuditEntry) -> JsonObject:
    return {
        "chain": entry.chain,
        "sequence": entry.sequence,
        "type": entry.type,
        "at": to_text(entry.occurred_at),
        "actor": entry.actor.actor_id,
        "action": entry.action,
        "reason": entry.reason,
        "hash": entry.hash,
    }
