"""What staff and customers do about an instance's life. Rename and freeze at once; the rest starts operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import InputInvalid
from app.core.ids import InstanceId, OperationId
from app.core.json import JsonObject
from tenancy import repository
from tenancy.box.own_box import check_own_boxes
from tenancy.box.plan import RETIRE_FIRM_KEY
from tenancy.contract.service import ContractService
from tenancy.errors import NameTaken
from tenancy.lifecycle.errors import FirmKeyRetired, InstanceVersionConflict, LegalReasonMissing
from tenancy.lifecycle.plan import END_INSTANCE, ERASE_INSTANCE, EXPORT_INSTANCE
from tenancy.lifecycle.state import (
    DEFAULT_RETENTION,
    check_erasable,
    check_retention,
    check_state,
    move,
)
from tenancy.name import check_name
from tenancy.operation import repository as operations
from tenancy.operation.plan import Operation
from tenancy.operation.start import check_idle, start_operation
from tenancy.record import KEPT_STATES, Instance, InstanceState
from tenancy.transaction import carry_out

_LIVE: Final[frozenset[InstanceState]] = frozenset({"ready", "frozen"})
_Decide = Callable[[Tx, Instance], Instance]
_Event = Literal["instance.renamed", "instance.frozen", "instance.unfrozen", "instance.reinstated"]


class LifecycleService:
    """The life of instances. Thread-safe, blocking.

    Every change is a compare-and-set on the version that the caller has read, refused while an operation is
    changing the instance, and told to the instance's own database at once or, when that is away, by the loop of
    `ContractService.push_due`.
    """

    def __init__(self, db: Database, *, contracts: ContractService) -> None:
        self._db = db
        self._contracts = contracts

    def rename_instance(
        self, instance_id: InstanceId, name: str, *, expected_version: int, command: Command | None = None
    ) -> Done[Instance]:
        """Give an instance another name. The old one stays its own; user names, lines and boxes keep what they have.

        Raises:
            NameUnfit, NameTaken: the name.
            InstanceNotFound, InstanceVersionConflict, InstanceStateUnfit, OperationRunning: the instance.
        """
        check_name(name)

        def decide(tx: Tx, old: Instance) -> Instance:
            check_state(old, _LIVE)
            if name == old.name:
                return old
            mine = old.instance_id
            if not repository.take_name(tx, old.name, instance_id=mine):
                raise RuntimeError("the name of an instance belongs to another one")
            if not repository.take_name(tx, name, instance_id=mine):
                raise NameTaken("An instance has, or had, that name already.", name=name)
            return replace(old, name=name, placed_as=old.placement_name)

        return self._change(instance_id, "instance.renamed", decide, expected_version, command)

    def freeze_instance(
        self, instance_id: InstanceId, *, expected_version: int, command: Command | None = None
    ) -> Done[Instance]:
        """Let nobody in, at every line within a second; data and portal stay.

        Raises:
            InstanceNotFound, InstanceVersionConflict, InstanceStateUnfit, OperationRunning: the instance.
        """
        return self._change(
            instance_id,
            "instance.frozen",
            lambda _tx, old: move(old, "freeze", to="frozen"),
            expected_version,
            command,
        )

    def unfreeze_instance(
        self, instance_id: InstanceId, *, expected_version: int, command: Command | None = None
    ) -> Done[Instance]:
        """Let callers in again.

        Raises:
            InstanceNotFound, InstanceVersionConflict, InstanceStateUnfit, OperationRunning: the instance.
        """
        return self._change(
            instance_id,
            "instance.unfrozen",
            lambda _tx, old: move(old, "unfreeze", to="ready"),
            expected_version,
            command,
        )

    def reinstate_instance(
        self,
        instance_id: InstanceId,
        *,
        to: Literal["ready", "frozen"] = "ready",
        expected_version: int,
        command: Command | None = None,
    ) -> Done[Instance]:
        """Take the end of a contract back, while the data are there. A contract in force is needed for quotas.

        Raises:
            InstanceNotFound, InstanceVersionConflict, InstanceStateUnfit, OperationRunning: the instance.
            FirmKeyRetired: it has no firm key any more, and never will.
        """

        def decide(tx: Tx, old: Instance) -> Instance:
            new = move(old, "reinstate", to=to)
            if operations.has_done(tx, RETIRE_FIRM_KEY.kind, old.instance_id):
                raise FirmKeyRetired("The instance's firm key has been retired; nothing can be programmed.")
            return new

        return self._change(instance_id, "instance.reinstated", decide, expected_version, command)

    def request_export(self, instance_id: InstanceId, *, command: Command | None = None) -> Done[Operation]:
        """Have everything of an instance's database written into a file; the operation's id names the export.

        Raises:
            InstanceNotFound, InstanceStateUnfit, OperationRunning: the instance.
        """

        def body(tx: Tx) -> JsonObject:
            check_state(repository.get_instance(tx, instance_id), frozenset(KEPT_STATES))
            return {"operation_id": start_operation(tx, EXPORT_INSTANCE, object_id=instance_id)}

        answer = carry_out(self._db, command, body)
        started = OperationId(str(answer.value["operation_id"]))
        operation = self._db.read(lambda reader: operations.get_operation(reader, started))
        return Done(value=operation, replayed=answer.replayed, created=not answer.replayed)

    def _change(
        self,
        instance_id: InstanceId,
        event: _Event,
        decide: _Decide,
        expected_version: int,
        command: Command | None,
    ) -> Done[Instance]:
        def body(tx: Tx) -> JsonObject:
            old = repository.get_instance(tx, instance_id)
            _check_version(old, expected_version)
            check_idle(tx, instance_id)
            new = decide(tx, old)
            if new != old:
                store(tx, old, new, event=event)
            return {}

        answer = carry_out(self._db, command, body)
        self._contracts.push_soon(instance_id)
        instance = self._db.read(lambda reader: repository.get_instance(reader, instance_id))
        return Done(value=instance, replayed=answer.replayed)


def store(tx: Tx, old: Instance, new: Instance, *, event: str) -> None:
    """Write a change of name or state with its event, which holds what differs.

    Raises:
        InstanceVersionConflict: somebody else was faster.
        NameTaken: another instance has the name.
    """
    if not repository.change_instance(tx, old, new):
        raise _conflict(old.version)
    before, after = _describe(old), _describe(new)
    changed = [name for name in after if after[name] != before[name]]
    tx.emit(
        event,
        subject=old.instance_id,
        data={name: after[name] for name in changed},
        before={name: before[name] for name in changed},
    )


def check_end(reader: Reader, object_id: str, parameters: JsonObject) -> None:
    """Refuse to end a contract that has no instance in use, or with a retention that nobody has.

    Args:
        reader: of the platform database.
        object_id: the instance's.
        parameters: `retention_days`, 0 to 3,650; 30 if left out.

    Raises:
        RetentionUnfit, InstanceNotFound, InstanceStateUnfit: as they say.
        BoxStateUnfit, OperationRunning: a box of its own is lent, or being changed.
    """
    check_retention(retention_days_of(parameters))
    check_state(repository.get_instance(reader, InstanceId(object_id)), _LIVE)
    check_own_boxes(reader, InstanceId(object_id))


def start_end(tx: Tx, object_id: str, parameters: JsonObject) -> OperationId:
    """End a contract: the instance is frozen, exported and retained. For the transaction that approves it.

    Raises:
        RetentionUnfit, InstanceNotFound, InstanceStateUnfit, OperationRunning, BoxStateUnfit: see `check_end`.
    """
    check_end(tx, object_id, parameters)
    old = touch(tx, InstanceId(object_id))
    wanted: JsonObject = {"retention_days": retention_days_of(parameters), "state_before": old.state}
    return start_operation(tx, END_INSTANCE, object_id=object_id, parameters=wanted)


def check_erase(reader: Reader, object_id: str, parameters: JsonObject) -> None:
    """Refuse to erase what is still needed.

    Args:
        reader: of the platform database.
        object_id: the instance's.
        parameters: `early`: before the end of the retention; then `legal_reason` names the request it is based on.

    Raises:
        InstanceNotFound, InstanceStateUnfit, RetentionRunning, LegalReasonMissing: as they say.
        BoxStateUnfit, OperationRunning: a box of its own is lent, or being changed.
    """
    early = parameters.get("early") is True
    if early and not str(parameters.get("legal_reason") or "").strip():
        raise LegalReasonMissing(
            "Name the legal request for which the data are erased early.", field="legal_reason"
        )
    check_erasable(repository.get_instance(reader, InstanceId(object_id)), now=reader.now, early=early)
    check_own_boxes(reader, InstanceId(object_id))


def start_erase(tx: Tx, object_id: str, parameters: JsonObject) -> OperationId:
    """Erase an ended instance. For the transaction that approves it.

    Raises:
        InstanceNotFound, InstanceStateUnfit, RetentionRunning, LegalReasonMissing: see `check_erase`.
        OperationRunning, BoxStateUnfit: likewise.
    """
    check_erase(tx, object_id, parameters)
    touch(tx, InstanceId(object_id))
    return start_operation(tx, ERASE_INSTANCE, object_id=object_id, parameters=parameters)


def retention_days_of(parameters: JsonObject) -> int:
    """How many days were asked for.

    Raises:
        InputInvalid: no number.
    """
    days = parameters.get("retention_days", DEFAULT_RETENTION.days)
    if not isinstance(days, int) or isinstance(days, bool):
        raise InputInvalid("The retention is a number of days.", field="retention_days")
    return days


def touch(tx: Tx, instance_id: InstanceId) -> Instance:
    """Hold an instance against changes that were read before: whoever comes later sees the operation.

    Raises:
        InstanceNotFound, InstanceVersionConflict: there is none, or somebody was faster.
    """
    instance = repository.get_instance(tx, instance_id)
    if not repository.change_instance(tx, instance, instance):
        raise _conflict(instance.version)
    return instance


def _check_version(instance: Instance, expected: int) -> None:
    if instance.version != expected:
        raise _conflict(expected, current=instance.version)


def _conflict(expected: int, **detail: int) -> InstanceVersionConflict:
    return InstanceVersionConflict(
        "The instance has been changed since you read it; read it again.", expected=expected, **detail
    )


def _describe(instance: Instance) -> JsonObject:
    until = instance.retained_until
    return {
        "name": instance.name,
        "state": instance.state,
        "retained_until": None if until is None else until.isoformat(),
    }
